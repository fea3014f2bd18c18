package plan

import (
	"cmp"
	"container/heap"
	"fmt"
	"maps"
	"slices"
	"time"
)

// dueEntry is a node's deadline as it was when its record was put. Entries
// are not taken out when the record changes: one whose node has moved on is
// stale and skipped.
type dueEntry struct {
	at      time.Time
	fleet   *fleetState
	pool    *pool
	ordinal int
	event   int64
}

type dueHeap []dueEntry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for container/heap.
func (h *dueHeap) Push(x any) { *h = append(*h, x.(dueEntry)) } //nolint:errcheck // only pushDue calls it

// Pop is for container/heap.
func (h *dueHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// pushDue adds an entry, and throws the stale ones out when they are most.
func (w *World) pushDue(e dueEntry) {
	heap.Push(&w.due, e)
	if len(w.due) < 2*w.dated+1024 {
		return
	}
	seen := make(map[dueEntry]bool, w.dated)
	w.due = slices.DeleteFunc(w.due, func(e dueEntry) bool {
		stale := e.node() == nil || seen[e]
		seen[e] = true
		return stale
	})
	heap.Init(&w.due)
}

func (e dueEntry) node() *Node {
	n := e.pool.node(e.ordinal)
	if n == nil || n.Event != e.event || !n.Due.Equal(e.at) {
		return nil
	}
	return n
}

// live returns the node of an entry that is not stale and that this World's
// planner decides on.
func (w *World) live(e dueEntry) *Node {
	if w.foreign(e.fleet.name) {
		return nil
	}
	return e.node()
}

// foreign reports whether a fleet lives in another shard: every planner
// remembers shard 0, but decides on its own fleets alone.
func (w *World) foreign(fleetName string) bool {
	p := w.places[fleetName]
	return p != nil && p.Shard != w.shard && w.shard != EveryShard
}

// idle reports whether nothing is to be done by oneself: before the yard's
// record was seen, and while it only observes.
func (w *World) idle() bool { return w.yard == nil || w.yard.ObserveOnly }

// NextDue returns when the planner has to act by itself next; a zero time
// means at once.
func (w *World) NextDue() (time.Time, bool) {
	if w.idle() {
		return time.Time{}, false
	}
	if len(w.wakeable(1)) > 0 || len(w.unfinished(1)) > 0 {
		return time.Time{}, true
	}
	for len(w.due) > 0 {
		if w.live(w.due[0]) != nil {
			return w.due[0].at, true
		}
		heap.Pop(&w.due)
	}
	return time.Time{}, false
}

// Overdue returns at most limit inputs for what is overdue: deadlines that
// have passed, pending nodes whose missing address has become free, and
// fleets that could change and that no step message is under way for (a yard
// that resumes). They come again until a decision on them was put.
func (w *World) Overdue(now time.Time, limit int) []Input {
	if w.idle() {
		return nil
	}
	var out []Input
	for _, n := range w.wakeable(limit) {
		out = append(out, dueInput(n))
	}
	for _, name := range w.unfinished(limit - len(out)) {
		out = append(out, Input{ID: "due." + name, Fleet: name, Step: &Step{}})
	}
	taken := map[dueEntry]bool{} // an undo may have pushed an entry twice
	for len(w.due) > 0 && len(out) < limit && !w.due[0].at.After(now) {
		e, _ := heap.Pop(&w.due).(dueEntry)
		if n := w.live(e); n != nil && !taken[e] {
			taken[e] = true
			out = append(out, dueInput(n))
		}
	}
	for e := range taken {
		heap.Push(&w.due, e)
	}
	return out
}

func dueInput(n *Node) Input {
	return Input{
		ID:    fmt.Sprintf("due.%s.%s.%d", n.Fleet, n.Key(), n.Event),
		Fleet: n.Fleet,
		Due:   &Due{Node: n.Key(), Event: n.Event},
	}
}

// wakeable returns at most limit nodes that wait for addresses which are free
// now. It is derived from the records, not from what was freed, so nothing
// that happens between two planners can lose a wake-up.
func (w *World) wakeable(limit int) []*Node {
	if len(w.starved) == 0 {
		return nil
	}
	room := map[string]int{}
	for name, net := range w.networks {
		if w.Network(name) != nil {
			room[name] = net.free.count
		}
	}
	pools := slices.SortedFunc(maps.Keys(w.starved), func(a, b *pool) int {
		return cmp.Or(cmp.Compare(w.starved[a].name, w.starved[b].name), cmp.Compare(a.name, b.name))
	})
	var out []*Node
	for _, p := range pools {
		if w.foreign(w.starved[p].name) {
			continue
		}
		for i := range p.starved.all {
			if len(out) == limit {
				return out
			}
			missing := w.missing(p.nodes[i])
			if !takeOne(room, missing) {
				if len(missing) == len(staticRefs(w.poolOf(p.nodes[i]))) {
					break // the rest of the pool misses no less
				}
				continue
			}
			out = append(out, p.nodes[i])
		}
	}
	return out
}

// takeOne takes one address of each network if all have one: with one of two
// a node would only fall asleep again.
func takeOne(room map[string]int, names []string) bool {
	for _, name := range names {
		if room[name] == 0 {
			return false
		}
	}
	for _, name := range names {
		room[name]--
	}
	return true
}

// unfinished returns at most limit fleets that have something to do now,
// although nothing is under way that would make a decision on them.
func (w *World) unfinished(limit int) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(w.fleets)) {
		if len(out) >= limit {
			break
		}
		if !w.foreign(name) && w.unfinishedFleet(w.fleets[name]) {
			out = append(out, name)
		}
	}
	return out
}

func (w *World) unfinishedFleet(f *fleetState) bool {
	if f.record == nil || f.record.Deleted || f.record.Stepping || f.spec() == nil {
		return false
	}
	if w.halted(f.name) {
		return f.record.CallBack
	}
	return f.waiting() || f.unfinished()
}

func (f *fleetState) unfinished() bool {
	total := 0
	for _, name := range f.poolNames() {
		p := f.pools[name]
		if p == nil {
			p = &pool{name: name}
		}
		if kind, _ := p.next(f.course(name)); kind != stepNone {
			return true
		}
		total += p.total() + p.preserved.count
	}
	return f.record.Deleting && total == 0
}
