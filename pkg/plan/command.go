package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// command decides on a command unless its receipt shows that it was decided
// before.
func (d *decision) command(c *Command) error { //nolint:gocyclo // one case per command
	if c.PhoneHome != nil {
		d.phoneHome(c.PhoneHome)
		return nil
	}
	if d.w.Receipt(d.in.Fleet, c.ID) != nil {
		return nil
	}
	if c.By != "" {
		d.by = c.By
	}
	var answer *Receipt
	switch {
	case d.w.yard == nil:
		answer = refuse(RefusedNotFound, "the yard has no record of itself yet; run yardmaster bus init")
	case c.ApplyFleet != nil:
		answer = d.applyFleet(c)
	case c.ApplyNetwork != nil:
		answer = d.applyNetwork(c.ApplyNetwork)
	case c.ApplySite != nil:
		answer = d.applySite(c.ApplySite)
	case c.Delete != nil:
		answer = d.deleteDocument(c.Delete)
	case c.ImportImage != nil:
		answer = d.importImage(c.ImportImage)
	case c.ForgetImage != nil:
		answer = d.forgetImage(c.ForgetImage)
	case c.Release != nil:
		answer = d.releaseAddress(c.Release)
	default:
		answer = d.fleetCommand(c)
	}
	if answer == nil {
		return fault.Newf(fault.Permanent, fault.Poison, "command %s asks for nothing that this planner knows", c.ID)
	}
	answer.Fleet, answer.ID, answer.At = d.in.Fleet, c.ID, d.now
	d.put("receipt/"+c.ID, answer)
	return nil
}

func (d *decision) fleetCommand(c *Command) *Receipt {
	switch {
	case c.Place != nil:
		return d.place(c.Place)
	case c.DeleteFleet != nil:
		return d.deleteFleet(c.DeleteFleet)
	case c.Scale != nil:
		return d.scale(c.Scale)
	case c.Retry != nil:
		return d.retryNodes(c.Retry)
	case c.Mend != nil:
		return d.mendNodes(c.Mend)
	case c.Pause != nil:
		return d.pause(c.Pause)
	case c.Orphans != nil:
		return d.removeOrphans(c.Orphans)
	}
	return nil
}

// refuse is the receipt of a refused command.
func refuse(code string, words ...string) *Receipt { return &Receipt{Code: code, Refusal: words} }

// accept is the receipt of a command that was taken.
func accept(revision int, format string, args ...any) *Receipt {
	return &Receipt{Accepted: true, Revision: revision, Summary: fmt.Sprintf(format, args...)}
}

const observesOnly = "the yard only observes since its restore; resume it first"

// nodes counts in words.
func nodes(count int) string {
	if count == 1 {
		return "1 node"
	}
	return strconv.Itoa(count) + " nodes"
}

// live returns a fleet that commands may change, or the refusal.
func (d *decision) live(name string) (*fleetState, *Receipt) {
	f := d.w.fleets[name]
	if d.observing() {
		return nil, refuse(RefusedBrake, observesOnly)
	}
	if f == nil || f.record == nil || f.record.Deleted {
		return nil, refuse(RefusedNotFound, fmt.Sprintf("there is no fleet %s; yardctl get fleets lists them", name))
	}
	if f.record.Deleting {
		return nil, refuse(RefusedInUse, fmt.Sprintf("fleet %s is being deleted; wait until it is gone", name))
	}
	return f, nil
}

// scale sets a pool's live target.
func (d *decision) scale(c *Scale) *Receipt {
	f, refusal := d.live(d.in.Fleet)
	if refusal != nil {
		return refusal
	}
	if f.hash(c.Pool) == "" {
		return refuse(RefusedNotFound, fmt.Sprintf("fleet %s has no pool %s", f.name, c.Pool))
	}
	was := f.target(c.Pool)
	if c.Target < 0 || c.Target > fleet.MaxReplicas {
		return refuse(RefusedInvalid, fmt.Sprintf("%d is no number of nodes; write 0 to %d", c.Target, fleet.MaxReplicas))
	}
	if c.Basis != nil && *c.Basis != was {
		return refuse(RefusedMoved, fmt.Sprintf("pool %s/%s has target %d, not %d as was seen; look again",
			f.name, c.Pool, was, *c.Basis))
	}
	if was == c.Target {
		return accept(f.record.Revision, "target of %s/%s is %d already", f.name, c.Pool, was)
	}
	if refusal := f.braked(c.Brakes, f.scaled(c.Pool, c.Target)); refusal != nil {
		return refusal
	}
	r := d.fleet(f)
	r.Targets[c.Pool] = c.Target
	d.trim(f)
	d.fleetEvent(r, FactScaled, fmt.Sprintf("pool %s: target %d -> %d", c.Pool, was, c.Target))
	d.advance(f)
	return accept(r.Revision, "target of %s/%s: %d -> %d%s", f.name, c.Pool, was, c.Target, d.whilePaused(f.name))
}

// trim lowers the budgets in use to what a changed target leaves of them.
func (d *decision) trim(f *fleetState) {
	r := d.fleet(f)
	for name, p := range f.pools {
		setCount(r.Disrupted, name, min(r.Disrupted[name], max(0, f.target(name)-p.serving())))
		setCount(r.Surged, name, min(r.Surged[name], max(0, p.total()-f.target(name))))
	}
}

// step goes on with a fleet. It looks at what is, not at what the message
// was sent for, so that one too many is harmless.
func (d *decision) step() error {
	f := d.w.fleets[d.in.Fleet]
	if f == nil || f.record == nil || f.record.Deleted {
		return nil
	}
	if d.observing() {
		if f.record.Stepping {
			d.fleet(f).Stepping = false // NextDue finds it when the yard resumes
		}
		return nil
	}
	d.advance(f)
	return nil
}

// deleteFleet lets a fleet go with all its nodes.
func (d *decision) deleteFleet(c *DeleteFleet) *Receipt {
	f, refusal := d.live(c.Name)
	if refusal != nil {
		return refusal
	}
	if d.w.halted(c.Name) {
		return refuse(RefusedBrake, d.w.haltWords(c.Name)+": nothing is deleted until it is resumed")
	}
	if rev := f.spec(); rev != nil && rev.spec.Spec.Protect.Deletion {
		return refuse(RefusedBrake, fmt.Sprintf(
			"fleet %s is protected: apply it with spec.protect.deletion: false first", c.Name))
	}
	count := 0
	for _, p := range f.pools {
		count += p.wanted()
	}
	r := d.fleet(f)
	r.Deleting = true
	d.trim(f)
	d.fleetEvent(r, FactFleetDeleted, "with "+nodes(count))
	d.advance(f)
	return accept(r.Revision, "fleet %s is being deleted, with %s", c.Name, nodes(count))
}

// bye ends a fleet whose last node is gone. The record stays as a tombstone:
// events and revisions of a later fleet of that name go on counting.
func (d *decision) bye(f *fleetState) {
	r := d.fleet(f)
	r.Deleted, r.Deleting, r.Stepping = true, false, false
	r.Disrupted, r.Surged = map[string]int{}, map[string]int{}
	d.fleetEvent(r, FactFleetGone, "")
}

// retryNodes takes failed nodes off the dead-letter list and tries again. A
// failed node is made anew; one that failed to go goes on going.
func (d *decision) retryNodes(c *RetryNodes) *Receipt {
	f, refusal := d.live(d.in.Fleet)
	if refusal != nil && refusal.Code != RefusedInUse {
		return refusal
	}
	if f == nil { // one that is being deleted may have nodes that failed to go
		f = d.w.fleets[d.in.Fleet]
	}
	if d.w.halted(f.name) {
		return refuse(RefusedBrake, d.w.haltWords(f.name)+": nothing is tried again until it is resumed")
	}
	keys, refusal := f.retryable(c)
	if refusal != nil {
		return refusal
	}
	if refusal := f.braked(Brakes{MaxDestroyPercent: c.MaxDestroyPercent}, deed{destroys: f.remade(keys, c.Altogether)}); refusal != nil {
		return refusal
	}
	for i, key := range keys {
		if d.left -= 2; d.left < 0 { // a retry writes much
			return accept(f.record.Revision, "%d of %s tried again; ask again for the rest", i, nodes(len(keys)))
		}
		d.retry(d.w.Node(f.name, key))
	}
	d.rollout(f.name)
	return accept(f.record.Revision, "%s tried again", nodes(len(keys)))
}

func (d *decision) retry(n *Node) {
	if n.hurt() && n.FormerToken != "" {
		d.rerun(n)
		return
	}
	if n.hurt() {
		d.resize(n, FactRestarting)
		return
	}
	if n.refused() {
		d.resize(n, FactResizing)
		return
	}
	n = d.move(n, FactRetryAsked, func(n *Node) {
		if n.Goal == Present && n.State != Ready {
			n.Goal = Recycle
			n.MachineUUID = d.machineUUID(n) // as in leave: it may have one that nobody remembers
		}
		n.Attempt, n.Boots = 1, 0
		d.clearTrouble(n)
		if n.State == Ready {
			d.begin(n)
		}
		d.destroy(n)
	})
	d.drained(n)
}

// remade counts the machines that a retry destroys for the sake of a new one;
// one that was never seen to exist is none. If these keys are not all that is
// meant, the others are taken to be like them.
func (f *fleetState) remade(keys []string, altogether int) int {
	count := 0
	for _, key := range keys {
		if n := f.node(key); n.State == Failed && n.Goal == Present && n.MachineID != "" && !n.hurt() {
			count++
		}
	}
	if altogether > len(keys) {
		count = count * altogether / max(1, len(keys))
	}
	return count
}

// skipped reports whether a node was set aside: it is meant by name only.
func (f *fleetState) skipped(key string) bool {
	n := f.node(key)
	return n != nil && n.Skipped
}

// retryable are the keys of the nodes that the command means.
func (f *fleetState) retryable(c *RetryNodes) ([]string, *Receipt) {
	keys := c.Nodes
	if len(keys) == 0 {
		keys = slices.DeleteFunc(slices.Sorted(maps.Keys(f.dead)), f.skipped)
	}
	var out, words []string
	for _, key := range keys {
		letter, node := f.dead[key], f.node(key)
		if letter == nil || node == nil {
			if len(c.Nodes) > 0 {
				words = append(words, fmt.Sprintf("node %s-%s is not among the failed; yardctl failed lists them", f.name, key))
			}
			continue
		}
		if c.Reason == "" || c.Reason == letter.Reason {
			out = append(out, key)
		}
	}
	if len(words) > 0 {
		return nil, refuse(RefusedNotFound, words...)
	}
	return out, nil
}
