package plan

import (
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// phoneHome takes in a node's own word that it booted. There is no receipt:
// the token belongs to one config of one incarnation, and saying it twice
// changes nothing. It may come before the result of the job that made the
// machine; then it is kept until that result is there.
func (d *decision) phoneHome(c *PhoneHome) {
	n := d.w.Node(d.in.Fleet, c.Node)
	if n == nil || n.TokenSHA256 == "" || n.TokenSHA256 != c.TokenSHA256 || n.Goal != Present {
		return
	}
	if n.Reported && n.State != Failed || n.State == Failed && n.unheard() {
		return
	}
	next := *n
	next.GuestAddress, next.OSVersion, next.Obeys = c.Address, c.OSVersion, c.Obeys
	d.by = n.Name()
	if n.FormerToken != "" {
		d.reran(&next)
	} else {
		d.arrived(&next, fleet.ReadyByPhoneHome)
	}
	d.by = "planner"
	d.rollout(n.Fleet)
}

// unheard reports whether a failed node's call counts for nothing: nothing
// that we made can have called, or it did long ago, or a person said stop.
func (n *Node) unheard() bool {
	return n.MachineID == "" || n.hurt() && n.FormerToken == "" || n.Reason == fault.CalledBack
}
