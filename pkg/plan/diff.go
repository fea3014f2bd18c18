package plan

import (
	"maps"
	"slices"
	"strconv"

	"yardmaster.dev/pkg/fleet"
)

// ChangeAction is what a plan does with a node.
type ChangeAction string

// The actions of a plan. A node that is in no change is kept.
const (
	ChangeCreate  ChangeAction = "create"
	ChangeResize  ChangeAction = "resize"
	ChangeRerun   ChangeAction = "rerun"
	ChangeReplace ChangeAction = "replace"
	ChangeDelete  ChangeAction = "delete"
)

// Change is what a plan does with one node, and why.
type Change struct {
	Pool   string
	Key    string
	Action ChangeAction
	// Causes are the fields behind it: "spec.pools[edge].replicas 2 -> 3".
	Causes []string
	// Site and Domain are where a new machine will be, or where that of
	// another action is.
	Site   string
	Domain string
	// Addresses are those that a new node will get if nobody comes first,
	// or those that a replaced one keeps.
	Addresses []Address
	// Destroys is false if there is no machine to destroy yet.
	Destroys bool
	// Hot means that a resize needs no restart.
	Hot bool
}

// poolDiff is what becomes of one pool.
type poolDiff struct {
	name    string
	changes []Change
	keep    int
	present int
}

// differ compares what is with what a document asks for.
type differ struct {
	w       *World
	f       *fleetState // an empty one for a new fleet
	doc     *fleet.Fleet
	next    *fleet.Fleet // doc with its defaults
	targets map[string]int
	picks   map[string]int // how far each network's free addresses are given out
}

func newDiffer(w *World, doc *fleet.Fleet, t Terms) *differ {
	f := w.fleets[doc.Metadata.Name]
	if f == nil {
		f = &fleetState{name: doc.Metadata.Name}
	}
	targets, _ := nextTargets(f.record, doc, t)
	return &differ{w: w, f: f, doc: doc, next: doc.WithDefaults(), targets: targets, picks: map[string]int{}}
}

// nextTargets returns the live targets that follow from a document: only a
// replicas field that changed moves its pool's target, so that applying a
// spec again never undoes a scale event. Kept targets do not move at all.
func nextTargets(r *Fleet, doc *fleet.Fleet, t Terms) (targets, replicas map[string]int) {
	targets, replicas = map[string]int{}, map[string]int{}
	for i := range doc.Spec.Pools {
		p := &doc.Spec.Pools[i]
		targets[p.Name], replicas[p.Name] = p.Replicas, p.Replicas
		if r == nil || r.Deleted {
			continue
		}
		if was, ok := r.SpecReplicas[p.Name]; ok && (t.KeepTargets || was == p.Replicas) {
			targets[p.Name] = r.Targets[p.Name]
		}
	}
	return targets, replicas
}

// pools compares pool by pool: those of the document in its order, then those
// that it no longer has.
func (d *differ) pools() []poolDiff {
	var out []poolDiff
	seen := map[string]bool{}
	for i := range d.next.Spec.Pools {
		p := &d.next.Spec.Pools[i]
		seen[p.Name] = true
		out = append(out, d.pool(p, d.course(p.Name)))
	}
	for _, name := range slices.Sorted(maps.Keys(d.f.pools)) {
		if !seen[name] && d.f.pools[name].wanted() > 0 {
			out = append(out, d.pool(&fleet.Pool{Name: name}, course{}))
		}
	}
	return out
}

func (d *differ) course(name string) course {
	c := newCourse(d.next, name, d.next.PoolHash(name), d.targets[name])
	c.size, c.revs = sizeOf(d.next, name), d.f.revs
	return c
}

func (d *differ) pool(spec *fleet.Pool, c course) poolDiff {
	out := poolDiff{name: spec.Name}
	p := d.f.pools[spec.Name]
	if p == nil {
		p = &pool{name: spec.Name}
	}
	out.present = p.wanted()
	doomed := p.surplus(c)
	gone := map[int]bool{}
	why := []string{d.targetCause(spec.Name, c)}
	for _, i := range doomed {
		gone[i] = true
		out.changes = append(out.changes, change(p.nodes[i], ChangeDelete, why))
	}
	altered := d.altered(p, c, gone)
	out.changes = append(out.changes, altered...)
	made := c.target - (out.present - len(doomed))
	out.changes = append(out.changes, d.created(spec, p, made, why)...)
	out.keep = out.present - len(doomed) - len(altered)
	return out
}

func change(n *Node, action ChangeAction, causes []string) Change {
	return Change{
		Pool: n.Pool, Key: n.Key(), Action: action, Causes: causes,
		Site: n.Site, Domain: n.Domain, Addresses: n.Addresses, Destroys: n.MachineUUID != "",
	}
}

// altered are the outdated nodes that stay wanted, by ordinal: their machines
// are replaced or changed.
func (d *differ) altered(p *pool, c course, gone map[int]bool) []Change {
	var out []Change
	for _, g := range p.groups {
		if g.hash == c.hash {
			continue
		}
		way, causes := c.way(p, g), map[int][]string{}
		instead := c.instead(p, g)
		act := actions[way]
		for cl := range g.sets {
			if class(cl) == classRecycling || way == wayNone && slices.Contains(inService, class(cl)) {
				continue
			}
			for i := range g.sets[cl].all {
				if n := p.nodes[i]; !gone[i] {
					if causes[n.Revision] == nil {
						causes[n.Revision] = d.causes(n)
					}
					change := act.of(n, class(cl), causes[n.Revision])
					if instead != "" && slices.Contains(inService, class(cl)) {
						change.Causes = append(slices.Clone(change.Causes), instead)
					}
					out = append(out, change)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b Change) int { return ordinal(a.Key) - ordinal(b.Key) })
	return out
}

// instead says of nodes that should run Ignition again why they are replaced.
func (c course) instead(p *pool, g *group) string {
	old, ok := c.was(p, g)
	if !ok || c.spec.OnConfigChange != fleet.ConfigChangeRerun || old.frame == c.size.frame || c.way(p, g) != wayReplace {
		return ""
	}
	return "not run again on the same machine: " + c.against(g, old)
}

// waiting are the nodes that no way leads to their new size.
func (d *differ) waiting() []*Node {
	var out []*Node
	for _, name := range slices.Sorted(maps.Keys(d.f.pools)) {
		p, c := d.f.pools[name], d.course(name)
		for _, n := range p.nodes {
			if n != nil && n.refused() && c.way(p, p.groups[keyOf(n)]) == wayNone {
				out = append(out, n)
			}
		}
	}
	return out
}

// alteration is what a way means for a node in service.
type alteration struct {
	action ChangeAction
	hot    bool
}

var actions = map[way]alteration{
	wayReplace: {action: ChangeReplace},
	wayRestart: {action: ChangeResize},
	wayHot:     {action: ChangeResize, hot: true},
	wayRerun:   {action: ChangeRerun},
}

func (a alteration) of(n *Node, c class, causes []string) Change {
	if !slices.Contains(inService, c) {
		a = actions[wayReplace]
	}
	out := change(n, a.action, causes)
	out.Hot = a.hot && c != classHurt
	out.Destroys = out.Destroys && a.action == ChangeReplace
	return out
}

func ordinal(key string) int {
	_, i, _ := splitKey(key)
	return i
}

// created are the nodes to make, under the lowest ordinals that are free.
func (d *differ) created(spec *fleet.Pool, p *pool, count int, why []string) []Change {
	out := make([]Change, 0, max(0, count))
	at := 0
	foreseen, domains, hash := map[string]int{}, spec.Domains(), d.next.PoolHash(spec.Name)
	for range count {
		at = p.vacant(at)
		c := Change{Pool: spec.Name, Key: NodeKey(spec.Name, at), Action: ChangeCreate, Causes: why}
		c.at(spec, p.roomiest(domains, hash, nil, foreseen))
		foreseen[c.Domain]++
		for _, ref := range staticRefs(spec) {
			if a, ok := d.pick(ref); ok {
				c.Addresses = append(c.Addresses, Address{Network: ref, Addr: a})
			}
		}
		out = append(out, c)
		at++
	}
	return out
}

// pick foretells the next address of a network.
func (d *differ) pick(name string) (string, bool) {
	n := d.w.networks[name]
	if n == nil {
		return "", false
	}
	i, ok := n.free.from(d.picks[name])
	if !ok {
		return "", false
	}
	d.picks[name] = i + 1
	return formatAddress(n.base + uint32(i)), true
}

// targetCause says why a pool's number of nodes changes.
func (d *differ) targetCause(name string, c course) string {
	path := "spec.pools[" + name + "]"
	if d.f.record == nil || d.f.record.Deleted {
		return path + ": new fleet"
	}
	was, had := d.f.record.SpecReplicas[name]
	if !had {
		return path + ": new pool"
	}
	now, has := d.doc.Pool(name)
	if !has {
		return path + ": no longer in the spec"
	}
	if was != now.Replicas {
		return path + ".replicas " + strconv.Itoa(was) + " -> " + strconv.Itoa(now.Replicas)
	}
	return path + ": target " + strconv.Itoa(c.target) + ", as it was scaled"
}
