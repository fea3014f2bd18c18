package plan

import (
	"fmt"
	"slices"
)

// takes reports whether one of the addresses is the node's.
func (n *Node) takes(taken []string) bool {
	return slices.ContainsFunc(n.Addresses, func(a Address) bool { return slices.Contains(taken, a.Addr) })
}

// addressTaken goes on after a worker has seen that others use an address of
// the node: it is set aside, and the node's next life begins with another
// one. The worker looks before it makes a machine, but an earlier try may
// have made one: so this life ends like any other, with a look.
func (d *decision) addressTaken(n *Node, f *Failure) *Node {
	var kept []Address
	for _, a := range n.Addresses {
		if slices.Contains(f.Taken, a.Addr) {
			d.setAside(n, a, f)
		} else {
			kept = append(kept, a)
		}
	}
	n = d.move(n, FactAddressTaken, func(n *Node) {
		n.Job = nil // this was its result
		n.Goal, n.Addresses = Recycle, kept
		d.leave(n)
		d.blame(n, f)
	})
	return d.drained(n)
}

// setAside turns the node's claim on an address into one of nobody. If that
// is lost, the claim has no owner and is freed by the audit; the address is
// given again and found in use again.
func (d *decision) setAside(n *Node, a Address, f *Failure) {
	d.out.Releases = append(d.out.Releases, &Claim{
		Kind: ClaimAddress, Thing: addressThing(a.Network, a.Addr), Fleet: Aside, FleetUID: n.FleetUID, Node: n.Key(),
		Shard: d.w.homeShard(), Since: d.now, Why: f.Message,
	})
}

// Over is the claim as it is written when its holder lets go of it: free, or
// set aside.
func (c *Claim) Over() *Claim {
	if c.Fleet != Aside {
		return &Claim{Kind: c.Kind, Thing: c.Thing}
	}
	return c
}

// asideWords says how many of a Network's addresses are set aside.
func (w *World) asideWords(name string) string {
	n := w.networks[name]
	if n == nil || n.aside() == 0 {
		return ""
	}
	return fmt.Sprintf("; %d of them set aside because others use them (yardctl get addresses %s)", n.aside(), name)
}
