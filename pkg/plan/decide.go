package plan

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"yardmaster.dev/pkg/fault"
)

// Decide says what must be written because of an input. It is a pure function
// of the World, the input and the time; the World is as before when it
// returns, and the caller Puts the records once they are written (or at once,
// with their undos at hand). It needs the World for itself, because it tries
// its records out in it.
//
// An error means that the input itself is poison: no planner can decide on
// it. What merely comes late, twice or for nobody gives an empty Outcome.
func Decide(w *World, in Input, now time.Time) (Outcome, error) {
	d := &decision{
		w: w, in: in, now: now, by: "planner", left: w.Policy.Chunk,
		records: map[string]Record{},
		fleets:  map[string]*Fleet{},
		taken:   map[string]map[uint32]bool{},
	}
	defer d.rollBack()
	if err := d.decide(); err != nil {
		return Outcome{}, fmt.Errorf("decide on %s: %w", in.ID, err)
	}
	return d.outcome(), nil
}

// decision is one run of Decide.
type decision struct {
	w   *World
	in  Input
	now time.Time

	undo    []func()
	records map[string]Record
	order   []string
	out     Outcome

	// left is how many more nodes this decision may touch: its outcome must
	// fit into one batch.
	left int
	// by and took go into the events.
	by   string
	took time.Duration
	// fleets are the fleet records of this decision, copied on first use.
	fleets map[string]*Fleet
	// claims are asked for, taken are the addresses among them.
	claims []*Claim
	taken  map[string]map[uint32]bool
}

func (d *decision) decide() error {
	if d.w.yard == nil && d.in.Command == nil {
		return fault.Newf(fault.Permanent, fault.Poison, "the yard has no record of itself")
	}
	switch in := d.in; {
	case in.Command != nil:
		return d.command(in.Command)
	case in.Result != nil:
		return d.result(in.Result)
	case in.Due != nil:
		return d.overdue(in.Due)
	case in.Step != nil:
		return d.step()
	case in.Observation != nil:
		return d.observe(in.Observation)
	}
	return fault.Newf(fault.Permanent, fault.Poison, "the input holds nothing that this planner knows")
}

func (d *decision) rollBack() {
	for _, undo := range slices.Backward(d.undo) {
		undo()
	}
}

func (d *decision) outcome() Outcome {
	if len(d.claims) > 0 {
		return Outcome{Claims: d.claims}
	}
	for _, k := range d.order {
		d.out.Records = append(d.out.Records, d.records[k])
	}
	return d.out
}

// put tries a record out and notes it for the outcome.
func (d *decision) put(key string, r Record) {
	d.undo = append(d.undo, d.w.Put(r))
	if _, ok := d.records[key]; !ok {
		d.order = append(d.order, key)
	}
	d.records[key] = r
}

// fleet returns this decision's own copy of a fleet's record, which it may
// change until it ends.
func (d *decision) fleet(f *fleetState) *Fleet {
	if r, ok := d.fleets[f.name]; ok {
		return r
	}
	r := &Fleet{Name: f.name}
	if f.record != nil {
		*r = *f.record
	}
	r.Targets = cloned(r.Targets)
	r.SpecReplicas = cloned(r.SpecReplicas)
	r.Disrupted = cloned(r.Disrupted)
	r.Surged = cloned(r.Surged)
	d.fleets[f.name] = r
	d.put("fleet/"+f.name, r)
	return r
}

func cloned(m map[string]int) map[string]int {
	if m == nil {
		return map[string]int{}
	}
	return maps.Clone(m)
}

// move applies a fact to a node: it makes the next record, whose event number
// is already counted when change is called, and the event. If the table has
// no row for it, nothing happens.
func (d *decision) move(old *Node, fact Fact, change func(*Node)) *Node {
	to, ok := Move(old.State, fact)
	if !ok {
		return old
	}
	key := old.Fleet + "/" + old.Key()
	next := *old
	n := &next
	n.Event++
	if n.State != to || to == Nothing {
		n.State, n.Since = to, d.now
	}
	change(n)
	f := d.w.fleet(n.Fleet)
	ready := f.ready(n.Pool)
	d.put("node/"+key, n)
	d.account(f, old, n, ready)
	d.out.Events = append(d.out.Events, d.event(f, old, n, fact))
	return n
}

func (f *fleetState) ready(name string) int {
	if p := f.pools[name]; p != nil {
		return p.ready()
	}
	return 0
}

// account keeps the budgets in use. Disrupted counts nodes that were taken
// down on purpose and whose place is not filled yet; Surged counts nodes that
// were made beyond the target. Whatever spends or frees a budget, or takes
// readiness away, writes the fleet record: two planners that both think they
// may spend the last unit then meet there.
func (d *decision) account(f *fleetState, old, n *Node, readyBefore int) {
	p := f.pools[n.Pool]
	made := old.State == Nothing || old.State == Deleted
	onPurpose := old.State == Ready && slices.Contains(onPurposeStates, n.State)
	disrupted, surged := 0, 0
	if f.record != nil {
		disrupted, surged = f.record.Disrupted[n.Pool], f.record.Surged[n.Pool]
	}
	target := f.target(n.Pool)
	nowDisrupted, beyond := disrupted, max(0, p.total()-target)
	if onPurpose {
		nowDisrupted++
	}
	nowDisrupted = min(nowDisrupted, max(0, target-p.serving()))
	nowSurged := min(surged, beyond)
	if made {
		nowSurged = beyond
	}
	if made || onPurpose || p.ready() < readyBefore || nowDisrupted != disrupted || nowSurged != surged {
		r := d.fleet(f)
		setCount(r.Disrupted, n.Pool, nowDisrupted)
		setCount(r.Surged, n.Pool, nowSurged)
	}
}

// onPurposeStates are those that a ready node enters because somebody wants it.
var onPurposeStates = []State{Draining, Restarting, Rerunning, Preserved}

func setCount(m map[string]int, k string, v int) {
	if v == 0 {
		delete(m, k)
	} else {
		m[k] = v
	}
}

func (d *decision) event(f *fleetState, old, n *Node, fact Fact) *Event {
	e := &Event{
		Fleet: n.Fleet, FleetUID: n.FleetUID, Node: n.Key(), Number: n.Event, At: d.now,
		Incarnation: n.Incarnation, Attempt: old.Attempt, Fact: fact, From: old.State, To: n.State,
		By: d.by, Input: d.in.ID, Reason: n.Reason, Message: n.Message, Took: d.took, Revision: n.Revision,
	}
	if e.Attempt == 0 {
		e.Attempt = n.Attempt
	}
	if f.record != nil {
		e.Disrupted, e.Surged = f.record.Disrupted[n.Pool], f.record.Surged[n.Pool]
	}
	return e
}

// fleetEvent adds an event of the fleet itself.
func (d *decision) fleetEvent(r *Fleet, fact Fact, message string) {
	r.Event++
	d.out.Events = append(d.out.Events, &Event{
		Fleet: r.Name, FleetUID: r.UID, Node: FleetEvents, Number: r.Event, At: d.now,
		Fact: fact, By: d.by, Input: d.in.ID, Message: message, Revision: r.Revision,
	})
}

// release frees a claim after the batch has landed.
func (d *decision) release(kind, name string) {
	c := d.w.claim(thing{kind, name})
	if c == nil {
		return
	}
	d.out.Releases = append(d.out.Releases, &Claim{
		Kind: kind, Thing: name, FleetUID: c.FleetUID, Node: c.Node, Shard: c.Shard, Since: d.now,
	})
}
