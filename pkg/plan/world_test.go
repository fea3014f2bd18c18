package plan

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// dump writes all that a World knows and has derived, so that two Worlds can
// be compared. The heap of deadlines is compared by what it would return.
func dump(w *World) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("yard %+v, %d nodes, %d dated, queued %v", w.yard, w.nodes, w.dated, w.queued)
	for _, name := range slices.Sorted(maps.Keys(w.fleets)) {
		f := w.fleets[name]
		p("fleet %s %+v revisions %v dead %v receipts %v", name, f.record,
			slices.Sorted(maps.Keys(f.revs)), slices.Sorted(maps.Keys(f.dead)), slices.Sorted(maps.Keys(f.receipts)))
		for _, pool := range slices.Sorted(maps.Keys(f.pools)) {
			dumpPool(p, f.pools[pool])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.networks)) {
		n := w.networks[name]
		p("network %s %+v free %v held %v", name, n.record, slices.Collect(n.free.all), slices.Sorted(maps.Keys(maps.Collect(n.held.all))))
	}
	for _, c := range w.Claims() {
		p("claim %+v", *c)
	}
	for _, h := range slices.SortedFunc(maps.Keys(w.loose), func(a, b holder) int {
		return cmp.Or(cmp.Compare(a.fleet, b.fleet), cmp.Compare(a.node, b.node), cmp.Compare(a.network, b.network))
	}) {
		for _, c := range w.loose[h] {
			p("loose %v %s", h, c.Thing)
		}
	}
	p("uses %v, places %v, sites %v, starved %d", w.uses, slices.Sorted(maps.Keys(w.places)), slices.Sorted(maps.Keys(w.sites)), len(w.starved))
	next, ok := w.NextDue()
	p("next due %s %v", next, ok)
	overdue := w.Overdue(start.Add(1000*time.Hour), 10_000)
	slices.SortFunc(overdue, func(a, b Input) int { return cmp.Compare(a.ID, b.ID) })
	for _, in := range overdue {
		p("overdue %s", in.ID)
	}
	return b.String()
}

func dumpPool(p func(string, ...any), pool *pool) {
	p("  pool %s doomed %d deleted %d counts %v free %v starved %v", pool.name, pool.doomed, pool.deleted, pool.counts,
		slices.Collect(pool.free.all), slices.Collect(pool.starved.all))
	keys := slices.SortedFunc(maps.Keys(pool.groups), func(a, b groupKey) int {
		return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
	for _, key := range keys {
		for c := range pool.groups[key].sets {
			p("    group %v class %d: %v", key, c, slices.Collect(pool.groups[key].sets[c].all))
		}
	}
	for _, n := range pool.nodes {
		if n != nil {
			p("    node %+v job %+v", *n, n.Job)
		}
	}
}

// drawStep is one thing that can happen in a yard, drawn by a property test.
func drawStep(t *rapid.T, y *yard, doc *fleet.Fleet) {
	switch rapid.IntRange(0, 10).Draw(t, "step") {
	case 10:
		*doc = larger(*doc)
		y.hot = Hot{CPU: rapid.Bool().Draw(t, "hot")}
		y.send(applyCommand(fmt.Sprintf("l%d", len(y.events)), *doc))
	case 0:
		*doc = reckless(newer(*doc))
		y.send(applyCommand(fmt.Sprintf("a%d", len(y.events)), *doc))
	case 1:
		i := rapid.IntRange(0, len(doc.Spec.Pools)-1).Draw(t, "pool")
		doc.Spec.Pools = slices.Clone(doc.Spec.Pools)
		doc.Spec.Pools[i].Replicas = rapid.IntRange(0, 6).Draw(t, "replicas")
		y.send(applyCommand(fmt.Sprintf("r%d", len(y.events)), *doc))
	case 2:
		y.send(command(doc.Metadata.Name, Command{
			ID:    fmt.Sprintf("s%d", len(y.events)),
			Scale: &Scale{Pool: doc.Spec.Pools[0].Name, Target: rapid.IntRange(0, 6).Draw(t, "target")},
		}))
	case 3:
		y.send(command(doc.Metadata.Name, Command{ID: fmt.Sprintf("t%d", len(y.events)), Retry: &RetryNodes{}}))
	case 4:
		y.wait(time.Duration(rapid.IntRange(1, 1200).Draw(t, "seconds")) * time.Second)
	case 5:
		if n := drawNode(t, y, doc.Metadata.Name); n != nil {
			y.send(Input{ID: "obs", Fleet: n.Fleet, Observation: &Observation{Node: n.Key(), Incarnation: n.Incarnation, Lost: true}})
		}
	case 6:
		if len(y.jobs) > 0 {
			j := y.jobs[rapid.IntRange(0, len(y.jobs)-1).Draw(t, "job")]
			kind := rapid.SampledFrom([]fault.Kind{fault.Transient, fault.Busy, fault.Permanent}).Draw(t, "kind")
			y.mishap(j.Node, j.Action, &Failure{Kind: kind, Reason: fault.NoSpace})
		}
	default:
		y.work()
	}
}

func drawNode(t *rapid.T, y *yard, name string) *Node {
	var all []*Node
	for n := range y.w.Nodes(name) {
		all = append(all, n)
	}
	if len(all) == 0 {
		return nil
	}
	return all[rapid.IntRange(0, len(all)-1).Draw(t, "node")]
}

func drawFleet(t *rapid.T) fleet.Fleet {
	doc := testFleet(testPool("a", rapid.IntRange(0, 5).Draw(t, "a")), testPool("b", rapid.IntRange(0, 3).Draw(t, "b")))
	doc.Spec.Rollout = fleet.Rollout{
		MaxUnavailable: new(rapid.IntRange(0, 2).Draw(t, "unavailable")),
		MaxSurge:       new(rapid.IntRange(0, 2).Draw(t, "surge")),
	}
	if *doc.Spec.Rollout.MaxUnavailable+*doc.Spec.Rollout.MaxSurge == 0 {
		doc.Spec.Rollout = fleet.Rollout{}
	}
	doc.Spec.Retry.Attempts = 2
	doc.Spec.Pools[1].Stable = true
	return reckless(doc)
}

// tightYard has hardly enough addresses.
func tightYard(tb tester, addresses string) *yard {
	y := newYard(tb)
	y.w.Policy.Chunk = 3
	y.w.Put(&Network{Document: testNetwork("dmz", addresses)})
	return y
}

// TestDecideLeavesTheWorldAlone: the records that a decision tries out are
// taken out again exactly, and so is every Put by its undo.
func TestDecideLeavesTheWorldAlone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		y := tightYard(t, "10.0.0.10-10.0.0.15")
		doc := drawFleet(t)
		y.send(applyCommand("first", doc))
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			drawStep(t, y, &doc)
			in := applyCommand(fmt.Sprintf("x%d", len(y.events)), newer(doc))
			before := dump(y.w)
			out, err := Decide(y.w, in, y.now)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(before, dump(y.w)); diff != "" {
				t.Fatalf("Decide left its traces:\n%s", diff)
			}
			var undo []func()
			for _, c := range out.Claims {
				undo = append(undo, y.w.Put(c))
			}
			for _, r := range out.Records {
				undo = append(undo, y.w.Put(r))
			}
			for _, u := range slices.Backward(undo) {
				u()
			}
			if diff := gocmp.Diff(before, dump(y.w)); diff != "" {
				t.Fatalf("the undos left traces:\n%s", diff)
			}
		}
	})
}

// TestLoadOrderDoesNotMatter: a World that is filled from the records in any
// order is the World that saw them being made.
func TestLoadOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		y := tightYard(t, "10.0.0.10-10.0.0.15")
		doc := drawFleet(t)
		y.send(applyCommand("first", doc))
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			drawStep(t, y, &doc)
		}
		records := everything(y.w)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 0))
		rng.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		w := NewWorld(0)
		for _, r := range records {
			w.Put(r)
		}
		if diff := gocmp.Diff(dump(y.w), dump(w)); diff != "" {
			t.Fatalf("the loaded World is another one:\n%s", diff)
		}
	})
}

// everything returns every record of a World.
func everything(w *World) []Record {
	records := []Record{w.Yard()}
	for _, f := range w.fleets {
		if f.record != nil {
			records = append(records, f.record)
		}
		for _, r := range f.revs {
			records = append(records, r.record)
		}
		for _, r := range f.receipts {
			records = append(records, r)
		}
		for _, r := range f.dead {
			records = append(records, r)
		}
		for n := range w.Nodes(f.name) {
			records = append(records, n)
		}
	}
	for _, c := range w.Claims() {
		records = append(records, c)
	}
	for _, r := range w.Sites() {
		records = append(records, r)
	}
	for _, r := range w.Networks() {
		records = append(records, r)
	}
	return records
}

// TestForeignFleetsAreLeftAlone: a planner remembers shard 0 and never acts
// on its fleets.
func TestForeignFleetsAreLeftAlone(t *testing.T) {
	t.Parallel()
	y := tightYard(t, "10.0.0.10-10.0.0.10")
	y.send(applyCommand("first", testFleet(testPool("a", 3))))
	for _, c := range []struct {
		place, shard int
		want         bool
	}{{0, 0, true}, {0, 1, false}, {1, 1, true}, {0, EveryShard, true}} {
		w := NewWorld(c.shard)
		for _, r := range append(everything(y.w), &Place{Fleet: "web", Shard: c.place}) {
			w.Put(r)
		}
		w.Put(&Network{Document: testNetwork("dmz", "10.0.0.10-10.0.0.99")}) // wakes who waits
		_, due := w.NextDue()
		if got := len(w.Overdue(start.Add(days), 100)) > 0; got != c.want || due != c.want {
			t.Errorf("fleet in shard %d, World of shard %d: acts %v, NextDue %v; want %v", c.place, c.shard, got, due, c.want)
		}
	}
}

// TestMissingRevisionDestroysNothing: a memory that lacks a fleet's newest
// revision must not take its nodes for ones too many.
func TestMissingRevisionDestroysNothing(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.send(applyCommand("first", testFleet(testPool("a", 3))))
	y.run()
	w := NewWorld(0)
	for _, r := range everything(y.w) {
		if _, ok := r.(*Revision); !ok {
			w.Put(r)
		}
	}
	if due := w.Overdue(start.Add(days), 10); len(due) > 0 {
		t.Errorf("Overdue = %v; want nothing", due)
	}
	for _, in := range []Input{
		{ID: "step", Fleet: "web", Step: &Step{}},
		{ID: "obs", Fleet: "web", Observation: &Observation{Node: "a-0", Incarnation: 1, Address: "10.0.0.10"}},
	} {
		if out, err := Decide(w, in, start); err != nil || len(out.Records) > 0 {
			t.Errorf("Decide(%s) = %+v, %v; want nothing", in.ID, out, err)
		}
	}
}

// TestPreviewOnlyReads: gateways answer side by side; the race detector is
// the judge.
func TestPreviewOnlyReads(t *testing.T) {
	t.Parallel()
	w, doc := loaded(t, 100)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			other := newer(doc)
			if p := Preview(w, &other, start); p.Replaces != 100 {
				t.Errorf("the plan is %s", p.Summary())
			}
		})
	}
	wait.Wait()
}
