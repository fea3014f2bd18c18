package plan

import (
	"time"
)

// remove takes a node's machine away: for good (Absent), or to make the next
// incarnation under the same name (Recycle). The fact says whose wish it is:
// the plan does not want the node, or wants it otherwise. An open job is
// called back first.
func (d *decision) remove(n *Node, goal Goal, fact Fact) {
	if n.Goal == Absent || n.State == Deleted || (n.Goal == Recycle && goal == Recycle && n.State != Failed) {
		return
	}
	if n.State == Pending {
		d.removePending(n, goal, fact)
		return
	}
	if n.State == Draining || n.State == Deleting { // on its way; only the goal changes
		d.move(n, FactUnwanted, func(n *Node) { n.Goal = goal })
		return
	}
	n = d.move(n, fact, func(n *Node) {
		n.Goal = goal
		d.clearTrouble(n)
		d.leave(n)
	})
	d.drained(n)
}

// removePending deals with a node that has neither job nor machine: it goes
// at once, or goes on from the newest definition.
func (d *decision) removePending(n *Node, goal Goal, fact Fact) {
	if goal == Absent && fact == FactUnwanted {
		d.move(n, FactUnwanted, func(n *Node) {
			n.Goal = Absent
			d.bury(n)
		})
		return
	}
	n = d.move(n, FactOutdated, func(n *Node) {
		n.Incarnation++
		d.restamp(n)
		n.Due, n.DueFor, n.Reason, n.Message, n.Hint = time.Time{}, "", "", "", ""
	})
	d.admit(n)
}

// leave calls the open job back on the way out, starts counting anew, and
// asks for the machine's removal if nothing stands before it. Even a node that
// is still in rendering may have a machine: a power cut can undo the batch
// that asked for it, after an executor had the job.
func (d *decision) leave(n *Node) {
	n.MachineUUID = d.machineUUID(n)
	n.Attempt, n.Chore = 1, ""
	n.Due, n.DueFor, n.Deadline = time.Time{}, "", time.Time{}
	d.withdraw(n)
	d.destroy(n)
}

// destroy starts the job that removes the machine, once no other job is open;
// a node that was pending needs none.
func (d *decision) destroy(n *Node) {
	if n.State == Deleting && n.Job == nil && n.MachineUUID != "" {
		d.begin(n)
	}
}

// drained goes on with a node on its way out as far as it can.
func (d *decision) drained(n *Node) *Node {
	if n.State == Draining && n.Job == nil {
		n = d.move(n, FactDrained, d.destroy)
	}
	if n.State == Deleting && n.Job == nil && n.MachineUUID == "" {
		return d.gone(n)
	}
	return n
}

// gone ends a machine's life: the node is deleted, or the next incarnation
// begins.
func (d *decision) gone(n *Node) *Node {
	d.clearDeadLetter(n)
	f := d.w.fleet(n.Fleet)
	if n.Goal == Recycle && f.hash(n.Pool) != "" && !f.record.Deleting {
		n = d.move(n, FactCleared, func(n *Node) {
			n.Incarnation++
			d.restamp(n)
			d.clearTrouble(n)
		})
		return d.admit(n)
	}
	return d.move(n, FactRemoved, func(n *Node) {
		n.Goal = Absent
		d.bury(n)
	})
}

// bury gives everything back that a node held and forgets its machine; its
// numbers stay.
func (d *decision) bury(n *Node) {
	for _, a := range n.Addresses {
		d.release(ClaimAddress, addressThing(a.Network, a.Addr))
	}
	n.Addresses = nil
	d.strip(n)
	d.clearTrouble(n)
	n.Boots, n.Domain = 0, ""
}

// restamp lets a node go on from the newest revision, with nothing of its
// former machine but its name and addresses.
func (d *decision) restamp(n *Node) {
	f := d.w.fleet(n.Fleet)
	d.strip(n)
	n.Goal = Present
	n.Revision, n.PoolHash = f.record.Revision, f.hash(n.Pool)
	if rev := f.revs[n.Revision]; rev != nil {
		d.settleIn(f, rev, n)
	}
	uuid := d.machineUUID(n)
	n.MAC, n.Trace = MAC(uuid), traceparent(uuid)
}

// strip forgets the machine.
func (d *decision) strip(n *Node) {
	n.Attempt, n.Job, n.Due, n.DueFor, n.Deadline = 1, nil, time.Time{}, "", time.Time{}
	n.ReadyAt, n.Reported, n.Chore = time.Time{}, false, ""
	n.Hot, n.Restarted, n.Begun = Hot{}, time.Time{}, time.Time{}
	n.ConfigDigest, n.ConfigSize, n.TokenSHA256 = "", 0, ""
	n.FormerToken, n.Obeys = "", false
	n.MachineID, n.MachineUUID, n.GuestAddress, n.OSVersion = "", "", "", ""
	n.MAC, n.Trace = "", ""
}

func (d *decision) clearTrouble(n *Node) {
	n.Reason, n.Message, n.Hint = "", "", ""
	n.Skipped, n.Cancelled = false, false
	d.clearDeadLetter(n)
}
