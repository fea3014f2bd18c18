package plan

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"yardmaster.dev/pkg/fleet"
)

// network is what the World knows of one Network: its record, which of its
// addresses are free to give, and which nodes wait for one.
type network struct {
	name   string
	record *Network
	base   uint32
	size   int
	free   bitset // offsets from base
	held   holdings
}

func (w *World) network(name string) *network {
	n := w.networks[name]
	if n == nil {
		n = &network{name: name}
		w.networks[name] = n
	}
	return n
}

// tidyNetwork drops what an undo has emptied.
func (w *World) tidyNetwork(n *network) {
	if n.record == nil && n.held.count == 0 {
		delete(w.networks, n.name)
	}
}

func (w *World) putNetwork(r *Network) (undo func()) {
	n := w.network(r.Document.Metadata.Name)
	old := n.record
	n.setRecord(r)
	return func() {
		n.setRecord(old)
		w.tidyNetwork(n)
	}
}

func (n *network) setRecord(r *Network) {
	n.record, n.base, n.size, n.free = r, 0, 0, bitset{}
	if r == nil || r.Deleted {
		return
	}
	first, last, ok := addressRange(r.Document.Spec.Range)
	if !ok {
		return // nothing to give; validation says so to the author
	}
	n.base, n.size = first, int(last-first)+1
	never := map[uint32]bool{}
	for _, s := range append([]string{r.Document.Spec.Gateway}, r.Document.Spec.Exclude...) {
		if a, ok := address(s); ok {
			never[a] = true
		}
	}
	for i := range n.size {
		if a := first + uint32(i); n.held.get(a) == nil && !never[a] {
			n.free.add(i)
		}
	}
}

// lowest returns the lowest free address that taken does not hold.
func (n *network) lowest(taken map[uint32]bool) (uint32, bool) {
	for i := range n.free.all {
		if a := n.base + uint32(i); !taken[a] {
			return a, true
		}
	}
	return 0, false
}

func (n *network) hold(a uint32, c *Claim) {
	i := int(a) - int(n.base)
	n.held.set(a, c)
	if i < 0 || i >= n.size {
		return
	}
	if c != nil {
		n.free.remove(i)
	} else if !n.never(a) {
		n.free.add(i)
	}
}

func (n *network) never(a uint32) bool {
	spec := n.record.Document.Spec
	if g, ok := address(spec.Gateway); ok && g == a {
		return true
	}
	for _, s := range spec.Exclude {
		if e, ok := address(s); ok && e == a {
			return true
		}
	}
	return false
}

// addressThing is the claim's thing for an address.
func addressThing(networkName, addr string) string { return networkName + "/" + addr }

// address reads an IPv4 address.
func address(s string) (uint32, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return 0, false
	}
	b := a.As4()
	return binary.BigEndian.Uint32(b[:]), true
}

func formatAddress(a uint32) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], a)
	return netip.AddrFrom4(b).String()
}

func addressRange(s string) (first, last uint32, ok bool) {
	from, to, _ := strings.Cut(s, "-")
	first, ok = address(strings.TrimSpace(from))
	last, ok2 := address(strings.TrimSpace(to))
	return first, last, ok && ok2 && first <= last
}

// jobNetwork is what the guest needs to use an address of the Network.
func jobNetwork(doc *fleet.Network, addr string) JobNetwork {
	j := JobNetwork{
		Network: doc.Metadata.Name, Addr: addr, Gateway: doc.Spec.Gateway, DNS: doc.Spec.DNS,
		Portgroup: doc.Spec.Portgroup, Routes: doc.Spec.Routes,
	}
	if p, err := netip.ParsePrefix(doc.Spec.Subnet); err == nil {
		j.Prefix = p.Bits()
	}
	return j
}

// putClaim takes a claim in; a free one (empty Fleet) takes the held one out.
func (w *World) putClaim(c *Claim) (undo func()) {
	k := thing{c.Kind, c.Thing}
	old := w.claim(k)
	w.shareClaim(c)
	w.setClaim(k, c)
	return func() { w.setClaim(k, old) }
}

// shareClaim is share for claims.
func (w *World) shareClaim(c *Claim) {
	for _, kind := range []string{ClaimAddress, ClaimName, ClaimUse} {
		if c.Kind == kind {
			c.Kind = kind
		}
	}
	f := w.fleets[c.Fleet]
	if f == nil {
		return
	}
	c.Fleet = f.name
	if f.record != nil && f.record.UID == c.FleetUID {
		c.FleetUID = f.record.UID
	}
}

// claim returns the claim on a thing. Those on addresses stand with their
// networks, by number: there is one for every node.
func (w *World) claim(k thing) *Claim {
	if k.kind != ClaimAddress {
		return w.claims[k]
	}
	name, addr, _ := strings.Cut(k.thing, "/")
	a, ok := address(addr)
	if n := w.networks[name]; ok && n != nil {
		return n.held.get(a)
	}
	return nil
}

func (w *World) setClaim(k thing, c *Claim) {
	if c != nil && c.Fleet == "" {
		c = nil
	}
	if k.kind == ClaimAddress {
		w.setAddressClaim(k, c)
		return
	}
	if c == nil {
		delete(w.claims, k)
	} else {
		w.claims[k] = c
	}
	if k.kind == ClaimUse {
		w.setUse(k.thing, c)
	}
}

func (w *World) setAddressClaim(k thing, c *Claim) {
	name, addr, _ := strings.Cut(k.thing, "/")
	a, ok := address(addr)
	if !ok {
		return // nobody can have claimed this
	}
	n := w.network(name)
	if old := n.held.get(a); old != nil {
		w.dropLoose(holder{old.Fleet, old.Node, name}, old)
	}
	n.hold(a, c)
	w.tidyNetwork(n)
	if c != nil && c.Fleet != Aside {
		w.setLoose(name, addr, c)
	}
}

// setUse notes that a fleet refers to a document; c is nil when it no longer
// does. The thing is kind/name/fleet.
func (w *World) setUse(name string, c *Claim) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return
	}
	doc, user := name[:i], name[i+1:]
	if c != nil {
		if w.uses[doc] == nil {
			w.uses[doc] = map[string]bool{}
		}
		w.uses[doc][user] = true
		return
	}
	delete(w.uses[doc], user)
	if len(w.uses[doc]) == 0 {
		delete(w.uses, doc)
	}
}

// setLoose keeps a claim in mind until a node's record lists its address, so
// that a decision made anew finds what it claimed.
func (w *World) setLoose(networkName, addr string, c *Claim) {
	h := holder{c.Fleet, c.Node, networkName}
	w.dropLoose(h, c)
	n := w.Node(c.Fleet, c.Node)
	if n != nil && n.FleetUID == c.FleetUID && n.holds(networkName, addr) {
		return
	}
	loose := append(slices.Clone(w.loose[h]), c)
	slices.SortFunc(loose, func(a, b *Claim) int { return strings.Compare(a.Thing, b.Thing) })
	w.loose[h] = loose
}

func (w *World) dropLoose(h holder, c *Claim) {
	i := slices.IndexFunc(w.loose[h], func(o *Claim) bool { return o.Thing == c.Thing })
	if i < 0 {
		return
	}
	if w.loose[h] = slices.Delete(slices.Clone(w.loose[h]), i, i+1); len(w.loose[h]) == 0 {
		delete(w.loose, h)
	}
}

// refreshLoose looks again at the claims of a node whose record changed.
func (w *World) refreshLoose(n *Node) {
	if n == nil {
		return
	}
	for _, a := range n.Addresses {
		c := w.claim(thing{ClaimAddress, addressThing(a.Network, a.Addr)})
		if c != nil && c.Fleet == n.Fleet && c.Node == n.Key() {
			w.setLoose(a.Network, a.Addr, c)
		}
	}
}

// inUse counts the addresses that nodes hold.
func (n *network) inUse() int { return n.held.count - n.aside() }

// aside counts the addresses that others use.
func (n *network) aside() (count int) {
	for _, c := range n.held.all {
		if c.Fleet == Aside {
			count++
		}
	}
	return count
}

func (n *Node) holds(networkName, addr string) bool {
	for _, a := range n.Addresses {
		if a.Network == networkName && a.Addr == addr {
			return true
		}
	}
	return false
}
