package plan

import (
	"time"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// result takes a worker's answer in. Only the answer to the open job counts:
// any other comes late or twice, or is not its worker's to give.
func (d *decision) result(r *Result) error {
	n := d.w.Node(d.in.Fleet, r.Node)
	if n == nil || n.Job == nil || n.Incarnation != r.Incarnation || !n.Job.answeredBy(r) {
		return nil
	}
	if r.By != "" {
		d.by = r.By
	}
	d.took = max(0, r.Finished.Sub(r.Started))
	d.answered(n, r)
	d.by, d.took = "planner", 0
	d.rollout(n.Fleet)
	return nil
}

func (j *OpenJob) answeredBy(r *Result) bool {
	return j.Number == r.Job && j.Attempt == r.Attempt && (r.Made == 0 || r.Made == j.Made) &&
		j.Action == r.Action && j.Worker == r.Worker && !other(r.Site, j.Site)
}

// other reports whether an input comes from another site than the one that
// it is about.
func other(from, site string) bool { return from != "" && from != site }

func (d *decision) answered(n *Node, r *Result) {
	if d.leaving(n) {
		d.called(n, r)
		return
	}
	if n.Cancelled {
		next := *n
		if r.MachineID != "" {
			next.MachineID = r.MachineID
		}
		d.cancelled(&next)
		return
	}
	if r.Failure != nil {
		d.failed(n, r.Failure, FactTryFailed)
		return
	}
	done[r.Action](d, n, r)
}

// called takes in the answer to a job that was called back because the
// machine goes.
func (d *decision) called(n *Node, r *Result) {
	if r.MachineID != "" {
		next := *n
		next.MachineID = r.MachineID
		n = &next
	}
	d.unblocked(n, FactJobWithdrawn)
}

// done says what the success of each action leads to.
var done = map[Action]func(*decision, *Node, *Result){
	ActionRender: (*decision).rendered,
	ActionCreate: (*decision).placed,
	ActionBlank:  (*decision).blanked,
	ActionForget: (*decision).forgotten,
	ActionResize: (*decision).resized,
	ActionOffer:  (*decision).offered,
	ActionDelete: (*decision).removed,
}

func (d *decision) rendered(n *Node, r *Result) {
	d.move(n, FactRendered, func(n *Node) {
		n.ConfigDigest, n.ConfigSize, n.TokenSHA256 = r.ConfigDigest, r.ConfigSize, r.TokenSHA256
		n.Reason, n.Message, n.Hint = "", "", ""
		if n.State == Rerunning {
			n.Chore = ActionOffer
		}
		d.begin(n)
	})
}

func (d *decision) placed(n *Node, r *Result) {
	n = d.move(n, FactPlaced, func(n *Node) {
		n.MachineID, n.Hot = r.MachineID, r.Hot
		n.Reason, n.Message, n.Hint = "", "", ""
		if r.Adopted {
			n.Message = "the machine was there already"
		}
		n.Job = nil
		n.Deadline = d.now.Add(d.readyTimeout(n))
		n.Due, n.DueFor = n.Deadline, DueDeadline
	})
	if n.Reported {
		d.arrived(n, fleet.ReadyByPhoneHome)
	}
}

func (d *decision) readyTimeout(n *Node) time.Duration {
	if p := d.w.poolOf(n); p != nil {
		return p.Ready.Timeout.Duration
	}
	return 0
}

func (d *decision) blanked(n *Node, _ *Result) {
	d.move(n, FactBlanked, func(n *Node) {
		n.Chore, n.Attempt = ActionForget, 1
		d.clearTrouble(n)
		d.begin(n)
	})
}

func (d *decision) forgotten(n *Node, _ *Result) {
	d.move(n, FactForgotten, func(n *Node) {
		n.Chore, n.Attempt, n.Trace = "", 1, "" // the story of its making ends here
		d.clearTrouble(n)
		d.begin(n)
	})
}

func (d *decision) removed(n *Node, _ *Result) { d.gone(n) }

// arrived goes on after a sign of life. Both ways of being ready that exist
// are shown by such a sign: the pool says by which.
func (d *decision) arrived(n *Node, by string) {
	n = d.move(n, FactReported, func(n *Node) {
		n.Reported = true
		d.clearTrouble(n)
		if n.Due.IsZero() && n.DueFor == "" { // it had been given up
			n.Deadline = d.now.Add(d.readyTimeout(n))
			n.Due, n.DueFor = n.Deadline, DueDeadline
		}
	})
	p := d.w.poolOf(n)
	if n.State != Joining || p == nil || p.Ready.By != by {
		return
	}
	d.move(n, FactCheckPassed, func(n *Node) {
		n.ReadyAt, n.Boots, n.Attempt = d.now, 0, 1
		n.Chore = firstChore(p)
		d.begin(n)
	})
}

// firstChore is what is done on a node once it is ready: its config is taken
// away. User data is read at every boot and stays.
func firstChore(p *fleet.Pool) Action {
	if p.VSphere != nil && p.VSphere.UserData != "" {
		return ActionForget
	}
	return ActionBlank
}

// observe takes in what an executor sees.
func (d *decision) observe(o *Observation) error {
	n := d.w.Node(d.in.Fleet, o.Node)
	if n == nil || n.Incarnation != o.Incarnation || other(o.Site, n.Site) {
		return nil
	}
	if o.Lost {
		d.lost(n, o)
	} else if o.Address != "" {
		d.sighted(n, o)
	}
	d.rollout(n.Fleet)
	return nil
}

// lost makes a vanished machine again. It is down already, so no budget is
// asked; the removal comes first all the same, because "not there" may mean
// "not seen".
func (d *decision) lost(n *Node, o *Observation) {
	if _, ok := Move(n.State, FactMachineLost); !ok || n.Goal != Present || n.MachineID == "" {
		return
	}
	if n.State == Preserved { // there is nothing left to look at
		d.remove(n, Absent, FactMachineLost)
		return
	}
	f := &Failure{Kind: fault.Transient, Reason: fault.MachineLost, Message: "the machine is gone"}
	if o.Detail != "" {
		f.Message += ": " + o.Detail
	}
	if n.ReadyAt.IsZero() && n.Boots+1 >= d.tries(n).Attempts {
		d.giveUp(n.booted(), f)
		return
	}
	d.rebuild(n, FactMachineLost, f)
}

// sighted takes in the guest's address as the hypervisor reports it; it makes
// a node ready only if its pool says so and the address is the one it was
// given.
func (d *decision) sighted(n *Node, o *Observation) {
	p := d.w.poolOf(n)
	if p == nil || !n.awaits(p, o) {
		return
	}
	if len(n.Addresses) > 0 && !n.has(o.Address) {
		d.wrongAddress(n, o.Address)
		return
	}
	next := *n
	next.GuestAddress = o.Address
	if n.State == Restarting {
		d.back(&next)
		return
	}
	d.arrived(&next, fleet.ReadyByGuestAddress)
}

func (n *Node) has(addr string) bool {
	for _, a := range n.Addresses {
		if a.Addr == addr {
			return true
		}
	}
	return false
}

func (d *decision) wrongAddress(n *Node, addr string) {
	if n.GuestAddress == addr {
		return // said already
	}
	d.move(n, FactBusy, func(n *Node) {
		n.GuestAddress = addr
		n.Reason = fault.WrongAddress
		n.Message = "the guest reports " + addr + ", it was given " + n.Addresses[0].Addr
		n.Hint = "look at the network config on the VM's console; is the Network's portgroup the right one?"
	})
}
