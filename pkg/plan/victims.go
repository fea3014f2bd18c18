package plan

import "slices"

// byWorth is the order in which nodes go.
var byWorth = [][]class{
	{classSkipped}, {classFailed}, {classHurt}, {classWaiting}, {classRecycling}, {classRestarting}, serving,
}

// victim returns the node that goes first when a pool has too many: skipped
// and failed ones, then those not ready, then outdated ones, then the highest ordinal.
func (p *pool) victim(hash string) (int, bool) {
	for _, c := range byWorth {
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
	wanted, outdated, current := p.wanted(), p.replaced(c), p.current(c.hash)
	for _, i := range p.victims(c.hash, max(0, wanted-c.target)) {
		if wanted <= c.target+min(c.surge, outdated, current) {
			break
		}
		out = append(out, i)
		wanted--
		if n := p.nodes[i]; n.PoolHash == c.hash {
			current--
		} else if n.Goal == Present && p.isReplaced(c, n) {
			outdated--
		}
	}
	return out
}

// victims are the first count nodes that victim would name, one after the
// other.
func (p *pool) victims(hash string, count int) []int {
	var out []int
	for _, c := range byWorth {
		if len(out) == count {
			break
		}
		var old, current []int
		for _, g := range p.groups {
			for _, cl := range c {
				if g.hash == hash {
					current = slices.AppendSeq(current, g.sets[cl].all)
				} else {
					old = slices.AppendSeq(old, g.sets[cl].all)
				}
			}
		}
		slices.Sort(old)
		slices.Reverse(old)
		slices.Sort(current)
		slices.Reverse(current)
		all := append(old, current...)
		out = append(out, all[:min(len(all), count-len(out))]...)
	}
	return out
}

// isReplaced reports whether an outdated node comes to the course by another
// machine.
func (p *pool) isReplaced(c course, n *Node) bool {
	return !slices.Contains(inService, classOf(n)) || c.way(p, p.groups[keyOf(n)]) == wayReplace
}

// highest returns the highest outdated ordinal of some classes, or else the
// highest of those that are made from hash.
func (p *pool) highest(hash string, classes []class) (int, bool) {
	old, current := -1, -1
	for _, g := range p.groups {
		for _, c := range classes {
			i, ok := g.sets[c].last()
			if ok && g.hash == hash {
				current = max(current, i)
			} else if ok {
				old = max(old, i)
			}
		}
	}
	if old >= 0 {
		return old, true
	}
	return current, current >= 0
}
