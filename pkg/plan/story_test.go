package plan

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/specfile"
)

var update = flag.Bool("update", false, "rewrite the answers of the stories and docs/states.md")

// TestStories plays the stories of testdata/stories: the first line says in
// words what must hold, the script what people, workers and machines do, and
// the rest is what the planner makes of it.
func TestStories(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/stories/*.txtar")
	if err != nil || len(files) < 25 {
		t.Fatalf("found %d stories, %v; want at least 25", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			playFile(t, file)
		})
	}
}

func playFile(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	archive := txtar.Parse(content)
	if line, _, _ := strings.Cut(string(archive.Comment), "\n"); !strings.HasSuffix(line, ".") {
		t.Errorf("%s: the first line is no sentence: %q", file, line)
	}
	files := map[string]string{}
	for _, f := range archive.Files {
		files[f.Name] = string(f.Data)
	}
	s := &story{yard: newYard(t), files: files}
	for line := range strings.Lines(files["script"]) {
		s.line(strings.TrimSpace(line))
	}
	if got := s.out.String(); *update {
		rewrite(t, file, archive, got)
	} else if diff := cmp.Diff(files["want"], got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", strings.TrimSpace(string(archive.Comment)), diff)
	}
}

func rewrite(t *testing.T, file string, archive *txtar.Archive, got string) {
	t.Helper()
	kept := archive.Files[:0]
	for _, f := range archive.Files {
		if f.Name != "want" {
			kept = append(kept, f)
		}
	}
	archive.Files = append(kept, txtar.File{Name: "want", Data: []byte(got)})
	if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
		t.Fatal(err)
	}
}

// story is a yard that is told what to do line by line.
type story struct {
	*yard
	files    map[string]string
	out      strings.Builder
	commands int
	fleet    string
	basis    string
}

// verbs are the words of a script.
var verbs = map[string]func(s *story, args []string){
	"apply":     (*story).apply,                                         // FILE [basis] [keep] [destroy PERCENT] [create NODES]
	"plan":      (*story).plan,                                          // FILE
	"scale":     (*story).scale,                                         // POOL TARGET [BASIS] [destroy PERCENT] [create NODES]
	"delete":    (*story).delete,                                        // [Site NAME | Network NAME]
	"retry":     (*story).retry,                                         // [KEY...] [destroy PERCENT]
	"site":      (*story).site,                                          // NAME [images | none]
	"import":    (*story).image,                                         // SITE NAME [version VERSION] [from PLACE] [sha256 DIGEST] [unsigned yes]
	"forget":    (*story).forget,                                        // SITE NAME
	"images":    (*story).images,                                        // SITE
	"skip":      func(s *story, a []string) { s.mend(MendSkip, a) },     // [KEY...]
	"replace":   func(s *story, a []string) { s.mend(MendReplace, a) },  // [KEY...]
	"keep":      func(s *story, a []string) { s.mend(MendPreserve, a) }, // [KEY...]
	"cancel":    func(s *story, a []string) { s.mend(MendCancel, a) },   // KEY...
	"pause":     (*story).pause,                                         // [back | yard]
	"resume":    (*story).resume,                                        // [yard]
	"run":       func(s *story, _ []string) { s.run() },
	"work":      func(s *story, _ []string) { s.work() },
	"wait":      (*story).pass,  // DURATION
	"fail":      (*story).fail,  // KEY ACTION KIND REASON [TIMES]
	"taken":     (*story).taken, // KEY ADDRESS
	"release":   func(s *story, a []string) { s.command(YardScope, Command{Release: &ReleaseAddress{a[0], a[1]}}) },
	"addresses": (*story).addresses, // NETWORK
	"hang":      func(s *story, a []string) { s.hung[a[0]+" "+a[1]] = true },
	"unhang":    func(s *story, a []string) { delete(s.hung, a[0]+" "+a[1]) },
	"noboot":    func(s *story, a []string) { s.noBoot[a[0]] = true },
	"boots":     func(s *story, a []string) { delete(s.noBoot, a[0]) },
	"hot":       func(s *story, a []string) { s.hot = Hot{CPU: a[0] == "on", Memory: a[0] == "on"} },
	"cold":      func(s *story, a []string) { s.cold[a[0]] = true },
	"orders":    func(s *story, a []string) { s.obeys = a[0] == "on" }, // on, off
	"deaf":      func(s *story, a []string) { s.deaf[a[0]] = true },
	"hears":     func(s *story, a []string) { delete(s.deaf, a[0]); s.obey(s.fleet, a[0]) },
	"lost":      (*story).lost,    // KEY
	"address":   (*story).address, // KEY ADDRESS
	"call":      (*story).call,    // KEY TOKEN
	"again":     func(s *story, _ []string) { s.decide(s.last) },
	"show":      (*story).show,
	"claims":    (*story).claims,
	"audit":     (*story).audit,
	"observe":   (*story).observeOnly, // on, off
	"use":       func(s *story, a []string) { s.fleet = a[0] },
}

func (s *story) line(line string) {
	line, _, _ = strings.Cut(line, " #")
	words := strings.Fields(line)
	if len(words) == 0 || strings.HasPrefix(line, "#") {
		return
	}
	verb, ok := verbs[words[0]]
	if !ok {
		s.tb.Fatalf("the script says %q", line)
	}
	fmt.Fprintf(&s.out, "> %s\n", line)
	before := len(s.events)
	verb(s, words[1:])
	s.told(s.events[before:])
}

func (s *story) document(file string) fleet.Document {
	s.tb.Helper()
	parsed, problems := specfile.Parse(file, []byte(s.files[file]))
	if len(parsed) != 1 {
		s.tb.Fatalf("%s: %v", file, problems)
	}
	return parsed[0].Document
}

func (s *story) command(scope string, c Command) {
	s.commands++
	c.ID = fmt.Sprintf("c%d", s.commands)
	s.send(command(scope, c))
	r := s.w.Receipt(scope, c.ID)
	if r.Accepted {
		fmt.Fprintf(&s.out, "  accepted: %s\n", r.Summary)
		return
	}
	fmt.Fprintf(&s.out, "  refused (%s):\n", r.Code)
	for _, words := range r.Refusal {
		fmt.Fprintf(&s.out, "    %s\n", words)
	}
}

func (s *story) apply(args []string) {
	doc := s.document(args[0])
	if n, ok := doc.(*fleet.Network); ok {
		s.command(YardScope, Command{ApplyNetwork: n})
		return
	}
	if d, ok := doc.(*fleet.Site); ok {
		s.command(YardScope, Command{ApplySite: d})
		return
	}
	f, _ := doc.(*fleet.Fleet)
	a := &ApplyFleet{Document: *f}
	for _, word := range args {
		if word == "basis" {
			a.PlanBasis = s.basis
		}
	}
	a.Brakes, a.KeepTargets = s.brakes(args), slices.Contains(args, "keep")
	s.fleet = f.Metadata.Name
	s.command(s.fleet, Command{ApplyFleet: a})
}

func (s *story) number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		s.tb.Fatal(err)
	}
	return n
}

func (s *story) plan(args []string) {
	doc := s.document(args[0])
	if n, ok := doc.(*fleet.Network); ok {
		s.documentPlan(PreviewNetwork(s.w, n))
		return
	}
	if d, ok := doc.(*fleet.Site); ok {
		s.documentPlan(PreviewSite(s.w, d))
		return
	}
	f, _ := doc.(*fleet.Fleet)
	p := PreviewWith(s.w, f, Terms{Brakes: s.brakes(args), KeepTargets: slices.Contains(args, "keep")}, s.now)
	s.basis = p.Basis
	fmt.Fprintf(&s.out, "  revision %d -> %d, plan %s: %s; destroys %d of %d\n", p.From, p.To, p.ID, p.Summary(), p.Destroys, p.Present)
	for _, c := range p.Changes {
		action := string(c.Action)
		if c.Hot {
			action = "hot"
		}
		fmt.Fprintf(&s.out, "    %-8s %-8s", action, c.Key)
		if c.Domain != "" {
			fmt.Fprintf(&s.out, " %s %s", c.Site, c.Domain)
		}
		for _, a := range c.Addresses {
			fmt.Fprintf(&s.out, " %s", a.Addr)
		}
		fmt.Fprintf(&s.out, "  # %s\n", strings.Join(c.Causes, "; "))
	}
	s.forecast(p)
	for _, words := range append(p.Refusals, p.Notes...) {
		fmt.Fprintf(&s.out, "    %s\n", words)
	}
}

func (s *story) scale(args []string) {
	c := &Scale{Pool: args[0], Target: s.number(args[1])}
	c.Brakes = s.brakes(args)
	if len(args) > 2 && c.Brakes == (Brakes{}) {
		c.Basis = new(s.number(args[2]))
	}
	s.command(s.fleet, Command{Scale: c})
}

func (s *story) delete(args []string) {
	if len(args) == 2 {
		s.command(YardScope, Command{Delete: &DeleteDocument{Kind: fleet.Kind(args[0]), Name: args[1]}})
		return
	}
	s.command(s.fleet, Command{DeleteFleet: &DeleteFleet{Name: s.fleet}})
}

func (s *story) retry(args []string) {
	r := &RetryNodes{MaxDestroyPercent: s.brakes(args).MaxDestroyPercent}
	for _, word := range args {
		if word == "destroy" {
			break
		}
		r.Nodes = append(r.Nodes, word)
	}
	s.command(s.fleet, Command{Retry: r})
}

// brakes reads what the end of a line overrides.
func (s *story) brakes(args []string) (b Brakes) {
	for i, word := range args {
		switch word {
		case "destroy":
			b.MaxDestroyPercent = new(s.number(args[i+1]))
		case "create":
			b.MaxCreate = new(s.number(args[i+1]))
		}
	}
	return b
}

// site puts a vCenter's Site into the yard, with or without a key for images.
func (s *story) site(args []string) {
	site := &Site{Document: fleet.Site{Metadata: fleet.Metadata{Name: args[0]}}}
	if len(args) == 1 || args[1] != "none" {
		site.Document.Spec.VSphere = &fleet.SiteVSphere{URL: "https://vcenter.example/sdk"}
	}
	if len(args) > 1 && args[1] == "images" {
		site.Document.Spec.VSphere.Images = &fleet.SiteImages{KeyFile: "/etc/yardmaster/flatcar.asc"}
	}
	s.w.Put(site)
}

func (s *story) image(args []string) {
	i := fleet.Image{Name: args[1]}
	for rest := args[2:]; len(rest) > 1; rest = rest[2:] {
		switch value := rest[1]; rest[0] {
		case "version":
			i.Version = value
		case "channel":
			i.Channel = value
		case "from":
			i.From = value
		case "sha256":
			i.SHA256 = strings.Repeat(value, 64)
		case "unsigned":
			i.Unsigned = true
		}
	}
	s.command(YardScope, Command{ImportImage: &ImportImage{Site: args[0], Image: i}})
}

func (s *story) forget(args []string) {
	s.command(YardScope, Command{ForgetImage: &ForgetImage{Site: args[0], Name: args[1]}})
}

func (s *story) mend(m Mend, keys []string) {
	s.command(s.fleet, Command{Mend: &MendNodes{Mend: m, Nodes: keys}})
}

func (s *story) pause(args []string) {
	switch strings.Join(args, " ") {
	case "yard":
		s.command(YardScope, Command{Pause: &Pause{Paused: true}})
	case "back":
		s.command(s.fleet, Command{Pause: &Pause{Paused: true, CallBack: true}})
	default:
		s.command(s.fleet, Command{Pause: &Pause{Paused: true}})
	}
}

func (s *story) resume(args []string) {
	scope := s.fleet
	if len(args) > 0 {
		scope = YardScope
	}
	s.command(scope, Command{Pause: &Pause{}})
}

func (s *story) pass(args []string) {
	d, err := time.ParseDuration(args[0])
	if err != nil {
		s.tb.Fatal(err)
	}
	s.wait(d)
}

func (s *story) fail(args []string) {
	kinds := map[string]fault.Kind{"transient": fault.Transient, "busy": fault.Busy, "permanent": fault.Permanent}
	times := 1
	if len(args) > 4 {
		times = s.number(args[4])
	}
	for range times {
		s.mishap(args[0], Action(args[1]), &Failure{
			Kind: kinds[args[2]], Reason: fault.Reason(args[3]), Message: "as the story wants it",
		})
	}
}

// taken has somebody else use an address of the node.
func (s *story) taken(args []string) {
	s.mishap(args[0], ActionCreate, &Failure{
		Kind: fault.Transient, Reason: fault.AddressTaken, Message: args[1] + " answers at VM printer", Taken: args[1:],
	})
}

func (s *story) lost(args []string) {
	n := s.w.Node(s.fleet, args[0])
	s.send(Input{ID: "obs", Fleet: s.fleet, Observation: &Observation{Node: args[0], Incarnation: n.Incarnation, Lost: true}})
}

func (s *story) address(args []string) {
	n := s.w.Node(s.fleet, args[0])
	s.send(Input{ID: "obs", Fleet: s.fleet, Observation: &Observation{Node: args[0], Incarnation: n.Incarnation, Address: args[1], At: s.now.Add(time.Millisecond)}})
}

func (s *story) call(args []string) { s.phoneHome(s.fleet, args[0], args[1]) }

func (s *story) audit(_ []string) {
	for _, c := range Audit(s.w, s.now) {
		fmt.Fprintf(&s.out, "  frees %s %s\n", c.Kind, c.Thing)
		s.w.Put(c)
	}
}

func (s *story) observeOnly(args []string) {
	y := *s.w.Yard()
	y.ObserveOnly = args[0] == "on"
	s.w.Put(&y)
}
