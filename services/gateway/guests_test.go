package gateway

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/guest"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

var aNode = &plan.Node{Fleet: "web", Pool: "edge", Incarnation: 2, State: plan.Ready}

var aKey = nodeKey{"web", "edge-0"}

// said is a word of a guest that has run for up.
func said(state string, up time.Duration, via channel, at time.Time) word {
	return word{guest.Report{BootID: "b1", State: state, Up: up}, 2, via, at}
}

// Only what is new is stored, and now and then what is not.
func TestWhatIsStored(t *testing.T) {
	t.Parallel()
	g, now := newGuests(), time.Now()
	for i, c := range []struct {
		after time.Duration
		state string
		want  bool
	}{
		{0, guest.StateStarting, true},
		{time.Second, guest.StateStarting, false},
		{time.Minute, guest.StateRunning, true},
		{9 * time.Minute, guest.StateRunning, false},
		{12 * time.Minute, guest.StateRunning, true},
		{13 * time.Minute, guest.StateRunning, false},
	} {
		if got := g.hear(aKey, said(c.state, c.after, viaGateway, now.Add(c.after))); got != c.want {
			t.Errorf("word %d is stored: %v; want %v", i, got, c.want)
		}
	}
	g.lost(aKey)
	if !g.hear(aKey, said(guest.StateRunning, time.Hour, viaGateway, now.Add(time.Hour))) {
		t.Error("a report that could not be stored is not stored with the next one")
	}
}

// A guest's word counts by its way, its incarnation and its age.
func TestWhatCounts(t *testing.T) {
	t.Parallel()
	now := time.Now()
	earlier := said("earlier", time.Minute, viaGateway, now)
	aside := said("earlier", time.Minute, viaGuestinfo, now)
	for name, c := range map[string]struct {
		before, word word
		change       func(*word)
		want         bool
	}{
		"the next":                {earlier, said("new", 2*time.Minute, viaGateway, now.Add(time.Minute)), nil, true},
		"out of order":            {earlier, said("new", 0, viaGateway, now.Add(-time.Second)), nil, false},
		"of an old incarnation":   {earlier, said("new", 0, viaGateway, now.Add(time.Hour)), func(w *word) { w.incarnation = 1 }, false},
		"of the next incarnation": {earlier, said("new", 0, viaGuestinfo, now), func(w *word) { w.incarnation = 3 }, true},
		"aside of the gateway":    {earlier, said("new", 2*time.Minute, viaGuestinfo, now.Add(time.Minute)), nil, false},
		"instead of the gateway":  {earlier, said("new", 4*time.Minute, viaGuestinfo, now.Add(3*time.Minute)), nil, true},
		"the way is there again":  {aside, said("new", time.Minute, viaGateway, now.Add(time.Second)), nil, true},
		"told again":              {aside, said("new", time.Minute, viaGuestinfo, now.Add(time.Hour)), nil, false},
		"of another boot":         {aside, said("new", 0, viaGuestinfo, now.Add(time.Hour)), func(w *word) { w.BootID = "b2" }, true},
	} {
		g := newGuests()
		g.hear(aKey, c.before)
		if c.change != nil {
			c.change(&c.word)
		}
		g.hear(aKey, c.word)
		if got := g.known[aKey].State == "new"; got != c.want {
			t.Errorf("%s: counts %v; want %v", name, got, c.want)
		}
	}
}

// Silence is a claim too: it needs somebody who would have heard.
func TestSilent(t *testing.T) {
	t.Parallel()
	now := time.Now()
	g := newGuests()
	g.since = now.Add(-time.Hour)
	g.hear(aKey, said(guest.StateRunning, time.Hour, viaGateway, now.Add(-time.Hour)))
	view := func() *v1.NodeView { return g.mark(&v1.NodeView{}, aNode, now) }
	if v := view(); !v.GetSilent() || v.GetHeard() == nil {
		t.Errorf("after an hour of silence: %v", v)
	}
	g.since = now.Add(-time.Minute)
	if view().GetSilent() {
		t.Error("a gateway that just began calls a node silent")
	}
	g.since = now.Add(-time.Hour)
	g.lives(aKey, 1, now)
	if !view().GetSilent() {
		t.Error("an old incarnation speaks for the present one")
	}
	g.lives(aKey, 2, now)
	if view().GetSilent() {
		t.Error("a node that spoke to another gateway is called silent")
	}
	aside := newGuests()
	aside.since = now.Add(-time.Hour)
	aside.hear(aKey, said(guest.StateRunning, time.Hour, viaGuestinfo, now.Add(-2*silentAfter)))
	if aside.mark(&v1.NodeView{}, aNode, now).GetSilent() {
		t.Error("a guest whose word is read now and then is called silent between two looks")
	}
	booting := *aNode
	booting.State = plan.Booting
	if g.mark(&v1.NodeView{}, &booting, now.Add(time.Hour)).GetSilent() {
		t.Error("a booting node is called silent")
	}
	booting.Incarnation++
	if g.mark(&v1.NodeView{}, &booting, now).GetHeard() != nil || g.view(&booting, now) != nil {
		t.Error("what the last incarnation said is shown of the next")
	}
}

// A node that is given up has its guest's last words.
func TestLastWords(t *testing.T) {
	t.Parallel()
	g := newGuests()
	if got := g.lastWords(aNode); got != nil {
		t.Errorf("a guest that said nothing has the last words %q", got)
	}
	r, err := guest.Parse([]byte(guestSays))
	if err != nil {
		t.Fatal(err)
	}
	g.hear(aKey, word{r, aNode.Incarnation, viaGateway, time.Now()})
	want := []string{"the guest came as far as units, 9s after its kernel began", "web.service: cannot [31mbind", "web.service failed: exit-code"}
	if d := cmp.Diff(want, g.lastWords(aNode)); d != "" {
		t.Errorf("last words differ (-want +got):\n%s", d)
	}
}

func TestGuestsHaveTurns(t *testing.T) {
	t.Parallel()
	g, now := newGuests(), time.Now()
	for i := range speakBurst {
		if !g.may(aKey, now) {
			t.Fatalf("report %d of a burst is refused", i)
		}
	}
	if g.may(aKey, now) {
		t.Error("a guest may speak without end")
	}
	if !g.may(nodeKey{"web", "edge-1"}, now) {
		t.Error("one guest's burst silences another")
	}
	if !g.may(aKey, now.Add(speakEvery)) || g.may(aKey, now.Add(speakEvery)) {
		t.Error("after a pause there is not exactly one turn")
	}
}

const guestSays = guest.Magic + `
boot b1
machine m1
os 4593.2.5
state degraded
up 30
stage ignition 3
stage network 4
stage units 9
failed web.service exit-code
log cannot ` + "\x1b[31m" + `bind
`

// tell reports how a node is.
func (f *frontDoor) tell(t *testing.T, node, token, body string) reply {
	t.Helper()
	return do(t, http.MethodPost, f.url+"/v1/nodes/"+node+"/report", body, map[string]string{"Authorization": "Bearer " + token})
}

func (f *frontDoor) guest(t *testing.T) *v1.DescribeNodeResponse {
	t.Helper()
	resp, err := f.DescribeNode(t.Context(), request(&v1.DescribeNodeRequest{Node: "web-edge-0"}))
	if err != nil {
		t.Fatal(err)
	}
	return resp.Msg
}

func (f *frontDoor) log(t *testing.T) *v1.NodeLogResponse {
	t.Helper()
	resp, err := f.NodeLog(t.Context(), request(&v1.NodeLogRequest{Node: "web-edge-0"}))
	if err != nil {
		t.Fatal(err)
	}
	return resp.Msg
}

// What a guest reports is seen at every gateway, and changes nothing.
func TestGuestReports(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	y.workers()
	f, other := y.gateway(Config{}), y.gateway(Config{})
	f.apply(t, "", yardYAML(1))
	f.inState(t, 1, plan.Booting)
	if note := f.log(t).GetNote(); !strings.Contains(note, "has not reported") {
		t.Errorf("before any report the log says %q", note)
	}
	right := tokenOf("web", "edge-0")
	for name, c := range map[string]struct {
		node, token, body string
		status            int
	}{
		"unknown node": {"web-edge-1", right, guestSays, http.StatusNotFound},
		"wrong token":  {"web-edge-0", "x" + right, guestSays, http.StatusUnauthorized},
		"no token":     {"web-edge-0", "", guestSays, http.StatusUnauthorized},
		"no report":    {"web-edge-0", right, "{}", http.StatusBadRequest},
		"too large":    {"web-edge-0", right, guestSays + strings.Repeat("x", guest.MaxBytes), http.StatusBadRequest},
		"as it is":     {"web-edge-0", right, guestSays, http.StatusNoContent},
	} {
		if r := f.tell(t, c.node, c.token, c.body); r.status != c.status {
			t.Errorf("%s: %d %s; want %d", name, r.status, r.body, c.status)
		}
	}
	for name, door := range map[string]*frontDoor{"the gateway": f, "another gateway": other} {
		until(t, name+" knows", func() bool { return door.guest(t).GetGuest() != nil })
		checkGuest(t, door)
	}
	if s := f.nodes(t)[0].GetState(); s != string(plan.Booting) {
		t.Errorf("after a report the node is %s; want booting: only its phone-home counts", s)
	}
	refused := false
	for range 2 * speakBurst {
		r := f.tell(t, "web-edge-0", right, guestSays)
		refused = refused || r.status == http.StatusTooManyRequests && r.header.Get("Retry-After") != ""
	}
	if !refused {
		t.Error("a guest that never stops is never refused")
	}
	before := other.guest(t).GetGuest().GetHeard().AsTime()
	until(t, "another gateway hears that the node lives", func() bool {
		f.tell(t, "web-edge-0", right, guestSays)
		return other.guest(t).GetGuest().GetHeard().AsTime().After(before)
	})
}

func checkGuest(t *testing.T, f *frontDoor) {
	t.Helper()
	d := f.guest(t)
	said := d.GetGuest()
	if d.GetNode().GetHeard() == nil || said.GetVia() != "gateway" || said.GetState() != "degraded" || len(said.GetStages()) != 3 || len(said.GetFailed()) != 1 {
		t.Errorf("the guest is shown as %v, heard %v", said, d.GetNode().GetHeard())
	}
	var got []string
	for _, l := range f.log(t).GetLines() {
		got = append(got, strings.TrimSpace(l.GetSource()+" "+l.GetName()+" "+l.GetText()))
	}
	want := []string{
		"stage ignition the config is applied", "stage network the network is up",
		"stage units every unit that starts with the machine was started",
		"unit web.service cannot [31mbind", "unit web.service failed: exit-code", "state degraded units have failed",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("log differs (-want +got):\n%s", d)
	}
}

// What came through guestinfo is shown as such.
func TestGuestinfoIsNamed(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	y.workers()
	f := y.gateway(Config{})
	f.apply(t, "", yardYAML(1))
	f.inState(t, 1, plan.Booting)
	conn := y.connect(subject.ConsumerVSphere("dc1"))
	defer conn.Close()
	m, err := wire.EncodeGuestReport(&wire.GuestReport{Node: "edge-0", Incarnation: 1, Report: guest.Report{State: guest.StateRunning}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Publish(t.Context(), bus.NewMsg(subject.Observation("dc1", "web", "edge-0", subject.AspectGuestinfo), m)); err != nil {
		t.Fatal(err)
	}
	until(t, "the gateway knows", func() bool { return f.guest(t).GetGuest().GetVia() == "guestinfo" })
	if l := f.log(t); !strings.Contains(l.GetNote(), "everybody on the machine can write") {
		t.Errorf("note = %q", l.GetNote())
	}
}

// Of a machine that never reported there is its console, or the reason why
// not.
func TestConsoleOfASilentMachine(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	y.workers()
	f := y.gateway(Config{})
	f.apply(t, "", yardYAML(1))
	f.inState(t, 1, plan.Booting)
	if l := f.log(t); len(l.GetLines()) != 0 || !strings.Contains(l.GetNote(), "no executor holds the site's seat (start the site's") {
		t.Errorf("without an executor: %v", l)
	}
	y.answers(func(q *v1.ConsoleQuestion) *v1.ConsoleAnswer {
		q.MachineUuid = ""
		want := &v1.ConsoleQuestion{Fleet: "web", Node: "edge-0", Incarnation: 1, MachineId: "vm-edge-0"}
		if d := cmp.Diff(want, q, protocmp.Transform()); d != "" {
			t.Errorf("asked for another machine (-want +got):\n%s", d)
		}
		return &v1.ConsoleAnswer{File: "[ds1] web-edge-0/serial.log", Lines: []string{"Linux", "emergency mode"}}
	})
	want := []*v1.LogLine{{Source: sourceConsole, Name: "serial.log", Text: "Linux"}, {Source: sourceConsole, Name: "serial.log", Text: "emergency mode"}}
	if d := cmp.Diff(want, f.log(t).GetLines(), protocmp.Transform()); d != "" {
		t.Errorf("log differs (-want +got):\n%s", d)
	}
	f.tell(t, "web-edge-0", tokenOf("web", "edge-0"), guestSays)
	if l := f.log(t); l.GetNote() != "" || l.GetLines()[0].GetSource() != sourceStage {
		t.Errorf("after a report: %v; want no console", l)
	}
	resp, err := f.NodeLog(t.Context(), request(&v1.NodeLogRequest{Node: "web-edge-0", Console: true}))
	if err != nil || resp.Msg.GetLines()[0].GetSource() != sourceConsole {
		t.Errorf("asked for the console: %v, %v", resp, err)
	}
}

// answers is an executor that only answers for consoles.
func (y *yard) answers(answer func(*v1.ConsoleQuestion) *v1.ConsoleAnswer) {
	y.t.Helper()
	conn := y.connect(subject.ConsumerVSphere("dc1"))
	y.t.Cleanup(conn.Close)
	_, err := conn.NATS().Subscribe(subject.Ask("dc1", subject.AskConsole), func(m *nats.Msg) {
		q, err := wire.DecodeQuestion(m.Header.Get(wire.HeaderType), m.Header.Get(wire.HeaderVersion), m.Data)
		asked := &v1.ConsoleQuestion{}
		if err == nil {
			err = proto.Unmarshal(q.GetBody(), asked)
		}
		body, err2 := proto.Marshal(answer(asked))
		out, err3 := wire.Answer(&v1.Answer{Body: body})
		if err := errors.Join(err, err2, err3, conn.NATS().PublishMsg(bus.NewMsg(m.Reply, out))); err != nil {
			y.t.Error(err)
		}
	})
	if err == nil {
		err = conn.NATS().Flush()
	}
	if err != nil {
		y.t.Fatal(err)
	}
}
