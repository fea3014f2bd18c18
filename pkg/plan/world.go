package plan

import (
	"maps"
	"slices"

	"yardmaster.dev/pkg/fleet"
)

// EveryShard is the shard of a World that mirrors the whole yard.
const EveryShard = -1

// World is what a planner (its own shard and shard 0) or a gateway (every
// shard) remembers. It is filled by Put alone; records are shared, never
// changed. It has no lock: [World.Put], [World.NextDue], [World.Overdue] and
// [Decide] need it for themselves, everything else may read side by side.
type World struct {
	Policy Policy

	shard    int
	yard     *Yard
	fleets   map[string]*fleetState
	sites    map[string]*Site
	networks map[string]*network
	places   map[string]*Place
	images   map[string]*Images
	// claims are those on names and documents, see claim.
	claims map[thing]*Claim
	// loose holds the address claims that no node record lists (yet).
	loose map[holder][]*Claim
	// uses holds the fleets that refer to a Site or Network.
	uses map[string]map[string]bool
	// queued counts open jobs per worker and site.
	queued map[queue]int
	due    dueHeap
	// dated counts the nodes that have a due time.
	dated int
	// starved holds the pools that have nodes waiting for an address.
	starved map[*pool]*fleetState
	// nodes counts the records of nodes that are not deleted.
	nodes int
}

type thing struct{ kind, thing string }

type holder struct{ fleet, node, network string }

type queue struct {
	worker Worker
	site   string
}

// fleetState is all that is known under one fleet's name.
type fleetState struct {
	name     string
	record   *Fleet
	revs     map[int]*revision
	pools    map[string]*pool
	dead     map[string]*DeadLetter
	receipts map[string]*Receipt
}

// revision is a revision with what decisions need of it, computed once.
type revision struct {
	record *Revision
	spec   *fleet.Fleet // defaults filled in
	hashes map[string]string
	sizes  map[string]size
}

// NewWorld returns an empty World with the default policy.
func NewWorld(shard int) *World {
	return &World{
		Policy:   DefaultPolicy(),
		shard:    shard,
		fleets:   map[string]*fleetState{},
		sites:    map[string]*Site{},
		networks: map[string]*network{},
		places:   map[string]*Place{},
		images:   map[string]*Images{},
		claims:   map[thing]*Claim{},
		loose:    map[holder][]*Claim{},
		uses:     map[string]map[string]bool{},
		queued:   map[queue]int{},
		starved:  map[*pool]*fleetState{},
	}
}

// Put takes a record in, in place of the one it overwrites, and returns what
// takes it out again. Undos must run in the reverse order of their Puts. The
// World owns r from then on.
func (w *World) Put(r Record) (undo func()) {
	switch r := r.(type) {
	case *Yard:
		old := w.yard
		w.yard = r
		return func() { w.yard = old }
	case *Fleet:
		f := w.fleet(r.Name)
		old := f.record
		f.record = r
		return func() { f.record = old; w.tidy(f) }
	case *Revision:
		return w.putRevision(r)
	case *Node:
		return w.putNode(r)
	case *DeadLetter:
		return w.putDeadLetter(r)
	case *Receipt:
		f := w.fleet(r.Fleet)
		undo := exchange(f.receipts, r.ID, r)
		return func() { undo(); w.tidy(f) }
	case *Place:
		return exchange(w.places, r.Fleet, r)
	case *Site:
		return exchange(w.sites, r.Document.Metadata.Name, r)
	case *Network:
		return w.putNetwork(r)
	case *Images:
		return exchange(w.images, r.Site, r)
	case *Claim:
		return w.putClaim(r)
	}
	return func() {}
}

func exchange[K comparable, V any](m map[K]V, k K, v V) (undo func()) {
	old, had := m[k]
	m[k] = v
	return func() {
		if had {
			m[k] = old
		} else {
			delete(m, k)
		}
	}
}

// fleet returns the state under a name, an empty one if there is none.
func (w *World) fleet(name string) *fleetState {
	f := w.fleets[name]
	if f == nil {
		f = &fleetState{
			name:     name,
			revs:     map[int]*revision{},
			pools:    map[string]*pool{},
			dead:     map[string]*DeadLetter{},
			receipts: map[string]*Receipt{},
		}
		w.fleets[name] = f
	}
	return f
}

// tidy drops a state that an undo has emptied.
func (w *World) tidy(f *fleetState) {
	if f.record == nil && len(f.revs)+len(f.pools)+len(f.dead)+len(f.receipts) == 0 {
		delete(w.fleets, f.name)
	}
}

func (w *World) putRevision(r *Revision) (undo func()) {
	f := w.fleet(r.Fleet)
	undone := exchange(f.revs, r.Number, newRevision(r))
	return func() { undone(); w.tidy(f) }
}

func newRevision(r *Revision) *revision {
	rev := &revision{record: r, spec: r.Document.WithDefaults(), hashes: map[string]string{}, sizes: map[string]size{}}
	for i := range rev.spec.Spec.Pools {
		name := rev.spec.Spec.Pools[i].Name
		rev.hashes[name], rev.sizes[name] = rev.spec.PoolHash(name), sizeOf(rev.spec, name)
	}
	return rev
}

func (w *World) putDeadLetter(r *DeadLetter) (undo func()) {
	f := w.fleet(r.Fleet)
	if r.Reason != "" {
		undone := exchange(f.dead, r.Node, r)
		return func() { undone(); w.tidy(f) }
	}
	old, had := f.dead[r.Node]
	delete(f.dead, r.Node)
	return func() {
		if had {
			f.dead[r.Node] = old
		}
		w.tidy(f)
	}
}

func (w *World) putNode(n *Node) (undo func()) {
	f := w.fleet(n.Fleet)
	p := f.pools[n.Pool]
	if p == nil {
		p = &pool{name: n.Pool, groups: map[groupKey]*group{}}
		f.pools[n.Pool] = p
	}
	old := p.node(n.Ordinal)
	w.share(f, p, n)
	w.exchangeNode(f, p, n.Ordinal, n)
	return func() {
		w.exchangeNode(f, p, n.Ordinal, old)
		if len(p.nodes) == 0 {
			delete(f.pools, p.name)
			w.tidy(f)
		}
	}
}

// share lets strings that are the same in many records stand in memory once:
// a record that comes off the wire has its own copy of each.
func (w *World) share(f *fleetState, p *pool, n *Node) {
	n.Fleet, n.Pool = f.name, p.name
	if f.record != nil && n.FleetUID == f.record.UID {
		n.FleetUID = f.record.UID
	}
	if g := p.groups[keyOf(n)]; g != nil {
		n.PoolHash = g.hash
	}
	if s := w.sites[n.Site]; s != nil {
		n.Site = s.Document.Metadata.Name
	}
	if s, ok := words[n.State]; ok {
		n.State = s
	}
	if p.os == n.OSVersion {
		n.OSVersion = p.os
	}
	p.os = n.OSVersion
	for i := range n.Addresses {
		w.shareAddress(n, &n.Addresses[i])
	}
}

func (w *World) shareAddress(n *Node, a *Address) {
	net := w.networks[a.Network]
	if net == nil {
		return
	}
	a.Network = net.name
	if c := w.claim(thing{ClaimAddress, addressThing(a.Network, a.Addr)}); c != nil {
		a.Addr = c.Thing[len(a.Network)+1:]
	}
	if n.GuestAddress == a.Addr {
		n.GuestAddress = a.Addr
	}
}

func (w *World) exchangeNode(f *fleetState, p *pool, ordinal int, n *Node) {
	old := p.node(ordinal)
	p.put(ordinal, n)
	w.count(old, -1)
	w.count(n, 1)
	w.refreshLoose(old)
	w.refreshLoose(n)
	if n != nil && !n.Due.IsZero() {
		w.pushDue(dueEntry{at: n.Due, fleet: f, pool: p, ordinal: ordinal, event: n.Event})
	}
	if p.starved.count > 0 {
		w.starved[p] = f
	} else {
		delete(w.starved, p)
	}
}

func (w *World) count(n *Node, by int) {
	if n == nil {
		return
	}
	if n.State != Deleted {
		w.nodes += by
	}
	if !n.Due.IsZero() {
		w.dated += by
	}
	if j := n.Job; j != nil {
		q := queue{j.Worker, j.Site}
		if w.queued[q] += by; w.queued[q] == 0 {
			delete(w.queued, q)
		}
	}
}

// Shard returns the shard that the World is for.
func (w *World) Shard() int { return w.shard }

// Yard returns the yard's record, nil before it was seen.
func (w *World) Yard() *Yard { return w.yard }

// Fleets returns every fleet record by name, tombstones too.
func (w *World) Fleets() []*Fleet {
	var out []*Fleet
	for _, name := range slices.Sorted(maps.Keys(w.fleets)) {
		if r := w.fleets[name].record; r != nil {
			out = append(out, r)
		}
	}
	return out
}

// Fleet returns a fleet's record, nil if there is none.
func (w *World) Fleet(name string) *Fleet {
	if f := w.fleets[name]; f != nil {
		return f.record
	}
	return nil
}

// Revision returns a revision of a fleet, nil if it is not known.
func (w *World) Revision(name string, number int) *Revision {
	if f := w.fleets[name]; f != nil && f.revs[number] != nil {
		return f.revs[number].record
	}
	return nil
}

// Spec returns the document of a fleet's newest revision with its defaults
// filled in, nil if there is none.
func (w *World) Spec(name string) *fleet.Fleet {
	f := w.fleets[name]
	if f == nil || f.spec() == nil {
		return nil
	}
	return f.spec().spec
}

func (f *fleetState) spec() *revision {
	if f.record == nil {
		return nil
	}
	return f.revs[f.record.Revision]
}

// Node returns a node's record by its key, nil if there is none.
func (w *World) Node(fleetName, key string) *Node {
	if f := w.fleets[fleetName]; f != nil {
		return f.node(key)
	}
	return nil
}

func (f *fleetState) node(key string) *Node {
	name, ordinal, ok := splitKey(key)
	if !ok || f.pools[name] == nil {
		return nil
	}
	return f.pools[name].node(ordinal)
}
