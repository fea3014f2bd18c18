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
	if n.Reported && n.State != Failed {
		return
	}
	if n.State == Failed && (n.MachineID == "" || n.hurt() || n.Reason == fault.CalledBack) {
		return // nothing that we made can have called, or it did long ago, or a person said stop
	}
	next := *n
	next.GuestAddress, next.OSVersion = c.Address, c.OSVersion
	d.by = n.Name()
	d.arrived(&next, fleet.ReadyByPhoneHome)
	d.by = "planner"
	d.rollout(n.Fleet)
}
