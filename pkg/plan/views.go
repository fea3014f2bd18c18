package plan

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// PoolCounts is how a pool stands.
type PoolCounts struct {
	Pool   string
	Target int
	// Present counts the nodes that are or will be there; Ready, Waiting,
	// Recycling and Failed are its parts.
	Present   int
	Ready     int
	Waiting   int
	Recycling int
	Failed    int
	// Skipped are failed nodes that a person set aside; they are not among
	// Failed. Preserved are nodes that count for nothing any more.
	Skipped   int
	Preserved int
	// Outdated counts present nodes of an older definition that still wait
	// for their turn.
	Outdated int
	// Leaving counts nodes that go and are not gone yet.
	Leaving int
}

// Pools returns how the pools of a fleet stand, those of the spec first, in
// its order, then those that are on their way out.
func (w *World) Pools(fleetName string) []PoolCounts {
	f := w.fleets[fleetName]
	if f == nil || f.record == nil {
		return nil
	}
	var out []PoolCounts
	for _, name := range f.poolNames() {
		out = append(out, f.counts(name))
	}
	return out
}

func (f *fleetState) counts(name string) PoolCounts {
	c := PoolCounts{Pool: name, Target: f.target(name)}
	p := f.pools[name]
	if p == nil {
		return c
	}
	c.Present, c.Leaving = p.wanted(), p.doomed
	c.Ready, c.Failed = p.ready(), p.counts[classFailed]+p.counts[classHurt]
	c.Skipped, c.Preserved = p.counts[classSkipped], p.preserved.count
	c.Waiting, c.Recycling = p.counts[classWaiting]+p.counts[classRestarting], p.counts[classRecycling]
	c.Outdated = p.outdated(f.hash(name))
	return c
}

// poolNames returns the spec's pools in order, then others that still have
// nodes.
func (f *fleetState) poolNames() []string {
	var names []string
	if rev := f.spec(); rev != nil {
		for i := range rev.spec.Spec.Pools {
			names = append(names, rev.spec.Spec.Pools[i].Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.pools)) {
		if !slices.Contains(names, name) && f.pools[name].total()+f.pools[name].preserved.count > 0 {
			names = append(names, name)
		}
	}
	return names
}

// target is the number of nodes that a pool should have now.
func (f *fleetState) target(name string) int {
	if f.record == nil || f.record.Deleting || f.record.Deleted {
		return 0
	}
	return f.record.Targets[name]
}

// hash is the pool's definition in the newest revision, empty if it has none.
func (f *fleetState) hash(name string) string {
	if rev := f.spec(); rev != nil {
		return rev.hashes[name]
	}
	return ""
}

// Nodes yields every node record of a fleet by pool and ordinal, deleted ones
// too.
func (w *World) Nodes(fleetName string) iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		f := w.fleets[fleetName]
		if f == nil {
			return
		}
		for _, name := range slices.Sorted(maps.Keys(f.pools)) {
			for _, n := range f.pools[name].nodes {
				if n != nil && !yield(n) {
					return
				}
			}
		}
	}
}

// NodeNetworks returns the networks of a node as its jobs tell them, none if
// the revision that it is made from is not known.
func (w *World) NodeNetworks(n *Node) []JobNetwork {
	p := w.poolOf(n)
	if p == nil {
		return nil
	}
	return w.jobNetworks(n, p)
}

// NodeCount is the number of nodes that are not deleted.
func (w *World) NodeCount() int { return w.nodes }

// DeadLetters returns every open dead letter, by fleet and node.
func (w *World) DeadLetters() []*DeadLetter {
	var out []*DeadLetter
	for _, name := range slices.Sorted(maps.Keys(w.fleets)) {
		f := w.fleets[name]
		for _, key := range slices.Sorted(maps.Keys(f.dead)) {
			out = append(out, f.dead[key])
		}
	}
	return out
}

// DeadLetter returns a node's open dead letter, nil if it has none.
func (w *World) DeadLetter(fleetName, key string) *DeadLetter {
	if f := w.fleets[fleetName]; f != nil {
		return f.dead[key]
	}
	return nil
}

// Receipt returns the receipt of a command, nil if it was not decided; scope
// is the fleet or [YardScope].
func (w *World) Receipt(scope, id string) *Receipt {
	if f := w.fleets[scope]; f != nil {
		return f.receipts[id]
	}
	return nil
}

// Place returns where a fleet lives, nil if it was not placed.
func (w *World) Place(fleetName string) *Place { return w.places[fleetName] }

// Places returns every place by fleet.
func (w *World) Places() []*Place { return byKey(w.places) }

// Sites returns every Site record by name, deleted ones too.
func (w *World) Sites() []*Site { return byKey(w.sites) }

// Site returns a Site that is not deleted, else nil.
func (w *World) Site(name string) *Site {
	if s := w.sites[name]; s != nil && !s.Deleted {
		return s
	}
	return nil
}

// Networks returns every Network record by name, deleted ones too.
func (w *World) Networks() []*Network {
	var out []*Network
	for _, n := range byKey(w.networks) {
		if n.record != nil {
			out = append(out, n.record)
		}
	}
	return out
}

// Network returns a Network that is not deleted, else nil.
func (w *World) Network(name string) *Network {
	if n := w.networks[name]; n != nil && n.record != nil && !n.record.Deleted {
		return n.record
	}
	return nil
}

// Claim returns who holds a thing, nil if nobody does.
func (w *World) Claim(kind, name string) *Claim { return w.claim(thing{kind, name}) }

// Claims returns every claim that is held, by kind and thing.
func (w *World) Claims() []*Claim {
	out := slices.Collect(maps.Values(w.claims))
	for _, n := range w.networks {
		for _, c := range n.held.all {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *Claim) int {
		if c := strings.Compare(a.Kind, b.Kind); c != 0 {
			return c
		}
		return strings.Compare(a.Thing, b.Thing)
	})
	return out
}

// FreeAddresses is how many addresses a Network has left to give.
func (w *World) FreeAddresses(name string) int {
	if n := w.networks[name]; n != nil {
		return n.free.count
	}
	return 0
}

func byKey[V any](m map[string]V) []V {
	var out []V
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

// PoolHash is the pool's definition in the fleet's newest revision, empty if
// it has none; nodes made from another one are outdated.
func (w *World) PoolHash(fleetName, pool string) string {
	if f := w.fleets[fleetName]; f != nil {
		return f.hash(pool)
	}
	return ""
}
