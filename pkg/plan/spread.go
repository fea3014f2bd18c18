package plan

import (
	"slices"

	"yardmaster.dev/pkg/fleet"
)

// home is one definition's share of a failure domain.
type home struct{ hash, domain string }

// settleIn chooses the failure domain of a node's next machine, and with it
// the Site. A node keeps its place if that leaves its pool spread, one of a
// stable pool whatever comes.
func (d *decision) settleIn(f *fleetState, rev *revision, n *Node) {
	spec, _ := rev.spec.Pool(n.Pool)
	if spec == nil {
		return
	}
	domains := spec.Domains()
	stays := spec.Stable && slices.Contains(domains, n.Domain)
	if p := f.pools[n.Pool]; p != nil && !stays {
		n.Domain = p.roomiest(domains, n.PoolHash, p.node(n.Ordinal), nil)
	} else if !stays {
		n.Domain = first(domains)
	}
	n.Site = site(spec.In(n.Domain))
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// roomiest returns the failure domain with the fewest nodes: of this very
// definition first, so that a rollout ends as evenly as it would have begun,
// then of all. Of equal ones, the one that self is in already, else the first
// of the list. Foreseen are nodes that a plan has placed already.
func (p *pool) roomiest(domains []string, hash string, self *Node, foreseen map[string]int) string {
	if len(domains) == 0 {
		return ""
	}
	all := map[string]int{}
	for h, count := range p.homes {
		all[h.domain] += count
	}
	counts := func(domain string) (current, total, other int) {
		current, total, other = p.homes[home{hash, domain}]+foreseen[domain], all[domain]+foreseen[domain], 1
		if self.isWanted() && self.Domain == domain {
			total, other = total-1, 0
			if self.PoolHash == hash {
				current--
			}
		}
		return current, total, other
	}
	return slices.MinFunc(domains, func(a, b string) int {
		ac, at, ao := counts(a)
		bc, bt, bo := counts(b)
		if ac != bc {
			return ac - bc
		}
		if ao != bo && self.isWanted() {
			return ao - bo
		}
		return at - bt
	})
}

// isWanted reports whether a record, which may be nil, counts among its
// pool's wanted nodes.
func (n *Node) isWanted() bool { return n != nil && n.State != Deleted && n.Goal != Absent }

// settle counts a wanted node in or out of its failure domain.
func (p *pool) settle(n *Node, by int) {
	if n.Domain == "" {
		return
	}
	if p.homes == nil {
		p.homes = map[home]int{}
	}
	h := home{n.PoolHash, n.Domain}
	if p.homes[h] += by; p.homes[h] == 0 {
		delete(p.homes, h)
	}
}

// at is where a change makes its machine.
func (c *Change) at(spec *fleet.Pool, domain string) {
	c.Domain, c.Site = domain, site(spec.In(domain))
}
