package plan

import (
	"slices"
	"strconv"
)

// pool is what the World knows of one pool's nodes: the records by ordinal,
// and counts and sets by what a decision asks of them, so that no decision
// looks at every node.
type pool struct {
	name  string
	os    string  // the OS version seen last, see share
	nodes []*Node // by ordinal; nil where no node ever was
	// free holds the ordinals below len(nodes) whose node is gone.
	free bitset
	// groups holds the nodes that are wanted, by what they are made from and
	// what their machines take while they run.
	groups map[groupKey]*group
	// doomed counts nodes that go and are not gone yet; deleted those that
	// are.
	doomed  int
	deleted int
	counts  [classes]int
	// starved holds the nodes that wait for an address, held those that wait
	// for the fleet to be resumed.
	starved bitset
	held    bitset
	// preserved holds the nodes whose machines are kept for inspection; they
	// count for nothing else.
	preserved bitset
	// homes counts the wanted nodes of each failure domain.
	homes map[home]int
}

// class is what a rollout needs to know of a wanted node.
type class int

const (
	classSkipped    class = iota // failed, and a person said: count without it
	classFailed                  // needs a person
	classHurt                    // needs a person, and was in service before
	classWaiting                 // on its way to ready
	classRecycling               // its machine goes, the next one comes
	classRestarting              // was ready and will be again, on the same machine: restarting, rerunning
	classResizing                // ready, and its machine is changed while it runs
	classBusy                    // ready, with another chore
	classReady
	classes
)

// serving are the classes of nodes that are ready.
var serving = []class{classResizing, classBusy, classReady}

// inService are the classes of nodes that were ready and still have that
// machine: a definition that it can be changed to does not cost them the
// machine.
var inService = []class{classHurt, classRestarting, classResizing, classBusy, classReady}

// group is the wanted nodes of one pool that are made from one definition.
type group struct {
	groupKey
	sets [classes]bitset
}

type groupKey struct {
	hash string
	hot  Hot
	// obeys means that their guests take orders, stale that none of them has
	// reported the config that its record names.
	obeys, stale bool
	// unfit means that their machines may not be what their records say.
	unfit bool
}

func keyOf(n *Node) groupKey {
	return groupKey{n.PoolHash, n.Hot, n.Obeys, n.FormerToken != "", n.unfit()}
}

// first returns any node of the group.
func (g *group) first() (int, bool) {
	for i := range g.sets {
		if n, ok := g.sets[i].first(); ok {
			return n, true
		}
	}
	return 0, false
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
	switch {
	case n.State == Failed && n.Skipped:
		return classSkipped
	case n.hurt():
		return classHurt
	case n.State == Failed:
		return classFailed
	case n.State == Restarting || n.State == Rerunning:
		return classRestarting
	case n.State == Ready:
		return n.servingClass()
	}
	return classWaiting
}

// servingClass is the class of a node that is ready.
func (n *Node) servingClass() class {
	if n.stuck() {
		return classReady
	}
	switch n.Chore { //nolint:exhaustive // of all others it is enough that they are one
	case ActionResize:
		return classResizing
	case "":
		return classReady
	}
	return classBusy
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

func (p *pool) ready() int {
	sum := 0
	for _, c := range serving {
		sum += p.counts[c]
	}
	return sum
}

// serving is ready with those that nobody waits for any more.
func (p *pool) serving() int { return p.ready() + p.counts[classSkipped] }

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
	if n.DueFor == DueResume {
		p.held.add(ordinal)
	}
	if n.State == Preserved {
		p.preserved.add(ordinal)
		return
	}
	if n.Goal == Absent {
		p.doomed++
		return
	}
	k := keyOf(n)
	g := p.groups[k]
	if g == nil {
		g = &group{groupKey: k}
		p.groups[k] = g
	}
	c := classOf(n)
	g.sets[c].add(ordinal)
	p.counts[c]++
	p.settle(n, 1)
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
	p.held.remove(ordinal)
	if n.State == Preserved {
		p.preserved.remove(ordinal)
		return
	}
	if n.Goal == Absent {
		p.doomed--
		return
	}
	g, c := p.groups[keyOf(n)], classOf(n)
	g.sets[c].remove(ordinal)
	p.counts[c]--
	p.settle(n, -1)
	if g.size() == 0 {
		delete(p.groups, g.groupKey)
	}
}

// outdated counts the wanted nodes that no plan has dealt with and that are
// made from another definition than hash.
func (p *pool) outdated(hash string) int {
	sum := 0
	for _, g := range p.groups {
		if g.hash != hash {
			sum += g.size() - g.sets[classRecycling].count
		}
	}
	return sum
}

// replaced counts the outdated nodes that come to the course by another
// machine; what never served is not worth keeping.
func (p *pool) replaced(c course) int {
	sum := 0
	for _, g := range p.groups {
		if g.hash == c.hash {
			continue
		}
		sum += g.sets[classSkipped].count + g.sets[classFailed].count + g.sets[classWaiting].count
		if c.way(p, g) == wayReplace {
			for _, cl := range inService {
				sum += g.sets[cl].count
			}
		}
	}
	return sum
}

// stuck counts the ready nodes whose change was given up.
func (p *pool) stuck() int {
	sum := 0
	for _, g := range p.groups {
		if g.unfit {
			sum += g.sets[classReady].count
		}
	}
	return sum
}

// current counts the wanted nodes that are made from hash.
func (p *pool) current(hash string) int {
	sum := 0
	for _, g := range p.groups {
		if g.hash == hash {
			sum += g.size()
		}
	}
	return sum
}

// lowest returns the lowest outdated ordinal of some classes in the groups
// that go one of the ways; no way at all means any.
func (p *pool) lowest(c course, classes []class, ways ...way) (int, bool) {
	best, found := 0, false
	for _, g := range p.groups {
		if g.hash == c.hash || len(ways) > 0 && !slices.Contains(ways, c.way(p, g)) {
			continue
		}
		for _, cl := range classes {
			if i, ok := g.sets[cl].first(); ok && (!found || i < best) {
				best, found = i, true
			}
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
