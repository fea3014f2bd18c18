package plan

import (
	"maps"
	"slices"
	"time"

	"yardmaster.dev/pkg/fleet"
)

// AddressNeed is how many addresses a plan takes of a Network.
type AddressNeed struct {
	Network     string
	Free, Needs int
}

// DiskNeed is how much a plan takes of a datastore; an empty name is the
// site's only one. Disks whose size the spec leaves to the template are not
// in Bytes; they are counted.
type DiskNeed struct {
	Site, Datastore string
	Bytes           int64
	Unsized         int
}

// Forecast is how long a plan takes, by what the newest provisions took.
type Forecast struct {
	// Total is zero if Samples is.
	Total  time.Duration
	Median time.Duration
	// Samples is how many provisions Median is of.
	Samples int
}

// forecastSamples is how many provisions a forecast looks at.
const forecastSamples = 20

// forecast says what the plan needs and how long it takes.
func (d *differ) forecast(p *Plan) {
	if len(p.Changes) == 0 {
		return
	}
	p.Addresses, p.Disks = d.addressNeeds(p), d.diskNeeds(p)
	p.Forecast = d.time(p)
}

func (d *differ) addressNeeds(p *Plan) []AddressNeed {
	need := map[string]int{}
	for i := range p.Changes {
		if c := &p.Changes[i]; c.Action == ChangeCreate {
			pool, _ := d.next.Pool(c.Pool)
			for _, ref := range staticRefs(pool) {
				need[ref]++
			}
		}
	}
	var out []AddressNeed
	for _, name := range slices.Sorted(maps.Keys(need)) {
		out = append(out, AddressNeed{Network: name, Free: d.w.FreeAddresses(name), Needs: need[name]})
	}
	return out
}

// diskNeeds adds up the disks of nodes that are made, of those that exist
// beside the ones they replace, and what disks grow by. A linked clone takes
// what is written to it, which nobody knows yet.
func (d *differ) diskNeeds(p *Plan) []DiskNeed {
	var out []DiskNeed
	for i := range d.next.Spec.Pools {
		pool := &d.next.Spec.Pools[i]
		if pool.VSphere == nil || pool.VSphere.Clone == fleet.CloneLinked {
			continue
		}
		domains := pool.Domains()
		if len(domains) == 0 {
			domains = []string{""}
		}
		for _, domain := range domains {
			if n := d.diskNeed(p, pool, domain); n.Bytes > 0 || n.Unsized > 0 {
				out = addNeed(out, n)
			}
		}
	}
	return out
}

// diskNeed is what a pool needs in one of its failure domains. Of which
// datastore of a cluster vCenter will choose nothing is known.
func (d *differ) diskNeed(p *Plan, pool *fleet.Pool, domain string) DiskNeed {
	v := pool.In(domain).VSphere
	if v.DatastoreCluster != "" {
		return DiskNeed{}
	}
	made, grown := d.disks(p, pool, domain)
	n := DiskNeed{Site: v.Site, Datastore: v.Datastore, Bytes: grown}
	for _, disk := range v.Disks {
		if size, err := disk.Size.Bytes(); err == nil {
			n.Bytes += int64(made) * size
		}
	}
	if size := sizeOf(d.next, pool.Name).disk; size > 0 {
		n.Bytes += int64(made) * size
	} else {
		n.Unsized = made
	}
	return n
}

func addNeed(out []DiskNeed, n DiskNeed) []DiskNeed {
	at := slices.IndexFunc(out, func(o DiskNeed) bool { return o.Site == n.Site && o.Datastore == n.Datastore })
	if at < 0 {
		return append(out, n)
	}
	out[at].Bytes, out[at].Unsized = out[at].Bytes+n.Bytes, out[at].Unsized+n.Unsized
	return out
}

// disks counts the disks that a pool has more of than before at any moment in
// one of its failure domains, and the bytes that others grow by.
func (d *differ) disks(p *Plan, pool *fleet.Pool, domain string) (made int, grown int64) {
	replaced := 0
	for i := range p.Changes {
		c := &p.Changes[i]
		if c.Pool != pool.Name || domain != "" && c.Domain != domain {
			continue
		}
		switch c.Action {
		case ChangeCreate:
			made++
		case ChangeReplace:
			replaced++
		case ChangeResize:
			grown += d.growth(c)
		case ChangeRerun, ChangeDelete:
		}
	}
	_, surge := d.next.Budgets(pool)
	return made + min(surge, replaced), grown
}

func (d *differ) growth(c *Change) int64 {
	n := d.f.node(c.Key)
	if n == nil || d.f.revs[n.Revision] == nil {
		return 0
	}
	if was := d.f.revs[n.Revision].sizes[c.Pool].disk; was > 0 {
		return sizeOf(d.next, c.Pool).disk - was
	}
	return 0
}

// time adds up the pools' rounds: pools change side by side, so that the
// longest counts. Changes of running machines take next to nothing.
func (d *differ) time(p *Plan) Forecast {
	f := d.pace()
	if f.Samples == 0 {
		return f
	}
	rounds := 0
	for i := range d.next.Spec.Pools {
		rounds = max(rounds, d.rounds(p, &d.next.Spec.Pools[i]))
	}
	f.Total = time.Duration(rounds) * f.Median
	return f
}

// rounds is how many provisions of a pool follow one another.
func (d *differ) rounds(p *Plan, pool *fleet.Pool) int {
	counts := map[ChangeAction]int{}
	for i := range p.Changes {
		if c := &p.Changes[i]; c.Pool == pool.Name && !c.Hot {
			counts[c.Action]++
		}
	}
	unavailable, surge := d.next.Budgets(pool)
	limit := fleet.Limits{}.WithDefaults().Clones
	if s := d.w.Site(site(pool)); s != nil && s.Document.Spec.VSphere != nil {
		limit = s.Document.Spec.VSphere.Limits.WithDefaults().Clones
	}
	return upwards(counts[ChangeCreate], limit) + upwards(counts[ChangeReplace], min(limit, max(1, surge, unavailable))) +
		upwards(counts[ChangeResize]+counts[ChangeRerun], max(1, unavailable))
}

// upwards is a/b, rounded up.
func upwards(a, b int) int { return (a + b - 1) / b }

// pace is the median of the fleet's newest provisions, or of the newest at
// its sites if it has none.
func (d *differ) pace() Forecast {
	took := d.w.provisions(func(n *Node) bool { return n.Fleet == d.f.name })
	if len(took) == 0 {
		sites := map[string]bool{}
		for i := range d.next.Spec.Pools {
			sites[site(&d.next.Spec.Pools[i])] = true
		}
		took = d.w.provisions(func(n *Node) bool { return sites[n.Site] })
	}
	if len(took) == 0 {
		return Forecast{}
	}
	slices.Sort(took)
	return Forecast{Median: took[len(took)/2], Samples: len(took)}
}

// provisions are how long the newest of the wanted nodes took from the
// beginning until they were ready.
func (w *World) provisions(wanted func(*Node) bool) []time.Duration {
	newest := make([]*Node, 0, forecastSamples+1) // oldest first
	for _, name := range slices.Sorted(maps.Keys(w.fleets)) {
		for n := range w.Nodes(name) {
			if n.Begun.IsZero() || n.ReadyAt.IsZero() || !wanted(n) {
				continue
			}
			i, _ := slices.BinarySearchFunc(newest, n, func(a, b *Node) int { return a.ReadyAt.Compare(b.ReadyAt) })
			if newest = slices.Insert(newest, i, n); len(newest) > forecastSamples {
				newest = slices.Delete(newest, 0, 1)
			}
		}
	}
	var out []time.Duration
	for _, n := range newest {
		out = append(out, n.ReadyAt.Sub(n.Begun))
	}
	return out
}
