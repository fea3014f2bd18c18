package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"yardmaster.dev/pkg/fleet"
)

// applySite takes a Site in.
func (d *decision) applySite(doc *fleet.Site) *Receipt {
	if refusal := d.flawed(doc); refusal != nil {
		return refusal
	}
	name := doc.Metadata.Name
	if old := d.w.Site(name); old != nil && equal(&old.Document, doc) {
		return accept(0, "Site %s is so already", name)
	}
	d.put("site/"+name, &Site{Document: *doc, At: d.now})
	return accept(0, "Site %s is set", name)
}

// applyNetwork takes a Network in. Addresses that are held stay valid: the
// subnet must go on containing them.
func (d *decision) applyNetwork(doc *fleet.Network) *Receipt {
	if refusal := d.flawed(doc); refusal != nil {
		return refusal
	}
	name := doc.Metadata.Name
	old := d.w.Network(name)
	if old != nil && equal(&old.Document, doc) {
		return accept(0, "Network %s is so already", name)
	}
	if refusal := d.w.outOfSubnet(doc); refusal != nil {
		return refusal
	}
	d.put("network/"+name, &Network{Document: *doc, At: d.now})
	return accept(0, "Network %s is set", name)
}

// outOfSubnet refuses a Network whose subnet no longer holds an address that
// a node has.
func (w *World) outOfSubnet(doc *fleet.Network) *Receipt {
	subnet, err := netip.ParsePrefix(doc.Spec.Subnet)
	if err != nil {
		return refuse(RefusedInvalid, fmt.Sprintf("spec.subnet: %q is not a prefix; write 10.0.0.0/24", doc.Spec.Subnet))
	}
	n := w.networks[doc.Metadata.Name]
	if n == nil {
		return nil
	}
	for a, c := range n.held.all {
		addr := formatAddress(a)
		if c.Fleet != Aside && !subnet.Contains(netip.MustParseAddr(addr)) {
			return refuse(RefusedInUse, fmt.Sprintf("spec.subnet: %s is held by %s-%s and not in %s",
				addr, c.Fleet, c.Node, subnet))
		}
	}
	return nil
}

// flawed refuses a document that is not valid. Whoever sent it should have
// seen to that; here its name becomes part of subjects and its ranges are
// counted through.
func (d *decision) flawed(doc fleet.Document) *Receipt {
	var words []string
	for _, p := range doc.Validate() {
		words = append(words, p.Path+": "+p.Message)
	}
	if len(words) == 0 {
		return nil
	}
	return refuse(RefusedInvalid, words...)
}

func equal(a, b fleet.Document) bool {
	x, errX := fleet.Canonical(a)
	y, errY := fleet.Canonical(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// deleteDocument removes a Site or Network that no fleet refers to and none
// of whose addresses is held.
func (d *decision) deleteDocument(c *DeleteDocument) *Receipt {
	if c.Kind == fleet.KindSite {
		return d.deleteSite(c.Name)
	}
	if c.Kind == fleet.KindNetwork {
		return d.deleteNetwork(c.Name)
	}
	return refuse(RefusedInvalid, fmt.Sprintf("a %s is not deleted this way", c.Kind))
}

func (d *decision) deleteSite(name string) *Receipt {
	s := d.w.Site(name)
	if s == nil {
		return refuse(RefusedNotFound, fmt.Sprintf("there is no Site %s; yardctl get sites lists them", name))
	}
	if refusal := d.w.inUse("Site", useThing("site", name)); refusal != nil {
		return refusal
	}
	d.put("site/"+name, &Site{Document: s.Document, At: d.now, Deleted: true})
	d.forgetImages(name)
	return accept(0, "Site %s is deleted", name)
}

func (d *decision) deleteNetwork(name string) *Receipt {
	n := d.w.Network(name)
	if n == nil {
		return refuse(RefusedNotFound, fmt.Sprintf("there is no Network %s; yardctl get networks lists them", name))
	}
	if refusal := d.w.inUse("Network", useThing("network", name)); refusal != nil {
		return refusal
	}
	if held := d.w.networks[name].inUse(); held > 0 {
		return refuse(RefusedInUse, fmt.Sprintf("Network %s: %d addresses are still held; their nodes must go first", name, held))
	}
	d.put("network/"+name, &Network{Document: n.Document, At: d.now, Deleted: true})
	return accept(0, "Network %s is deleted", name)
}

func (w *World) inUse(kind, doc string) *Receipt {
	users := slices.Sorted(maps.Keys(w.uses[doc]))
	users = slices.DeleteFunc(users, func(user string) bool {
		f := w.fleets[user] // a fleet of another shard is known by its claim alone
		return f != nil && f.record != nil && !slices.Contains(f.things(), thing{ClaimUse, doc + "/" + user})
	})
	if len(users) == 0 {
		return nil
	}
	name := doc[strings.IndexByte(doc, '/')+1:]
	return refuse(RefusedInUse, fmt.Sprintf("%s %s is used by fleet %s; delete it or take the reference out first",
		kind, name, strings.Join(users, ", ")))
}

// useThing is a document as it stands in the claims on it.
func useThing(kind, name string) string { return kind + "/" + name }

// things are the claims that a fleet holds for its newest revision and for
// pools whose nodes are not all gone.
func (f *fleetState) things() []thing {
	rev := f.spec()
	if rev == nil || f.record.Deleted {
		return nil
	}
	out := specThings(rev.spec)
	for _, name := range f.poolNames() {
		if t := (thing{ClaimName, f.name + "-" + name}); !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	for _, p := range f.pools {
		for _, g := range p.groups {
			if g.hash != f.hash(p.name) && g.size() > 0 {
				out = append(out, f.usesOf(p)...)
				break
			}
		}
	}
	return out
}

// usesOf are the documents that nodes of older revisions still refer to.
func (f *fleetState) usesOf(p *pool) []thing {
	var out []thing
	seen := map[int]bool{}
	for _, g := range p.groups {
		for c := range g.sets {
			if i, ok := g.sets[c].first(); ok && !seen[p.nodes[i].Revision] {
				seen[p.nodes[i].Revision] = true
				if rev := f.revs[p.nodes[i].Revision]; rev != nil {
					out = append(out, specThings(rev.spec)...)
				}
			}
		}
	}
	return out
}

// specThings are the node names that a spec takes and the documents that it
// refers to.
func specThings(doc *fleet.Fleet) []thing {
	var out []thing
	add := func(t thing) {
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	name := doc.Metadata.Name
	for i := range doc.Spec.Pools {
		p := &doc.Spec.Pools[i]
		add(thing{ClaimName, name + "-" + p.Name})
		for _, s := range p.Sites() {
			add(thing{ClaimUse, useThing("site", s) + "/" + name})
		}
		for _, r := range p.Networks {
			if r.Ref != "" {
				add(thing{ClaimUse, useThing("network", r.Ref) + "/" + name})
			}
		}
	}
	return out
}

// place says which shard a new fleet lives in: the one with the fewest
// fleets, so far as shard 0 knows.
func (d *decision) place(c *PlaceFleet) *Receipt {
	if !fleet.ValidName(c.Name) {
		return refuse(RefusedInvalid, fmt.Sprintf("%q cannot be the name of a fleet", c.Name))
	}
	if p := d.w.Place(c.Name); p != nil {
		return accept(0, "fleet %s lives in shard %d", c.Name, p.Shard)
	}
	counts := make([]int, max(1, d.w.yard.Shards))
	for _, p := range d.w.places {
		if p.Shard >= 0 && p.Shard < len(counts) {
			counts[p.Shard]++
		}
	}
	shard := slices.Index(counts, slices.Min(counts))
	d.put("place/"+c.Name, &Place{Fleet: c.Name, Shard: shard})
	return accept(0, "fleet %s lives in shard %d", c.Name, shard)
}
