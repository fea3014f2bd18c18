package plan

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"yardmaster.dev/pkg/fault"
)

// Mend is what a person decides on a node.
type Mend string

// What may be decided, beside trying again (see [RetryNodes]).
const (
	// MendSkip leaves a failed node as it is: its pool counts without it and
	// makes no other one.
	MendSkip Mend = "skip"
	// MendReplace removes a node's machine and makes the next one under its
	// name.
	MendReplace Mend = "replace"
	// MendPreserve keeps a node's machine for inspection and lets the pool
	// make another node.
	MendPreserve Mend = "preserve"
	// MendCancel calls back what is under way for a node.
	MendCancel Mend = "cancel"
)

// MendNodes is a person's decision on nodes of a fleet.
type MendNodes struct {
	Mend Mend
	// Nodes are keys; empty means every failed node that is not skipped.
	Nodes []string
	// Reason, if set, picks only nodes that failed for it.
	Reason fault.Reason
	// MaxDestroyPercent overrides the fleet's brake for a replacement.
	MaxDestroyPercent *int
}

// mends says of each decision whether a node bears it, what to do, and how it
// is called when it was done.
var mends = map[Mend]struct {
	against func(d *decision, n *Node) *Receipt
	do      func(d *decision, n *Node)
	done    string
}{
	MendSkip:     {(*decision).againstSkip, (*decision).skip, "skipped"},
	MendReplace:  {(*decision).againstReplace, (*decision).replace, "replaced"},
	MendPreserve: {(*decision).againstPreserve, (*decision).preserve, "preserved"},
	MendCancel:   {(*decision).againstCancel, (*decision).cancel, "called back"},
}

// mendNodes carries a person's decision out, node by node, up to the first
// one that does not bear it: each may use up what the next one needs.
func (d *decision) mendNodes(c *MendNodes) *Receipt {
	act, ok := mends[c.Mend]
	if !ok {
		return refuse(RefusedInvalid, fmt.Sprintf("%q is nothing that this planner can do with a node", c.Mend))
	}
	f, refusal := d.live(d.in.Fleet)
	if refusal != nil {
		return refusal
	}
	keys := c.Nodes
	if len(keys) == 0 {
		keys = f.failedKeys(c.Reason)
	}
	if c.Mend == MendReplace {
		if refusal := f.braked(Brakes{MaxDestroyPercent: c.MaxDestroyPercent}, deed{destroys: f.machines(keys)}); refusal != nil {
			return refusal
		}
	}
	for i, key := range keys {
		n := f.node(key)
		refusal := d.against(f, key, act.against)
		if refusal != nil && i == 0 {
			return refusal
		}
		if d.left -= 2; refusal == nil && d.left < 0 {
			refusal = refuse(RefusedBrake, "ask again for the rest")
		}
		if refusal != nil {
			d.rollout(f.name)
			return accept(f.record.Revision, "%d of %s %s; then: %s", i, nodes(len(keys)), act.done, refusal.Refusal[0])
		}
		act.do(d, n)
	}
	d.rollout(f.name)
	return accept(f.record.Revision, "%s %s", nodes(len(keys)), act.done)
}

// against says why a node does not bear a decision.
func (d *decision) against(f *fleetState, key string, bears func(*decision, *Node) *Receipt) *Receipt {
	n := f.node(key)
	if n == nil || n.State == Deleted {
		return refuse(RefusedNotFound, fmt.Sprintf("there is no node %s-%s; yardctl get nodes lists them", f.name, key))
	}
	return bears(d, n)
}

// machines counts those of the wanted nodes that are known to have one.
func (f *fleetState) machines(keys []string) int {
	count := 0
	for _, key := range keys {
		if n := f.node(key); n != nil && n.MachineID != "" && n.Goal != Absent && n.State != Preserved {
			count++
		}
	}
	return count
}

// failedKeys are the failed nodes that nobody skipped.
func (f *fleetState) failedKeys(reason fault.Reason) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(f.dead)) {
		n := f.node(key)
		if n != nil && n.State == Failed && !n.Skipped && (reason == "" || reason == f.dead[key].Reason) {
			out = append(out, key)
		}
	}
	return out
}

func (d *decision) againstSkip(n *Node) *Receipt {
	switch {
	case n.State != Failed || n.Skipped:
		return refuse(RefusedInvalid, fmt.Sprintf("node %s is %s: only what yardctl failed lists can be skipped", n.Name(), d.standing(n)))
	case n.Goal != Present:
		return refuse(RefusedInvalid, fmt.Sprintf("node %s failed when its machine was to be removed, which nobody can count without: yardctl retry %s", n.Name(), n.Name()))
	}
	return nil
}

// standing is a node's state in words.
func (d *decision) standing(n *Node) string {
	if n.Skipped {
		return "skipped already"
	}
	return string(n.State)
}

func (d *decision) skip(n *Node) {
	d.move(n, FactSkipAsked, func(n *Node) { n.Skipped = true })
}

func (d *decision) againstReplace(n *Node) *Receipt {
	switch {
	case n.Goal == Absent || n.State == Draining || n.State == Deleting:
		return refuse(RefusedInvalid, fmt.Sprintf("node %s is on its way out; yardctl describe node %s says how far", n.Name(), n.Name()))
	case n.State == Pending:
		return refuse(RefusedInvalid, fmt.Sprintf("node %s has no machine yet", n.Name()))
	case d.w.halted(n.Fleet):
		return refuse(RefusedBrake, d.w.haltWords(n.Fleet)+": nothing is replaced until it is resumed")
	}
	return d.againstTaking(n)
}

// againstTaking says why a ready node cannot be taken out of service now.
func (d *decision) againstTaking(n *Node) *Receipt {
	if n.State != Ready {
		return nil
	}
	f := d.w.fleet(n.Fleet)
	c, p := f.course(n.Pool), f.pools[n.Pool]
	if missing := c.target - p.serving(); missing >= c.unavailable {
		return refuse(RefusedBrake, fmt.Sprintf("node %s is ready, and %d of %d nodes of its pool are unavailable already; rollout.maxUnavailable is %d: wait, or raise it",
			n.Name(), max(0, missing), c.target, c.unavailable))
	}
	return nil
}

// replace makes a node's machine anew. The pool of a preserved one has made
// another node, so that one only goes.
func (d *decision) replace(n *Node) {
	goal := Recycle
	if n.State == Preserved {
		goal = Absent
	}
	next := *n
	next.Boots = 0
	d.remove(&next, goal, FactReplaceAsked)
}

func (d *decision) againstPreserve(n *Node) *Receipt {
	if _, ok := Move(n.State, FactPreserveAsked); !ok || n.Goal != Present {
		return refuse(RefusedInvalid, fmt.Sprintf("node %s is %s: only failed, booting, joining and ready nodes can be preserved", n.Name(), n.State))
	}
	if n.MachineUUID == "" {
		return refuse(RefusedInvalid, fmt.Sprintf("node %s has no machine that could be preserved", n.Name()))
	}
	if n.Job != nil {
		return refuse(RefusedInvalid, fmt.Sprintf("node %s has a job under way (%s); try again when it has ended", n.Name(), n.Job.Action))
	}
	return d.againstTaking(n)
}

// preserve keeps the machine, its addresses and the reason; the node counts
// no more.
func (d *decision) preserve(n *Node) {
	d.move(n, FactPreserveAsked, func(n *Node) {
		n.Due, n.DueFor, n.Deadline, n.Chore = time.Time{}, "", time.Time{}, ""
		n.Hint = "its machine is kept until somebody says: yardctl replace " + n.Name()
		n.Skipped = false
		d.clearDeadLetter(n)
	})
}

func (d *decision) againstCancel(n *Node) *Receipt {
	switch n.State { //nolint:exhaustive // the others have something under way
	case Rendering, Provisioning, Booting, Joining:
		return nil
	case Draining, Deleting:
		return refuse(RefusedInvalid, fmt.Sprintf("node %s: its machine is being removed, and that is not called back half-way", n.Name()))
	}
	return refuse(RefusedInvalid, fmt.Sprintf("node %s is %s: nothing is under way that could be called back", n.Name(), n.State))
}

// cancel calls the open job back and leaves the node to people. A job that
// was begun may yet be done: what it made stays and is told.
func (d *decision) cancel(n *Node) {
	if n.Job == nil {
		d.cancelled(n)
		return
	}
	d.move(n, FactCancelAsked, func(n *Node) {
		n.Cancelled = true
		d.withdraw(n)
	})
}

// cancelled ends a node that was called back.
func (d *decision) cancelled(n *Node) {
	f := &Failure{
		Kind: fault.Permanent, Reason: fault.CalledBack, Message: "called back before there was a machine",
		Hint: fmt.Sprintf("yardctl retry|skip|replace|preserve %s", n.Name()),
	}
	switch {
	case n.MachineID != "":
		f.Message = "called back; its machine is there and stays"
	case n.MachineUUID != "":
		f.Message = "called back while its machine was being made; it may be there, in part"
	}
	d.giveUp(n, f)
}
