package vcenter

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"yardmaster.dev/pkg/fleet"
)

// The budgets, as the metrics call them.
const (
	budgetClones     = "clones"
	budgetTemplate   = "template"
	budgetDatastore  = "datastore"
	budgetOperations = "operations"
)

// limits bound what we have vCenter do at once. They outlive the connection:
// a changed Site must not find all places free while the work of the old one
// goes on.
type limits struct {
	clones     *gate
	operations *gate
	meters     meters

	mu         sync.Mutex
	bounds     fleet.Limits
	templates  map[ref]*gate
	datastores map[ref]*gate
	// strangers are clones under way whose datastore vCenter does not tell;
	// each counts at all of them.
	strangers int
}

func newLimits(l fleet.Limits, m meters) *limits {
	l = l.WithDefaults()
	out := &limits{
		clones: newGate(l.Clones, m.of(budgetClones)), operations: newGate(l.Operations, m.of(budgetOperations)),
		meters: m, bounds: l, templates: map[ref]*gate{}, datastores: map[ref]*gate{},
	}
	m.bounds(l)
	return out
}

// set takes a Site's limits. Who is in stays in.
func (l *limits) set(to fleet.Limits) {
	to = to.WithDefaults()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bounds = to
	l.meters.bounds(to)
	l.clones.resize(to.Clones)
	l.operations.resize(to.Operations)
	for _, g := range l.templates {
		g.resize(to.PerTemplate)
	}
	for _, g := range l.datastores {
		g.resize(to.PerDatastore)
	}
}

// cloning returns the gates of a clone of template to store.
func (l *limits) cloning(template ref, store *ref) []*gate {
	l.mu.Lock()
	defer l.mu.Unlock()
	gates := []*gate{l.template(template)}
	if store != nil {
		gates = append(gates, l.datastore(*store))
	}
	return append(gates, l.clones)
}

// template is for who holds the lock.
func (l *limits) template(r ref) *gate {
	g := l.templates[r]
	if g == nil {
		g = newGate(l.bounds.PerTemplate, l.meters.of(budgetTemplate))
		l.templates[r] = g
	}
	return g
}

// datastore is for who holds the lock.
func (l *limits) datastore(r ref) *gate {
	g := l.datastores[r]
	if g == nil {
		g = newGate(l.bounds.PerDatastore, l.meters.of(budgetDatastore))
		for range l.strangers {
			g.seize()
		}
		l.datastores[r] = g
	}
	return g
}

// stranger takes the places of a task of ours that nobody here waits for,
// free or not, and returns how they are given back. template is that of a
// clone.
func (l *limits) stranger(template *ref) (leave func()) {
	l.operations.seize()
	if template == nil {
		return l.operations.leave
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.strangers++
	at := l.template(*template)
	at.seize()
	l.clones.seize()
	for _, g := range l.datastores {
		g.seize()
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.strangers--
		for _, g := range l.datastores {
			g.leave()
		}
		leaveAll([]*gate{at, l.clones, l.operations})
	}
}

// gate lets so many in at a time; who waits is served in the order of coming.
type gate struct {
	meter meter

	mu      sync.Mutex
	places  int
	in      int
	waiting []chan struct{}
}

func newGate(places int, m meter) *gate { return &gate{places: places, meter: m} }

// enter takes a place as soon as there is one.
func (g *gate) enter(ctx context.Context) error {
	g.mu.Lock()
	if g.in < g.places {
		g.taken(1)
		g.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	g.waiting = append(g.waiting, turn)
	g.meter.waiting.Inc()
	g.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, turn); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
		g.meter.waiting.Dec()
		return ctx.Err()
	}
	// The place came at the very moment.
	g.taken(-1)
	g.admit()
	return ctx.Err()
}

// seize takes a place whether there is one or not.
func (g *gate) seize() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.taken(1)
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.taken(-1)
	g.admit()
}

func (g *gate) resize(places int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.places = places
	g.admit()
}

// admit lets in whoever there is a place for; the caller holds the lock.
func (g *gate) admit() {
	for g.in < g.places && len(g.waiting) > 0 {
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
		g.meter.waiting.Dec()
		g.taken(1)
	}
}

func (g *gate) taken(n int) {
	g.in += n
	g.meter.used.Add(float64(n))
}

// enter takes a place at each gate, always in the same order, so that nobody
// waits for each other.
func enter(ctx context.Context, gates ...*gate) (leave func(), err error) {
	for i, g := range gates {
		if err := g.enter(ctx); err != nil {
			leaveAll(gates[:i])
			return nil, fmt.Errorf("wait for a turn at vCenter: %w", err)
		}
	}
	return func() { leaveAll(gates) }, nil
}

func leaveAll(gates []*gate) {
	for _, g := range gates {
		g.leave()
	}
}
