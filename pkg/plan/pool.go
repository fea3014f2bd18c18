package plan

import "strconv"

// pool is what the World knows of one pool's nodes: the records by ordinal,
// and counts and sets by what a decision asks of them, so that no decision
// looks at every node.
type pool struct {
	name  string
	os    string  // the OS version seen last, see share
	nodes []*Node // by ordinal; nil where no node ever was
	// free holds the ordinals below len(nodes) whose node is gone.
	free bitset
	// groups holds the nodes that are wanted, by the hash they are made from.
	groups map[string]*group
	// doomed counts nodes that go and are not gone yet; deleted those that
	// are.
	doomed  int
	deleted int
	counts  [classes]int
	// starved holds the nodes that wait for an address.
	starved bitset
}

// class is what a rollout needs to know of a wanted node.
type class int

const (
	classFailed    class = iota // needs a person
	classWaiting                // on its way to ready
	classRecycling              // its machine goes, the next one comes
	classReady
	classes
)

// group is the wanted nodes of one pool that are made from one definition.
type group struct {
	hash string
	sets [classes]bitset
}

func (g *group) size() int {
	sum := 0
	for i := range g.sets {
		sum += g.sets[i].count
	}
	return sum
}

// classOf returns the class of a wanted node.
func classOf(n *Node) class {
	if n.Goal == Recycle {
		return classRecycling
	}
	if n.State == Failed {
		return classFailed
	}
	if n.State == Ready {
		return classReady
	}
	return classWaiting
}

// wanted is the number of nodes that are or will be present.
func (p *pool) wanted() int {
	sum := 0
	for _, c := range p.counts {
		sum += c
	}
	return sum
}

// total is the number of nodes that may have a machine.
func (p *pool) total() int { return p.wanted() + p.doomed }

func (p *pool) ready() int { return p.counts[classReady] }

// node returns the record of an ordinal, or nil.
func (p *pool) node(ordinal int) *Node {
	if ordinal < 0 || ordinal >= len(p.nodes) {
		return nil
	}
	return p.nodes[ordinal]
}

// vacant returns the lowest ordinal that no node holds and that is at least
// from.
func (p *pool) vacant(from int) int {
	if i, ok := p.free.from(from); ok {
		return i
	}
	return max(from, len(p.nodes))
}

// put exchanges the record of an ordinal; n may be nil.
func (p *pool) put(ordinal int, n *Node) {
	p.forget(ordinal, p.node(ordinal))
	for len(p.nodes) <= ordinal {
		p.free.add(len(p.nodes))
		p.nodes = append(p.nodes, nil)
	}
	p.nodes[ordinal] = n
	p.index(ordinal, n)
	for last := len(p.nodes) - 1; last >= 0 && p.nodes[last] == nil; last-- {
		p.free.remove(last)
		p.nodes = p.nodes[:last]
	}
}

func (p *pool) index(ordinal int, n *Node) {
	if n == nil || n.State == Deleted {
		p.free.add(ordinal)
		if n != nil {
			p.deleted++
		}
		return
	}
	p.free.remove(ordinal)
	if n.DueFor == DueAddress {
		p.starved.add(ordinal)
	}
	if n.Goal == Absent {
		p.doomed++
		return
	}
	g := p.groups[n.PoolHash]
	if g == nil {
		g = &group{hash: n.PoolHash}
		p.groups[n.PoolHash] = g
	}
	c := classOf(n)
	g.sets[c].add(ordinal)
	p.counts[c]++
}

func (p *pool) forget(ordinal int, n *Node) {
	if n == nil {
		return
	}
	if n.State == Deleted {
		p.deleted--
		return
	}
	p.starved.remove(ordinal)
	if n.Goal == Absent {
		p.doomed--
		return
	}
	g, c := p.groups[n.PoolHash], classOf(n)
	g.sets[c].remove(ordinal)
	p.counts[c]--
	if g.size() == 0 {
		delete(p.groups, n.PoolHash)
	}
}

// outdated counts the wanted nodes that no plan has dealt with and that are
// made from another definition than hash.
func (p *pool) outdated(hash string) int {
	sum := 0
	for h, g := range p.groups {
		if h != hash {
			sum += g.sets[classFailed].count + g.sets[classWaiting].count + g.sets[classReady].count
		}
	}
	return sum
}

// current counts the wanted nodes that are made from hash.
func (p *pool) current(hash string) int {
	if g := p.groups[hash]; g != nil {
		return g.size()
	}
	return 0
}

// lowest returns the lowest outdated ordinal of a class.
func (p *pool) lowest(hash string, c class) (int, bool) {
	best, found := 0, false
	for h, g := range p.groups {
		if h == hash {
			continue
		}
		if i, ok := g.sets[c].first(); ok && (!found || i < best) {
			best, found = i, true
		}
	}
	return best, found
}

// splitKey takes a node key apart.
func splitKey(key string) (pool string, ordinal int, ok bool) {
	for i := len(key) - 1; i > 0; i-- {
		if key[i] == '-' {
			n, err := strconv.Atoi(key[i+1:])
			return key[:i], n, err == nil && n >= 0
		}
	}
	return "", 0, false
}
