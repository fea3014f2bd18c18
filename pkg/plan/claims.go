package plan

import (
	"fmt"
	"slices"
	"time"

	"yardmaster.dev/pkg/fault"
)

// admit lets a pending node begin: it takes the addresses that it lacks and
// asks for its config. Without a free address the node waits; addresses that
// are free but not claimed yet are asked for, and the decision is made anew
// once they are held.
func (d *decision) admit(n *Node) *Node {
	if n.State != Pending {
		return n
	}
	missing := d.w.missing(n)
	got := make([]Address, 0, len(missing))
	for _, name := range missing {
		addr, ok := d.findAddress(n, name)
		if !ok {
			return d.starve(n, name)
		}
		got = append(got, Address{Network: name, Addr: addr})
	}
	for _, a := range got {
		d.ask(n, a)
	}
	for _, a := range n.Addresses {
		if !slices.Contains(staticRefs(d.w.poolOf(n)), a.Network) {
			d.release(ClaimAddress, addressThing(a.Network, a.Addr))
		}
	}
	return d.move(n, FactAdmitted, func(n *Node) {
		n.Addresses, n.Begun = d.w.arrange(n, got), d.now
		n.Reason, n.Message, n.Hint = "", "", ""
		d.begin(n)
	})
}

// arrange returns the node's addresses in the order of its pool's networks;
// those of networks that the pool has left are not among them.
func (w *World) arrange(n *Node, got []Address) []Address {
	var out []Address
	for _, name := range staticRefs(w.poolOf(n)) {
		for _, a := range append(got, n.Addresses...) {
			if a.Network == name {
				out = append(out, a)
				break
			}
		}
	}
	return out
}

// findAddress returns the address that the node has claimed already, or the
// lowest free one.
func (d *decision) findAddress(n *Node, networkName string) (string, bool) {
	for _, c := range d.w.loose[holder{n.Fleet, n.Key(), networkName}] {
		if d.fresh(n, c) {
			return c.Thing[len(networkName)+1:], true
		}
	}
	if d.w.Network(networkName) == nil {
		return "", false
	}
	a, ok := d.w.networks[networkName].lowest(d.taken[networkName])
	return formatAddress(a), ok
}

// fresh tells a claim that was just made for this very decision from one that
// an earlier life of the node left behind and that is about to be freed.
func (d *decision) fresh(n *Node, c *Claim) bool {
	return c.FleetUID == n.FleetUID && c.Incarnation == n.Incarnation &&
		d.now.Sub(c.Since) < d.w.Policy.ClaimGrace/2
}

// ask asks for an address unless the node holds its claim already.
func (d *decision) ask(n *Node, a Address) {
	name := addressThing(a.Network, a.Addr)
	if d.w.claim(thing{ClaimAddress, name}) != nil {
		return
	}
	v, _ := address(a.Addr)
	if d.taken[a.Network] == nil {
		d.taken[a.Network] = map[uint32]bool{}
	}
	d.taken[a.Network][v] = true
	d.claims = append(d.claims, &Claim{
		Kind: ClaimAddress, Thing: name, Fleet: n.Fleet, FleetUID: n.FleetUID, Node: n.Key(),
		Shard: d.w.homeShard(), Since: d.now, Incarnation: n.Incarnation,
	})
}

func (w *World) homeShard() int { return max(w.shard, 0) }

// starve lets a node wait for an address. What wakes it is derived from the
// records (see wakeable), so it has no due time of its own.
func (d *decision) starve(n *Node, networkName string) *Node {
	if n.DueFor == DueAddress && n.Reason == fault.NoAddress {
		return n // it sleeps already
	}
	return d.move(n, FactBusy, func(n *Node) {
		n.Due, n.DueFor, n.Deadline = time.Time{}, DueAddress, time.Time{}
		n.Reason = fault.NoAddress
		n.Message = fmt.Sprintf("Network %s has no free address", networkName) + d.w.asideWords(networkName)
		n.Hint = fmt.Sprintf("widen spec.range of Network %s, or free addresses; the node goes on by itself", networkName)
	})
}

// nameClaims are the claims on node names and documents that a fleet needs
// and does not hold yet. They go by the fleet's name: a fleet made again under
// it goes on with what its predecessor held. One whose fleet is gone may be
// taken over; those that another fleet holds were refused before.
func (d *decision) nameClaims(r *Fleet, wanted []thing) []*Claim {
	var out []*Claim
	for _, t := range wanted {
		if c := d.w.claim(t); c != nil && c.Fleet == r.Name {
			continue
		}
		out = append(out, &Claim{
			Kind: t.kind, Thing: t.thing, Fleet: r.Name, FleetUID: r.UID, Shard: d.w.homeShard(), Since: d.now,
		})
	}
	return out
}

// left reports whether a claim's fleet is known to be gone. Claims on names
// and documents are freed by the audit alone, never by a decision: a release
// still under way could hit the claim of a fleet that came after.
func (w *World) left(c *Claim) bool {
	f := w.fleets[c.Fleet]
	return f != nil && f.record != nil && f.record.Deleted
}

// Audit returns the claims whose owner does not exist (any more) and that are
// old enough not to be about to be used, in the form in which they are to be
// written: free. Only claims made from the World's own shard are judged.
// Nothing may be decided between the audit and its write.
func Audit(w *World, now time.Time) []*Claim {
	var out []*Claim
	for _, c := range w.Claims() {
		mine := w.shard == EveryShard || c.Shard == w.shard
		if mine && c.Fleet == Aside && now.Sub(c.Since) < w.Policy.Aside {
			continue
		}
		if !mine || now.Sub(c.Since) < w.Policy.ClaimGrace || w.owned(c) {
			continue
		}
		out = append(out, &Claim{Kind: c.Kind, Thing: c.Thing, FleetUID: c.FleetUID, Node: c.Node, Shard: c.Shard, Since: now})
	}
	return out
}

// owned reports whether a claim's owner exists and knows of it.
func (w *World) owned(c *Claim) bool {
	f := w.fleets[c.Fleet]
	if f == nil || f.record == nil {
		return false
	}
	if c.Kind == ClaimAddress {
		n := w.Node(c.Fleet, c.Node)
		if n == nil || n.State == Deleted || n.FleetUID != c.FleetUID {
			return false
		}
		for _, a := range n.Addresses {
			if addressThing(a.Network, a.Addr) == c.Thing {
				return true
			}
		}
		return false
	}
	if f.record.Deleted {
		return false
	}
	return slices.Contains(f.things(), thing{c.Kind, c.Thing})
}
