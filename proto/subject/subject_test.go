package subject

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden list")

// TestGolden prints every subject, stream, consumer and user; a change of the
// list is a change of the contract with what is stored and deployed.
func TestGolden(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("# subjects\n")
	for _, s := range everySubject() {
		fmt.Fprintln(&b, s)
	}
	topology := Topology{Shards: 2, Sites: []string{"dc1"}, Replicas: 1}
	b.WriteString("\n# streams\n")
	for _, s := range topology.Streams() {
		printStruct(&b, s)
	}
	b.WriteString("\n# consumers\n")
	for _, c := range topology.Consumers() {
		printStruct(&b, c)
	}
	printUsers(&b, topology)
	golden := filepath.Join("testdata", "topology.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("the topology is not what %s says (go test -update rewrites it):\n%s", golden, diff(string(want), got))
	}
}

func printUsers(b *strings.Builder, topology Topology) {
	b.WriteString("\n# users\n")
	for _, u := range topology.Users() {
		fmt.Fprintf(b, "%s\n", u.Name)
		for _, s := range u.Publish {
			fmt.Fprintf(b, "  + %s\n", s)
		}
		for _, s := range u.DenyPublish {
			fmt.Fprintf(b, "  - %s\n", s)
		}
		for _, s := range u.Subscribe {
			fmt.Fprintf(b, "  < %s\n", s)
		}
	}
}

// everySubject is one subject of each kind.
func everySubject() []string {
	return []string{
		Fleet(0, "web"), Revision(0, "web", 3), Node(1, "web", "edge-0"), DeadLetter(1, "web", "_in-17"), Receipt(0, "web", "c1"),
		Site("dc1"), Network("dmz"), Images("dc1"), Place("web"), Yard(), Seat("dc1"), Claim("address", "dmz/10.0.0.7"), Claim("address", "dmz/fd00::7"),
		Event(0, "web", "edge-0", 4), Job(0, "vsphere", "dc1", "web", "edge-0", 4),
		Command(0, "web", "c1"), Result(0, "vsphere", "dc1", "web", "edge-0", 4, 2), Step(0, "web"),
		Observation("dc1", "web", "edge-0", AspectAddress), Observation(YardScope, ServiceScope, "planner-1", AspectService),
		Observation("dc1", "web", "edge-0", AspectGuest), Observation("dc1", "web", "edge-0", AspectGuestinfo), Alive("web", "edge-0"),
		SiteImages("dc1"), Config("dc1", "88d9391a"), History(0, "web", "edge-0", 4),
		Ask("dc1", AskCheckup), Ask("dc1", AskConsole), Ask("dc1", AskMachines), Ask("dc1", AskRemove), Answer("dc1", "q1"),
	}
}

func printStruct(b *strings.Builder, v any) {
	r := reflect.ValueOf(v)
	for i := range r.NumField() {
		if f := r.Field(i); !f.IsZero() {
			fmt.Fprintf(b, "%s=%v ", r.Type().Field(i).Name, f.Interface())
		}
	}
	b.WriteString("\n")
}

func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	for i := range max(len(w), len(g)) {
		var x, y string
		if i < len(w) {
			x = w[i]
		}
		if i < len(g) {
			y = g[i]
		}
		if x != y {
			fmt.Fprintf(&b, "-%s\n+%s\n", x, y)
		}
	}
	return b.String()
}

func TestParse(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]Name{
		Fleet(2, "web"):                      {Shard: 2, Kind: KindFleet, Fleet: "web"},
		Revision(0, "web", 3):                {Kind: KindRevision, Fleet: "web", Number: 3},
		Node(1, "web", "edge-0"):             {Shard: 1, Kind: KindNode, Fleet: "web", Node: "edge-0"},
		Receipt(0, "_yard", "c1"):            {Kind: KindReceipt, Fleet: "_yard", ID: "c1"},
		Claim("address", "dmz/10.0.0.7"):     {Kind: KindClaim, ID: "address", Thing: "dmz/10.0.0.7"},
		Claim("address", "dmz/fd00::7"):      {Kind: KindClaim, ID: "address", Thing: "dmz/fd00::7"},
		Event(0, "web", "_fleet", 4):         {Kind: KindEvent, Fleet: "web", Node: "_fleet", Number: 4},
		Job(0, "render", "dc1", "w", "e", 4): {Kind: KindJob, Worker: "render", Site: "dc1", Fleet: "w", Node: "e", Number: 4},
		Result(0, "vsphere", "dc1", "w", "e", 4, 2): {
			Kind: KindResult, Worker: "vsphere", Site: "dc1", Fleet: "w", Node: "e", Number: 4, Attempt: 2,
		},
		Step(0, "web"): {Kind: KindStep, Fleet: "web"},
		Images("dc1"):  {Kind: KindImages, ID: "dc1"},
		Seat("dc1"):    {Kind: KindSeat, ID: "dc1"},
	} {
		if got, err := Parse(s); err != nil || got != want {
			t.Errorf("Parse(%s) = %+v, %v; want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "ym", "ym.0.st.node.web", "ym.x.st.node.web.a", "ym.-1.st.node.web.a", "ym.0.st.other.web", "no.0.st.fleet.web",
		"ym.0.out.ev.web.a.x", "ym.0.in.res.vsphere.dc1.web.a.1.x", "ym.0.st.fleet.web.more",
	} {
		if n, err := Parse(s); err == nil {
			t.Errorf("Parse(%q) = %+v; want an error", s, n)
		}
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	if got := Token("host.example_1-2 x*>"); got != "host-example_1-2-x--" {
		t.Errorf("Token = %q", got)
	}
}

// TestSitesAreApart holds an executor to its site.
func TestSitesAreApart(t *testing.T) {
	t.Parallel()
	for _, u := range (Topology{Shards: 2, Sites: []string{"a", "b"}}).Users() {
		if u.Name != ConsumerVSphere("a") {
			continue
		}
		for _, s := range append(u.Publish, u.Subscribe...) {
			if strings.Contains(s, ".b.") || strings.HasSuffix(s, ".b") || strings.Contains(s, "vsphere-b") || strings.Contains(s, "CFG_b") {
				t.Errorf("the executor of site a may use %s", s)
			}
			if s == ">" || strings.HasPrefix(s, "$JS.API.>") {
				t.Errorf("the executor of site a may do anything: %s", s)
			}
		}
	}
}
