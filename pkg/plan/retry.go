package plan

import (
	"fmt"
	"time"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// failed goes on after a failure of the node's job, or of waiting for it.
// fact is what happened if the node may try again.
func (d *decision) failed(n *Node, f *Failure, fact Fact) *Node { //nolint:gocyclo // one case per kind of failure
	if f.Kind == fault.Busy || f.Kind == fault.Cancelled {
		return d.move(n, FactBusy, func(n *Node) {
			wait := f.RetryAfter
			if wait <= 0 {
				wait = d.w.Policy.Busy
			}
			d.rest(n, f, min(wait, d.w.Policy.BusyMost))
		})
	}
	if f.Reason == fault.HotRefused && n.Chore == ActionResize {
		return d.hotRefused(n, f)
	}
	tries := d.tries(n)
	if f.Reason == fault.ConfigMissing && n.usesConfig() && n.Attempt < tries.Attempts {
		return d.move(n, FactConfigLost, func(n *Node) {
			n.Attempt++
			n.ConfigDigest, n.ConfigSize, n.TokenSHA256 = "", 0, ""
			if n.State == Rerunning {
				n.Chore = ActionRender
			} else {
				n.Reported, n.GuestAddress = false, "" // what called starts over with the next config
			}
			d.blame(n, f)
			d.begin(n)
		})
	}
	if f.Reason == fault.AddressTaken && n.State == Provisioning && n.takes(f.Taken) {
		return d.addressTaken(n, f)
	}
	if f.Kind == fault.Permanent || n.Attempt >= tries.Attempts {
		return d.giveUp(n, f)
	}
	return d.move(n, fact, func(n *Node) {
		d.rest(n, f, backoff(patience(tries, f.Reason), n.Attempt))
		n.Attempt++
	})
}

// usesConfig reports whether the node's job needs its sealed config.
func (n *Node) usesConfig() bool {
	return n.State == Provisioning || n.State == Rerunning && n.Chore == ActionOffer
}

// Room is made by people or by other work that ends, not within seconds: it is
// waited for so much longer than for anything else.
const (
	roomBackoff    = 12
	roomMaxBackoff = 2
)

// patience is how a failure of that reason is waited out.
func patience(r fleet.Retry, reason fault.Reason) fleet.Retry {
	if reason == fault.NoSpace || reason == fault.NoResources {
		r.Backoff.Duration *= roomBackoff
		r.MaxBackoff.Duration *= roomMaxBackoff
	}
	return r
}

// tries is how often and how patiently the node tries.
func (d *decision) tries(n *Node) fleet.Retry {
	if f := d.w.fleets[n.Fleet]; f != nil && f.spec() != nil {
		return f.spec().spec.Spec.Retry
	}
	return (&fleet.Fleet{}).WithDefaults().Spec.Retry
}

// backoff is the wait after an attempt: doubled each time, up to the most.
func backoff(r fleet.Retry, attempt int) time.Duration {
	wait := r.Backoff.Duration
	for range attempt - 1 {
		if wait >= r.MaxBackoff.Duration {
			break
		}
		wait *= 2
	}
	return min(wait, r.MaxBackoff.Duration)
}

// rest closes the job and waits before the next attempt.
func (d *decision) rest(n *Node, f *Failure, wait time.Duration) {
	n.Job, n.Deadline = nil, time.Time{}
	n.Due, n.DueFor = d.now.Add(jitter(wait, n)), DueRetry
	d.blame(n, f)
}

func (d *decision) blame(n *Node, f *Failure) {
	n.Reason, n.Message, n.Hint = f.Reason, f.Message, f.Hint
	if n.Reason == "" {
		n.Reason = fault.Unknown
	}
}

// giveUp puts the node on the dead-letter list. A ready node whose chore gave
// up stays ready; only the letter tells of it.
func (d *decision) giveUp(n *Node, f *Failure) *Node {
	stage, attempts := n.State, n.Attempt
	n = d.move(n, FactGaveUp, func(n *Node) {
		n.Job, n.Due, n.DueFor, n.Deadline = nil, time.Time{}, "", time.Time{}
		n.Cancelled = false
		d.blame(n, f)
	})
	l := &DeadLetter{
		Fleet: n.Fleet, Node: n.Key(), Stage: stage, Reason: n.Reason, Message: n.Message, Hint: n.Hint,
		Attempts: attempts, Since: d.now, Log: f.Log,
	}
	if stage == Booting || stage == Joining {
		l.Attempts = n.Boots
	}
	if l.Hint == "" {
		l.Hint = fmt.Sprintf("mend the cause, then: yardctl retry %s", n.Name())
	}
	if stage == Deleting {
		l.Hint += "; until its machine is gone it counts against the budgets of its pool, whose rollout may wait for it"
	}
	d.put("dead/"+n.Fleet+"/"+n.Key(), l)
	return n
}

// clearDeadLetter takes a node off the dead-letter list.
func (d *decision) clearDeadLetter(n *Node) {
	if d.w.DeadLetter(n.Fleet, n.Key()) != nil {
		d.put("dead/"+n.Fleet+"/"+n.Key(), &DeadLetter{Fleet: n.Fleet, Node: n.Key()})
	}
}

// again starts the job of the node's state anew.
func (d *decision) again(n *Node) *Node {
	return d.move(n, FactRetryDue, func(n *Node) {
		n.Message, n.Reason, n.Hint = "", "", ""
		d.begin(n)
	})
}

// overdue acts on a deadline. One whose node has moved on since is stale.
func (d *decision) overdue(in *Due) error {
	n := d.w.Node(d.in.Fleet, in.Node)
	if n == nil || n.Event != in.Event || d.observing() {
		return nil
	}
	if n.DueFor == DueAddress {
		d.admit(n)
		return nil
	}
	if n.Due.IsZero() || n.Due.After(d.now) {
		return nil
	}
	if act := dueActs[n.DueFor]; act != nil {
		act(d, n)
	}
	d.rollout(n.Fleet)
	return nil
}

// dueActs says what each kind of due time leads to.
var dueActs = map[DueFor]func(*decision, *Node) *Node{
	DueRetry:    (*decision).again,
	DueDeadline: (*decision).late,
	DueGrace:    (*decision).gracePassed,
}

// late acts when a stage's time is up: an open job is called back, a machine
// that did not report is made anew, a few times.
func (d *decision) late(n *Node) *Node {
	if n.Job != nil {
		return d.move(n, FactDeadlinePassed, func(n *Node) {
			n.Deadline = time.Time{}
			d.withdraw(n)
		})
	}
	f := d.silence(n)
	if n.State == Restarting || n.State == Rerunning { // its disk is worth more than another try
		return d.giveUp(n, f)
	}
	if n.Boots+1 >= d.tries(n).Attempts {
		return d.giveUp(n.booted(), f)
	}
	return d.rebuild(n, FactDeadlinePassed, f)
}

// silence is the failure of a machine that never reported.
func (d *decision) silence(n *Node) *Failure {
	if n.Reason == fault.WrongAddress {
		return &Failure{Reason: n.Reason, Message: n.Message, Hint: n.Hint}
	}
	if n.State == Rerunning {
		return d.unrun(n)
	}
	wait := d.now.Sub(n.Since).Round(time.Second)
	return &Failure{
		Reason:  fault.BootTimeout,
		Message: fmt.Sprintf("the machine was powered on and did not report for %s", wait),
		Hint:    fmt.Sprintf("yardctl logs %s shows its console and what it said; look at its way to the gateway", n.Name()),
	}
}

// booted is the record with one more vain boot counted.
func (n *Node) booted() *Node {
	next := *n
	next.Boots++
	return &next
}

// rebuild removes a machine that is of no use and makes the next one.
func (d *decision) rebuild(n *Node, fact Fact, f *Failure) *Node {
	n = d.move(n, fact, func(n *Node) {
		if n.ReadyAt.IsZero() {
			n.Boots++
		}
		n.Goal = Recycle
		d.leave(n)
		d.blame(n, f)
	})
	return d.drained(n)
}

// gracePassed goes on without the result of a withdrawn job.
func (d *decision) gracePassed(n *Node) *Node {
	if n.Job == nil {
		return n
	}
	if d.leaving(n) {
		return d.unblocked(n, FactGracePassed)
	}
	if n.Cancelled {
		d.cancelled(n)
		return n
	}
	return d.failed(n, &Failure{
		Reason:  fault.Timeout,
		Message: fmt.Sprintf("no result of the %s job before its deadline", n.Job.Action),
		Hint:    "look whether the worker for this site runs: yardctl status",
	}, FactGracePassed)
}

// leaving reports whether the open job belongs to a life that is over.
func (d *decision) leaving(n *Node) bool {
	return n.State == Draining || (n.State == Deleting && n.Job != nil && n.Job.Action != ActionDelete)
}

// unblocked goes on with the removal once the withdrawn job has ended.
func (d *decision) unblocked(n *Node, fact Fact) *Node {
	if n.State == Draining {
		fact = FactDrained
	}
	n = d.move(n, fact, func(n *Node) {
		n.Job, n.Due, n.DueFor = nil, time.Time{}, ""
		d.destroy(n)
	})
	return d.drained(n)
}
