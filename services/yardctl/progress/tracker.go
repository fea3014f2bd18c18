package progress

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/yardctl/show"
)

// The states that the tracker tells apart.
const (
	stateReady   = "ready"
	stateFailed  = "failed"
	stateDeleted = "deleted"
)

// tracker knows how the nodes stand. Bars read it from another goroutine.
type tracker struct {
	only []string

	mu     sync.Mutex
	fleets map[string]*yardmasterv1.FleetView
	nodes  map[string]*yardmasterv1.NodeView
	synced bool
	// fresh are the nodes that this watch has told of, until it is synced:
	// the others are gone.
	fresh map[string]bool
	// set are when the nodes set out that we saw on their way, took how long
	// it took those of them that became ready.
	set  map[string]time.Time
	took map[string]time.Duration
}

func newTracker(only []string) *tracker {
	return &tracker{
		only: only, fleets: map[string]*yardmasterv1.FleetView{}, nodes: map[string]*yardmasterv1.NodeView{},
		set: map[string]time.Time{}, took: map[string]time.Duration{},
	}
}

// begin starts a new watch.
func (t *tracker) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.synced, t.fresh = false, map[string]bool{}
}

// wanted reports whether a fleet is one of those that are shown.
func (t *tracker) wanted(fleet string) bool {
	return len(t.only) == 0 || slices.Contains(t.only, fleet)
}

// take takes a message in. It returns the node that moved, if any, and
// whether the watch must be begun anew: what is outdated is decided against
// a fleet's revision, so another revision makes what we know of nodes old.
func (t *tracker) take(m *yardmasterv1.WatchResponse) (changed *yardmasterv1.NodeView, again bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch c := m.GetChange().(type) {
	case *yardmasterv1.WatchResponse_Fleet:
		again = t.takeFleet(c.Fleet)
	case *yardmasterv1.WatchResponse_Node:
		changed = t.takeNode(c.Node)
	case *yardmasterv1.WatchResponse_Synced:
		t.sync()
	}
	return changed, again
}

func (t *tracker) takeFleet(f *yardmasterv1.FleetView) (again bool) {
	if !t.wanted(f.GetName()) {
		return false
	}
	before := t.fleets[f.GetName()]
	t.fleets[f.GetName()] = f
	t.fresh[fleetKey(f.GetName())] = true
	return t.synced && before != nil && before.GetRevision() != f.GetRevision()
}

// fleetKey is a fleet's key among the fresh ones; no node's name has a /.
func fleetKey(name string) string { return name + "/" }

func (t *tracker) takeNode(n *yardmasterv1.NodeView) *yardmasterv1.NodeView {
	if !t.wanted(n.GetFleet()) {
		return nil
	}
	before, known := t.nodes[n.GetName()]
	t.fresh[n.GetName()] = true
	if n.GetState() == stateDeleted {
		delete(t.nodes, n.GetName())
		delete(t.set, n.GetName()) // the next life of the name has a way of its own
		if !known {
			return nil
		}
		return n
	}
	t.nodes[n.GetName()] = n
	if known && looksLike(before, n) {
		return nil
	}
	if n.GetState() == stateReady && !known && !t.synced && !n.GetOutdated() {
		return nil // it was ready before we looked
	}
	t.clock(n)
	return n
}

// clock measures the way of a node, by the yard's own clock.
func (t *tracker) clock(n *yardmasterv1.NodeView) {
	name := n.GetName()
	began, onItsWay := t.set[name]
	switch {
	case n.GetState() != stateReady && !onItsWay:
		delete(t.took, name)
		t.set[name] = n.GetSince().AsTime()
		if n.GetIncarnation() <= 1 && n.GetCreated() != nil && show.Step(n.GetState()) > 0 {
			t.set[name] = n.GetCreated().AsTime()
		}
	case n.GetState() == stateReady && onItsWay && n.GetReadyAt() != nil:
		delete(t.set, name)
		t.took[name] = max(0, n.GetReadyAt().AsTime().Sub(began))
	}
}

// elapsed is how long a ready node's way was, and how long another one is in
// its state.
func (t *tracker) elapsed(n *yardmasterv1.NodeView, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if took, ok := t.took[n.GetName()]; ok && n.GetState() == stateReady {
		return took
	}
	if n.GetSince() == nil {
		return 0
	}
	return now.Sub(n.GetSince().AsTime())
}

// looksLike reports whether two views of a node look the same on the screen.
func looksLike(a, b *yardmasterv1.NodeView) bool {
	return a.GetState() == b.GetState() && a.GetAttempt() == b.GetAttempt() && a.GetIncarnation() == b.GetIncarnation() &&
		(a.GetState() == stateReady || a.GetReason() == b.GetReason() && a.GetWaitingFor() == b.GetWaitingFor())
}

// sync forgets what the present state no longer holds.
func (t *tracker) sync() {
	t.synced = true
	for name := range t.nodes {
		if !t.fresh[name] {
			delete(t.nodes, name)
		}
	}
	for name := range t.fleets {
		if !t.fresh[fleetKey(name)] {
			delete(t.fleets, name)
		}
	}
}

// settled reports whether every node is where its fleet wants it, or will
// not get there by itself.
func (t *tracker) settled() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.synced {
		return false
	}
	present := map[string]int32{}
	for _, n := range t.nodes {
		present[n.GetFleet()]++
		if n.GetState() != stateFailed && (n.GetState() != stateReady || n.GetOutdated()) {
			return false
		}
	}
	for name, f := range t.fleets {
		if f.GetDeleting() && present[name] > 0 || !f.GetDeleting() && present[name] != f.GetDesired() {
			return false
		}
	}
	return true
}

// failed counts the failed nodes.
func (t *tracker) failed() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	count := 0
	for _, n := range t.nodes {
		if n.GetState() == stateFailed {
			count++
		}
	}
	return count
}

// sorted returns the nodes by fleet, pool and ordinal.
func (t *tracker) sorted() []*yardmasterv1.NodeView {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*yardmasterv1.NodeView, 0, len(t.nodes))
	for _, n := range t.nodes {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b *yardmasterv1.NodeView) int {
		return cmp.Or(cmp.Compare(a.GetFleet(), b.GetFleet()), cmp.Compare(a.GetPool(), b.GetPool()), cmp.Compare(a.GetOrdinal(), b.GetOrdinal()))
	})
	return out
}

// summary says how long it took, from the yard's own clock.
func (t *tracker) summary() []string {
	t.mu.Lock()
	took := slices.Collect(maps.Values(t.took))
	t.mu.Unlock()
	switch len(took) {
	case 0:
		return nil
	case 1:
		return []string{"", "node ready after " + show.Duration(took[0])}
	}
	return []string{"", "first node ready after " + show.Duration(slices.Min(took)) +
		", all " + show.Count(len(took), "node") + " after " + show.Duration(slices.Max(took))}
}
