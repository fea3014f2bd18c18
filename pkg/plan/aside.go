package plan

import (
	"fmt"
	"maps"
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

// releaseAddress gives an address back that was set aside.
func (d *decision) releaseAddress(c *ReleaseAddress) *Receipt {
	held := d.w.claim(thing{ClaimAddress, addressThing(c.Network, c.Addr)})
	switch {
	case d.w.Network(c.Network) == nil:
		return refuse(RefusedNotFound, fmt.Sprintf("there is no Network %s; yardctl get networks lists them", c.Network))
	case held == nil:
		return refuse(RefusedNotFound, fmt.Sprintf("%s of Network %s is not set aside; yardctl get addresses %s lists those that are", c.Addr, c.Network, c.Network))
	case held.Fleet != Aside:
		return refuse(RefusedInUse, fmt.Sprintf("%s of Network %s is held by node %s-%s; it is free once that is gone", c.Addr, c.Network, held.Fleet, held.Node))
	}
	d.release(ClaimAddress, held.Thing)
	return accept(0, "%s of Network %s is free again", c.Addr, c.Network)
}

// AddressState is what an address of a Network's range is.
type AddressState string

// The states of addresses.
const (
	AddressFree     AddressState = "free"
	AddressHeld     AddressState = "held"
	AddressAside    AddressState = "aside"
	AddressExcluded AddressState = "excluded" // by spec.exclude, or the gateway's
)

// AddressRun is addresses in a row that are the same: one that is held or set
// aside, or any number of others.
type AddressRun struct {
	First, Last string
	Count       int
	State       AddressState
	// Claim is what is known of one that is held or set aside.
	Claim *Claim
	// Outside means that the range has changed since it was given.
	Outside bool
}

// Addresses lists a Network's range, lowest first, and what is held outside
// of it.
func (w *World) Addresses(name string) []AddressRun {
	n := w.networks[name]
	if n == nil {
		return nil
	}
	var out []AddressRun
	for i := range n.size {
		a := n.base + uint32(i)
		c, state := n.held.get(a), AddressExcluded
		switch {
		case c != nil && c.Fleet == Aside:
			state = AddressAside
		case c != nil:
			state = AddressHeld
		case n.free.has(i):
			state = AddressFree
		}
		if last := len(out) - 1; c == nil && last >= 0 && out[last].State == state {
			out[last].Last, out[last].Count = formatAddress(a), out[last].Count+1
			continue
		}
		out = append(out, AddressRun{First: formatAddress(a), Last: formatAddress(a), Count: 1, State: state, Claim: c})
	}
	return append(out, n.outside()...)
}

// outside lists what is held beyond the range.
func (n *network) outside() []AddressRun {
	beyond := map[uint32]*Claim{}
	for a, c := range n.held.all {
		if a < n.base || a-n.base >= uint32(n.size) { //nolint:gosec // the size of a range
			beyond[a] = c
		}
	}
	var out []AddressRun
	for _, a := range slices.Sorted(maps.Keys(beyond)) {
		state := AddressHeld
		if beyond[a].Fleet == Aside {
			state = AddressAside
		}
		out = append(out, AddressRun{First: formatAddress(a), Last: formatAddress(a), Count: 1, State: state, Claim: beyond[a], Outside: true})
	}
	return out
}
