package plan

import "slices"

// victim returns the node that goes first when a pool has too many: failed
// ones, then those not ready, then outdated ones, then the highest ordinal.
func (p *pool) victim(hash string) (int, bool) {
	for _, c := range []class{classFailed, classWaiting, classRecycling, classReady} {
		if i, ok := p.highest(hash, c); ok {
			return i, true
		}
	}
	return 0, false
}

// surplus are the nodes that are too many, in the order in which next would
// remove them. Who goes changes how many surge nodes are still of use, so they
// are counted one after the other.
func (p *pool) surplus(c course) []int {
	var out []int
	wanted, outdated, current := p.wanted(), p.outdated(c.hash), p.current(c.hash)
	for _, i := range p.victims(c.hash, max(0, wanted-c.target)) {
		if wanted <= c.target+min(c.surge, outdated, current) {
			break
		}
		out = append(out, i)
		wanted--
		if n := p.nodes[i]; n.PoolHash == c.hash {
			current--
		} else if n.Goal == Present {
			outdated--
		}
	}
	return out
}

// victims are the first count nodes that victim would name, one after the
// other.
func (p *pool) victims(hash string, count int) []int {
	var out []int
	for _, c := range []class{classFailed, classWaiting, classRecycling, classReady} {
		if len(out) == count {
			break
		}
		var old, current []int
		for h, g := range p.groups {
			if h == hash {
				current = slices.Collect(g.sets[c].all)
			} else {
				old = slices.AppendSeq(old, g.sets[c].all)
			}
		}
		slices.Sort(old)
		slices.Reverse(old)
		slices.Reverse(current)
		all := append(old, current...)
		out = append(out, all[:min(len(all), count-len(out))]...)
	}
	return out
}

// highest returns the highest outdated ordinal of a class, or else the
// highest of those that are made from hash.
func (p *pool) highest(hash string, c class) (int, bool) {
	best, found := 0, false
	for h, g := range p.groups {
		if i, ok := g.sets[c].last(); ok && h != hash && (!found || i > best) {
			best, found = i, true
		}
	}
	if found {
		return best, true
	}
	if g := p.groups[hash]; g != nil {
		return g.sets[c].last()
	}
	return 0, false
}
