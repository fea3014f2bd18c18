package plan

import "yardmaster.dev/pkg/fleet"

// stepKind is the next thing that a pool needs.
type stepKind int

const (
	stepNone    stepKind = iota
	stepMake             // a new node
	stepRemove           // a node that the pool does not want
	stepReplace          // a node that goes for one of another name
	stepRecycle          // a node whose machine is made anew under its name
	stepRefresh          // a node that has no machine yet and takes the new definition
	stepResize           // a node whose machine is changed while it runs
	stepRestart          // a node whose machine is changed with a restart
	stepRerun            // a node on whose machine Ignition runs again
)

// course is what a pool should become and how fast it may change.
type course struct {
	hash string
	// spec is the pool's definition, nil if the pool goes; size is what its
	// machines are, revs what those are made from that exist.
	spec        *fleet.Pool
	size        size
	revs        map[int]*revision
	target      int
	unavailable int
	surge       int
	// ends means that the pool goes, with those nodes that are preserved.
	ends bool
}

func (f *fleetState) course(name string) course {
	rev := f.spec()
	if rev == nil {
		return course{}
	}
	c := newCourse(rev.spec, name, rev.hashes[name], f.target(name))
	c.size, c.revs = rev.sizes[name], f.revs
	c.ends = f.record.Deleting || c.hash == ""
	return c
}

// newCourse is the course of a pool by a spec; one that is not in it goes.
func newCourse(doc *fleet.Fleet, name, hash string, target int) course {
	p, ok := doc.Pool(name)
	if !ok {
		return course{}
	}
	c := course{hash: hash, target: target, spec: p}
	c.unavailable, c.surge = doc.Budgets(p)
	if target == 0 {
		c.surge = 0 // nothing will take over
	}
	return c
}

// next says what the pool needs next and on which ordinal. It looks at counts
// and sets only, so it costs the same for ten nodes and for 100,000.
//
// A machine that can be changed is changed where it is: while it runs if it
// can be, else with a restart, which counts as taking it down.
//
// With surge, new nodes come first, under the lowest free ordinals, and old
// ones go as others are ready; without, an old machine goes first and the new
// one takes over its name and addresses. What is not ready may go at any
// time: it serves nobody. A ready node goes only while fewer than
// maxUnavailable are missing, whoever is to blame for those.
func (p *pool) next(c course) (stepKind, int) {
	outdated := p.replaced(c)
	extra := min(c.surge, outdated)
	if p.wanted() > c.target+min(extra, p.current(c.hash)) {
		i, _ := p.victim(c.hash)
		return stepRemove, i
	}
	if i, ok := p.preserved.first(); ok && c.ends {
		return stepRemove, i
	}
	if kind, i := p.nextUnready(c); kind != stepNone {
		return kind, i
	}
	if p.wanted() < c.target+extra && p.total() < c.target+c.surge {
		return stepMake, p.vacant(0)
	}
	return p.nextReady(c)
}

// nextUnready is next for outdated nodes that serve nobody.
func (p *pool) nextUnready(c course) (stepKind, int) {
	if i, ok := p.lowest(c, []class{classSkipped, classFailed}); ok {
		return c.replacement(), i
	}
	if i, ok := p.lowest(c, []class{classWaiting}); ok {
		if p.nodes[i].State == Pending {
			return stepRefresh, i
		}
		return c.replacement(), i
	}
	if i, ok := p.lowest(c, []class{classHurt, classRestarting}, wayReplace); ok {
		return c.replacement(), i
	}
	if i, ok := p.lowest(c, []class{classHurt}, wayHot, wayRestart); ok {
		return stepRestart, i
	}
	if i, ok := p.lowest(c, []class{classHurt}, wayRerun); ok {
		return stepRerun, i
	}
	return stepNone, 0
}

// nextReady is next for outdated nodes that serve: they are changed on their
// machines before others are replaced.
func (p *pool) nextReady(c course) (stepKind, int) {
	if i, ok := p.lowest(c, []class{classReady}, wayHot); ok {
		return stepResize, i
	}
	if c.target-p.serving() >= c.unavailable {
		return stepNone, 0
	}
	if i, ok := p.lowest(c, []class{classReady}, wayRestart); ok {
		return stepRestart, i
	}
	if i, ok := p.lowest(c, []class{classReady}, wayRerun); ok {
		return stepRerun, i
	}
	if i, ok := p.lowest(c, serving, wayReplace); ok {
		return c.replacement(), i
	}
	return stepNone, 0
}

func (c course) replacement() stepKind {
	if c.surge > 0 {
		return stepReplace
	}
	return stepRecycle
}

// rollout brings a fleet nearer to its spec, as far as budgets allow and at
// most one chunk in one decision; the rest goes on by a step message. It is
// called after everything that may have freed a budget, and does nothing
// while a step is under way.
func (d *decision) rollout(name string) {
	f := d.w.fleets[name]
	if f == nil || f.record == nil || f.record.Deleted || f.record.Stepping || d.observing() {
		return
	}
	d.advance(f)
}

// advance does up to a chunk of what the fleet needs. Without its spec (a
// memory that is not whole) it does nothing: every node would seem to be one
// too many.
func (d *decision) advance(f *fleetState) {
	if f.spec() == nil {
		return
	}
	if d.w.halted(f.name) {
		d.callBack(f)
	} else {
		d.wake(f)
		for _, name := range f.poolNames() {
			d.advancePool(f, name)
		}
	}
	if stepping := d.left <= 0; stepping || f.record.Stepping {
		d.fleet(f).Stepping = stepping
		d.out.Step = stepping
	}
	d.settle(f)
}

func (d *decision) advancePool(f *fleetState, name string) {
	c := f.course(name)
	for d.left > 0 {
		p := f.pools[name]
		if p == nil {
			p = &pool{name: name}
		}
		kind, ordinal := p.next(c)
		if kind == stepNone {
			return
		}
		d.take(f, p, kind, ordinal)
	}
}

func (d *decision) take(f *fleetState, p *pool, kind stepKind, ordinal int) {
	d.left--
	if kind == stepMake {
		d.left -= len(staticRefs(d.w.poolOf(d.create(f, p, ordinal)))) / 8 // their claims are one batch too
		return
	}
	if kind == stepRerun {
		d.rerun(p.node(ordinal))
		return
	}
	if fact := resizeFacts[kind]; fact != "" {
		d.resize(p.node(ordinal), fact)
		return
	}
	act := stepActs[kind]
	d.remove(p.node(ordinal), act.goal, act.fact)
}

var stepActs = map[stepKind]struct {
	goal Goal
	fact Fact
}{
	stepRemove:  {Absent, FactUnwanted},
	stepReplace: {Absent, FactOutdated},
	stepRecycle: {Recycle, FactOutdated},
	stepRefresh: {Recycle, FactOutdated},
}

var resizeFacts = map[stepKind]Fact{stepResize: FactResizing, stepRestart: FactRestarting}

// create makes a node, or the next life of one that is gone; events and
// incarnations go on counting.
func (d *decision) create(f *fleetState, p *pool, ordinal int) *Node {
	n := &Node{Fleet: f.name, Pool: p.name, Ordinal: ordinal}
	if old := p.node(ordinal); old != nil {
		c := *old
		n = &c
	}
	n = d.move(n, FactCreated, func(n *Node) {
		n.FleetUID, n.Created, n.Boots = f.record.UID, d.now, 0
		n.Incarnation++
		d.restamp(n)
		n.Reason, n.Message, n.Hint = "", "", ""
	})
	return d.admit(n)
}

// settle notes when every node has reached the newest revision, and when the
// last node of a deleted fleet is gone.
func (d *decision) settle(f *fleetState) {
	if f.record.Stepping {
		return
	}
	total := 0
	settled := true
	for _, name := range f.poolNames() {
		p, c := f.pools[name], f.course(name)
		if p == nil {
			settled = settled && c.target == 0
			continue
		}
		total += p.total() + p.preserved.count
		settled = settled && p.total() == c.target && p.serving() == c.target && p.outdated(c.hash)+p.counts[classResizing]+p.stuck() == 0
	}
	if f.record.Deleting && total == 0 {
		d.bye(f)
		return
	}
	if settled && f.record.Settled != f.record.Revision {
		r := d.fleet(f)
		r.Settled = r.Revision
		d.fleetEvent(r, FactSettled, "")
	}
}
