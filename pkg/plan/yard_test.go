package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

var start = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// tester is a test, a benchmark or a property's run.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// yard is a planner with workers that do at once what they are asked, unless
// they are told to fail.
type yard struct {
	tb      tester
	w       *World
	now     time.Time
	queue   []Input
	last    Input
	events  []*Event
	jobs    []*Job
	outcome Outcome
	// mishaps are what happens to the next jobs, by node and action.
	mishaps map[string][]*Failure
	// keep notes every input in sent; shuffle lets jobs be done in any order.
	keep    bool
	sent    []Input
	shuffle *rand.Rand
	hung    map[string]bool
	noBoot  map[string]bool
	// hot is what machines that are made take while they run; cold nodes
	// refuse it all the same.
	hot  Hot
	cold map[string]bool
	// obeys means that guests take orders; deaf nodes do not take theirs.
	obeys bool
	deaf  map[string]bool
}

func newYard(tb tester) *yard {
	tb.Helper()
	y := &yard{
		tb: tb, w: NewWorld(0), now: start, mishaps: map[string][]*Failure{},
		hung: map[string]bool{}, noBoot: map[string]bool{}, cold: map[string]bool{}, deaf: map[string]bool{},
	}
	y.w.Put(&Yard{UID: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", Format: 1, Shards: 1})
	y.w.Put(&Site{Document: fleet.Site{Metadata: fleet.Metadata{Name: "dc1"}}})
	y.w.Put(&Network{Document: testNetwork("dmz", "10.0.0.10-10.0.200.250")})
	return y
}

func testNetwork(name, addresses string) fleet.Network {
	return fleet.Network{
		APIVersion: fleet.APIVersion, Kind: fleet.KindNetwork, Metadata: fleet.Metadata{Name: name},
		Spec: fleet.NetworkSpec{Subnet: "10.0.0.0/16", Range: addresses, Gateway: "10.0.0.1"},
	}
}

func testFleet(pools ...fleet.Pool) fleet.Fleet {
	f := fleet.Fleet{APIVersion: fleet.APIVersion, Kind: fleet.KindFleet, Metadata: fleet.Metadata{Name: "web"}}
	f.Spec.Config = []fleet.Layer{{Role: "base"}}
	f.Spec.Pools = pools
	f.Spec.Protect.MaxCreate = new(1000000)
	return f
}

func testPool(name string, replicas int) fleet.Pool {
	return fleet.Pool{
		Name: name, Replicas: replicas, Networks: []fleet.PoolNetwork{{Ref: "dmz"}},
		VSphere: &fleet.VSphere{Site: "dc1", Source: fleet.VSphereSource{Template: "flatcar-4593.2.5"}, CPUs: 2},
	}
}

type fleetDocument = fleet.Fleet

// newer is the fleet with another template, so that all its nodes are
// replaced; larger is one with more CPUs.
func newer(f fleet.Fleet) fleet.Fleet {
	f.Spec.Pools = slices.Clone(f.Spec.Pools)
	for i := range f.Spec.Pools {
		v := *f.Spec.Pools[i].VSphere
		v.Source.Template += "x"
		f.Spec.Pools[i].VSphere = &v
	}
	return f
}

func larger(f fleet.Fleet) fleet.Fleet {
	f.Spec.Pools = slices.Clone(f.Spec.Pools)
	for i := range f.Spec.Pools {
		v := *f.Spec.Pools[i].VSphere
		v.CPUs++
		f.Spec.Pools[i].VSphere = &v
	}
	return f
}

// reckless lets one apply destroy everything.
func reckless(f fleet.Fleet) fleet.Fleet {
	f.Spec.Protect.MaxDestroyPercent = new(100)
	return f
}

func applyCommand(id string, doc fleet.Fleet) Input {
	return Input{ID: "cmd." + id, Fleet: doc.Metadata.Name, Command: &Command{ID: id, By: "alice", ApplyFleet: &ApplyFleet{Document: doc}}}
}

func command(scope string, c Command) Input {
	c.By = "alice"
	return Input{ID: "cmd." + c.ID, Fleet: scope, Command: &c}
}

// send decides on an input and on all that the planner tells itself.
func (y *yard) send(in Input) {
	y.tb.Helper()
	y.last = in
	y.decide(in)
	for len(y.queue) > 0 {
		next := y.queue[0]
		y.queue = y.queue[1:]
		y.decide(next)
	}
}

func (y *yard) decide(in Input) {
	y.tb.Helper()
	if y.keep {
		y.sent = append(y.sent, in)
	}
	for range 3 {
		out, err := Decide(y.w, in, y.now)
		if err != nil {
			y.tb.Fatalf("Decide(%s): %v", in.ID, err)
		}
		if len(out.Claims) == 0 {
			y.commit(in, out)
			return
		}
		if len(out.Claims) > batch {
			y.tb.Fatalf("%s asks for %d claims; want at most %d", in.ID, len(out.Claims), batch)
		}
		for _, c := range out.Claims {
			y.w.Put(c)
		}
	}
	y.tb.Fatalf("Decide(%s) asks for claims again and again", in.ID)
}

// batch is the most messages that the store takes as one.
const batch = 990

func (y *yard) commit(in Input, out Outcome) {
	y.tb.Helper()
	if size := len(out.Records) + len(out.Events) + len(out.Jobs) + len(out.Withdrawn) + 1; size > batch {
		y.tb.Fatalf("the outcome of %s has %d messages; want at most %d", in.ID, size, batch)
	}
	y.outcome = out
	for _, r := range out.Records {
		y.w.Put(r)
	}
	for _, c := range out.Releases {
		y.w.Put(c)
	}
	y.events = append(y.events, out.Events...)
	for _, ref := range out.Withdrawn {
		y.jobs = slices.DeleteFunc(y.jobs, func(j *Job) bool { return j.JobRef == ref })
	}
	y.jobs = append(y.jobs, out.Jobs...)
	if out.Step {
		y.queue = append(y.queue, Input{ID: "step." + in.Fleet, Fleet: in.Fleet, Step: &Step{}})
	}
}

// work lets the workers do the jobs that are there, once.
func (y *yard) work() bool {
	y.tb.Helper()
	jobs := y.jobs
	y.jobs = nil
	if y.shuffle != nil {
		y.shuffle.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
	}
	did := false
	for _, j := range jobs {
		if y.hung[j.Node+" "+string(j.Action)] {
			y.jobs = append(y.jobs, j)
			continue
		}
		did = true
		y.do(j)
	}
	return did
}

// run lets the workers work until nothing is left to do at this moment.
func (y *yard) run() {
	y.tb.Helper()
	for y.work() || y.due() {
	}
}

// due lets the planner act on what is overdue.
func (y *yard) due() bool {
	y.tb.Helper()
	inputs := y.w.Overdue(y.now, 100)
	for _, in := range inputs {
		y.send(in)
	}
	return len(inputs) > 0
}

// wait lets time pass, with everything that falls due in it.
func (y *yard) wait(d time.Duration) {
	y.tb.Helper()
	until := y.now.Add(d)
	for {
		y.run()
		next, ok := y.w.NextDue()
		if !ok || next.After(until) {
			break
		}
		y.now = next
	}
	y.now = until
}

// do is a worker with a job.
func (y *yard) do(j *Job) {
	y.tb.Helper()
	r := &Result{
		Node: j.Node, Job: j.Number, Attempt: j.Attempt, Incarnation: j.Incarnation, Worker: j.Worker, Action: j.Action,
		By: string(j.Worker) + "-1", Started: y.now, Finished: y.now,
	}
	token := fmt.Sprintf("token-%s-%d", j.Node, j.Incarnation)
	if n := y.w.Node(j.Fleet, j.Node); n != nil && n.FormerToken != "" {
		token += fmt.Sprintf("-%d", j.Revision)
	}
	k := j.Node + " " + string(j.Action)
	if m := y.mishaps[k]; len(m) > 0 {
		r.Failure, y.mishaps[k] = m[0], m[1:]
	} else {
		y.effect(j, r, token)
	}
	y.send(Input{ID: fmt.Sprintf("res.%s.%d", j.Node, j.Number), Fleet: j.Fleet, Result: r})
	if j.Action == ActionCreate && r.Failure == nil && !y.noBoot[j.Node] {
		y.phoneHome(j.Fleet, j.Node, token)
	}
	y.seen(j)
	y.obey(j.Fleet, j.Node)
}

func (y *yard) effect(j *Job, r *Result, token string) {
	switch j.Action { //nolint:exhaustive // the others have nothing to tell
	case ActionRender:
		r.ConfigDigest, r.ConfigSize, r.TokenSHA256 = "digest", 1024, token
	case ActionCreate:
		r.MachineID, r.MachineUUID, r.Hot = fmt.Sprintf("vm-%s-%d", j.Node, j.Incarnation), j.MachineUUID, y.hot
	case ActionResize:
		y.resize(j, r)
	}
}

func (y *yard) resize(j *Job, r *Result) {
	if r.Hot = y.hot; y.cold[j.Node] && !j.Restart {
		r.Failure = &Failure{Kind: fault.Permanent, Reason: fault.HotRefused, Message: "as the story wants it"}
	}
}

// seen is what an executor sees of a guest that is up again.
func (y *yard) seen(j *Job) {
	y.tb.Helper()
	n := y.w.Node(j.Fleet, j.Node)
	if n == nil || n.State != Restarting || n.Job != nil || y.noBoot[j.Node] {
		return
	}
	o := &Observation{Node: j.Node, Incarnation: j.Incarnation, At: y.now.Add(time.Millisecond), Address: "10.9.9.9"}
	if len(n.Addresses) > 0 {
		o.Address = n.Addresses[0].Addr
	}
	y.send(Input{ID: "obs." + j.Node, Fleet: j.Fleet, Observation: o})
}

// obey lets a guest ask for its order, and run the config that it names.
func (y *yard) obey(fleetName, node string) {
	y.tb.Helper()
	n := y.w.Node(fleetName, node)
	if n == nil || y.noBoot[node] || y.deaf[node] {
		return
	}
	if order, ok := y.w.Order(n, n.FormerToken); ok && order.Config == n.ConfigDigest {
		y.phoneHome(fleetName, node, n.TokenSHA256)
	}
}

func (y *yard) phoneHome(fleetName, node, token string) {
	y.tb.Helper()
	n := y.w.Node(fleetName, node)
	y.send(Input{ID: "cmd.ph-" + token, Fleet: fleetName, Command: &Command{
		ID: "ph-" + token, PhoneHome: &PhoneHome{Node: node, Incarnation: n.Incarnation, TokenSHA256: token, Obeys: y.obeys},
	}})
}

// mishap lets the next job of a node fail.
func (y *yard) mishap(node string, a Action, f *Failure) {
	k := node + " " + string(a)
	y.mishaps[k] = append(y.mishaps[k], f)
}

func (y *yard) mustAccept(scope, id string) *Receipt {
	y.tb.Helper()
	r := y.w.Receipt(scope, id)
	if r == nil || !r.Accepted {
		y.tb.Fatalf("command %s was not accepted: %+v", id, r)
	}
	return r
}

// table shows the nodes of a fleet as an operator would see them.
func (y *yard) table(fleetName string) string {
	var b strings.Builder
	for n := range y.w.Nodes(fleetName) {
		fmt.Fprintf(&b, "  %-8s %-12s incarnation %d  revision %d", n.Key(), n.State, n.Incarnation, n.Revision)
		if n.Domain != "" {
			fmt.Fprintf(&b, "  %s %s", n.Site, n.Domain)
		}
		if n.Attempt > 1 {
			fmt.Fprintf(&b, "  attempt %d", n.Attempt)
		}
		for _, a := range n.Addresses {
			fmt.Fprintf(&b, "  %s", a.Addr)
		}
		if n.Goal != Present && n.State != Deleted {
			fmt.Fprintf(&b, "  goal %s", n.Goal)
		}
		if n.Job != nil {
			fmt.Fprintf(&b, "  job %s", n.Job.Action)
			if n.Job.Withdrawn {
				b.WriteString(" (withdrawn)")
			}
		}
		if !n.Due.IsZero() {
			fmt.Fprintf(&b, "  due for %s in %s", n.DueFor, n.Due.Sub(y.now).Round(time.Second))
		}
		if n.Reason != "" {
			fmt.Fprintf(&b, "  %s: %s", n.Reason, n.Message)
		}
		b.WriteString("\n")
	}
	for _, l := range y.w.DeadLetters() {
		fmt.Fprintf(&b, "  failed %s-%s at %s after %d tries: %s\n", l.Fleet, l.Node, l.Stage, l.Attempts, l.Reason)
	}
	return b.String()
}
