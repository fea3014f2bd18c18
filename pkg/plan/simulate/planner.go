package simulate

import (
	"time"

	"yardmaster.dev/pkg/plan"
)

// post sends a durable message to the planner: it comes at least once.
func (r *run) post(in plan.Input) {
	r.in(r.between(time.Millisecond, 300*time.Millisecond), func() { r.deliver(in) })
	if r.chance(r.faults.twice) {
		r.in(r.between(0, 2*time.Minute), func() { r.deliver(in) })
	}
}

// deliver brings a message, or loses it until it is sent again.
func (r *run) deliver(in plan.Input) {
	if r.world == nil || r.chance(r.faults.lost) {
		r.in(r.between(ackWait, 2*ackWait), func() { r.deliver(in) })
		return
	}
	r.decide(in)
}

// decide is the planner's loop for one input, with its points of death.
func (r *run) decide(in plan.Input) {
	r.ledger.changed = false
	r.script.foresee(in)
	for range 3 {
		if r.chance(r.faults.crash) {
			r.crash(in, "before it decided on")
			return
		}
		r.report.Decisions++
		out, err := plan.Decide(r.world, in, r.now)
		if err != nil {
			r.fail("poison: %v", err)
			return
		}
		if len(out.Claims) == 0 {
			r.commit(in, &out)
			return
		}
		r.claim(out.Claims)
		if r.chance(r.faults.crash) {
			r.crash(in, "with its claims just made, before it decided again on")
			return
		}
	}
	r.fail("%s: asked for claims three times in a row", in.ID)
}

// claim writes claims by compare-and-set.
func (r *run) claim(claims []*plan.Claim) {
	for _, c := range claims {
		_, k := key(c)
		if held := r.ledger.claims[k]; held != nil && !r.dead(held.Fleet) {
			r.fail("%s is claimed for %s-%s and held by %s-%s", c.Thing, c.Fleet, c.Node, held.Fleet, held.Node)
		}
		r.tell("planner   claims %s %s for %s %s", c.Kind, c.Thing, c.Fleet, c.Node)
		r.ledger.write(c)
		r.world.Put(c)
	}
}

// dead reports whether a fleet is gone: its claims may be taken over.
func (r *run) dead(fleetName string) bool {
	f := r.ledger.fleet(fleetName)
	return f != nil && f.Deleted
}

// commit writes an outcome as one atomic batch.
func (r *run) commit(in plan.Input, out *plan.Outcome) {
	if r.opt.Tamper != nil {
		r.opt.Tamper(out)
	}
	if r.chance(r.faults.crash) {
		r.crash(in, "before it committed")
		return
	}
	if r.chance(r.faults.undone) {
		r.undone(in, out)
		return
	}
	for _, rec := range out.Records {
		r.ledger.write(clone(rec))
		r.world.Put(rec)
	}
	r.script.took(in, out.Records)
	r.check.committed(in, out)
	r.sendOut(in, out)
	if r.chance(r.faults.crash) {
		r.crash(in, "after the commit, before it released claims and acknowledged")
		return
	}
	r.free(out.Releases)
	if in.Step == nil && r.rng.IntN(4) == 0 {
		r.repeat(in)
	}
}

// undone is a power cut while a batch is written: a lone server delivers what
// it has not synced yet, so that workers have the jobs and nothing else is
// left of them.
func (r *run) undone(in plan.Input, out *plan.Outcome) {
	for _, j := range out.Jobs {
		r.site.ghost(&job{Job: *j})
	}
	r.crash(in, "in a power cut that undid what it wrote for")
	if r.rng.IntN(2) == 0 { // the next planner then decides otherwise
		r.in(r.between(time.Second, ackWait), r.script.something)
	}
}

// sendOut gives out what was written together with the records.
func (r *run) sendOut(in plan.Input, out *plan.Outcome) {
	for _, ref := range out.Withdrawn {
		if j := r.ledger.jobs[ref]; j != nil {
			j.withdrawn = true
		}
	}
	for _, j := range out.Jobs {
		open := &job{Job: *j}
		r.ledger.jobs[j.JobRef] = open
		r.check.given(open)
		r.site.give(open)
	}
	if out.Step {
		r.post(plan.Input{ID: "step." + in.Fleet, Fleet: in.Fleet, Step: &plan.Step{}})
	}
}

// free overwrites claims empty.
func (r *run) free(claims []*plan.Claim) {
	for _, c := range claims {
		_, k := key(c)
		held := r.ledger.claims[k]
		if held == nil || held.FleetUID != c.FleetUID || held.Node != c.Node {
			continue // somebody else's by now
		}
		r.check.released(held)
		r.tell("planner   frees %s %s", c.Kind, c.Thing)
		r.ledger.write(c)
		r.world.Put(c)
	}
}

// repeat decides on an input again at once: it must change nothing.
func (r *run) repeat(in plan.Input) {
	out, err := plan.Decide(r.world, in, r.now)
	if err != nil || len(out.Records)+len(out.Events)+len(out.Jobs)+len(out.Claims) > 0 {
		r.fail("%s was decided on twice: %d records, %d events, %d jobs, %d claims the second time",
			in.ID, len(out.Records), len(out.Events), len(out.Jobs), len(out.Claims))
	}
}

// crash ends the planner's memory; another one starts a little later, and
// the input comes again.
func (r *run) crash(in plan.Input, when string) {
	r.tell("planner   dies %s %s", when, in.ID)
	r.report.Crashes++
	r.world = nil
	r.in(r.between(500*time.Millisecond, 10*time.Second), func() {
		if r.world == nil {
			r.world = r.ledger.load(r.rng)
			r.tell("planner   starts")
		}
	})
	if in.Due == nil { // deadlines stand in the records
		r.in(ackWait, func() { r.deliver(in) })
	}
}
