package plan

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestRepeatedInputsChangeNothing: whatever the yard went through, an input
// that was decided on gives an empty outcome when it comes again, however
// late.
func TestRepeatedInputsChangeNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		y := tightYard(t, "10.0.0.10-10.0.0.15")
		y.keep = true
		doc := drawFleet(t)
		y.send(applyCommand("first", doc))
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			drawStep(t, y, &doc)
		}
		for _, in := range y.sent {
			if in.Step != nil || in.Observation != nil {
				continue // these say what is now, not what happened once
			}
			out, err := Decide(y.w, in, y.now)
			if err != nil || len(out.Records)+len(out.Events)+len(out.Jobs)+len(out.Claims)+len(out.Withdrawn) > 0 {
				t.Fatalf("%s again: %+v, %v", in.ID, out, err)
			}
		}
	})
}

// TestOrderOfResultsDoesNotMatter: nodes that come up side by side end alike
// in whatever order their workers answer.
func TestOrderOfResultsDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		doc := drawFleet(t)
		var want string
		for i := range 3 {
			y := newYard(t)
			y.shuffle = rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 0))
			y.send(applyCommand("first", doc))
			y.run()
			got := y.table("web")
			if i == 0 {
				want = got
			} else if got != want {
				t.Fatalf("another order, another end:\n%s", cmp.Diff(want, got))
			}
		}
	})
}

// days is long enough for every deadline and retry to end.
const days = 3 * 24 * time.Hour

// TestApplyDoesWhatThePlanShowed: from any yard at rest, the nodes that are
// made, replaced and deleted by an apply are those of its preview.
func TestApplyDoesWhatThePlanShowed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		y := newYard(t)
		doc := drawFleet(t)
		y.send(applyCommand("first", doc))
		for range rapid.IntRange(0, 8).Draw(t, "steps") {
			drawStep(t, y, &doc)
		}
		y.mishaps = map[string][]*Failure{}
		y.wait(days)
		drawChange(t, &doc)
		p := Preview(y.w, &doc, y.now)
		if p.Code != "" {
			t.Fatalf("refused: %v", p.Refusals)
		}
		before := present(y.w)
		y.events = nil
		y.send(command("web", Command{ID: "planned", ApplyFleet: &ApplyFleet{Document: doc, PlanBasis: p.Basis}}))
		r := y.mustAccept("web", "planned")
		if r.Revision != p.To || r.Summary != p.Summary() {
			t.Fatalf("accepted revision %d, %s; the plan says %d, %s", r.Revision, r.Summary, p.To, p.Summary())
		}
		y.wait(days)
		checkPlanned(t, y, &p, before)
		if again := Preview(y.w, &doc, y.now); again.Creates+again.Replaces+again.Deletes > 0 && len(y.w.DeadLetters()) == 0 {
			t.Fatalf("it was applied, and the plan is still: %s", again.Summary())
		}
	})
}

func drawChange(t *rapid.T, doc *fleetDocument) {
	if rapid.Bool().Draw(t, "faster") {
		*doc = newer(*doc)
	}
	doc.Spec.Pools = slices.Clone(doc.Spec.Pools)
	if rapid.Bool().Draw(t, "resize") {
		doc.Spec.Pools[0].Replicas = rapid.IntRange(0, 6).Draw(t, "replicas")
	}
	if rapid.IntRange(0, 3).Draw(t, "drop") == 0 {
		doc.Spec.Pools = doc.Spec.Pools[:1]
	}
}

// present are the wanted nodes by key, with their incarnations.
func present(w *World) map[string]int {
	out := map[string]int{}
	for n := range w.Nodes("web") {
		if n.State != Deleted && n.Goal != Absent {
			out[n.Key()] = n.Incarnation
		}
	}
	return out
}

// leavers are the nodes that left for good or to be made anew.
func leavers(events []*Event) map[string]bool {
	out := map[string]bool{}
	for _, e := range events {
		if e.Fact == FactUnwanted || e.Fact == FactOutdated {
			out[e.Node] = true
		}
	}
	return out
}

// blocked reports whether a pool has a node whose removal failed: it counts
// as unavailable until a person has dealt with it, and what was planned behind
// it waits.
func blocked(w *World, poolName string) bool {
	for n := range w.Nodes("web") {
		if n.Pool == poolName && n.State == Failed && n.Goal == Recycle && w.DeadLetter("web", n.Key()) != nil {
			return true
		}
	}
	return false
}

func checkPlanned(t *rapid.T, y *yard, p *Plan, before map[string]int) {
	left := leavers(y.events)
	after := present(y.w)
	kept := maps.Clone(before)
	for _, c := range p.Changes {
		delete(kept, c.Key)
		if c.Action != ChangeCreate && !left[c.Key] && !blocked(y.w, c.Pool) {
			t.Fatalf("%s was planned to go and stayed: %s\n%s", c.Key, p.Summary(), y.table("web"))
		}
		if _, ok := after[c.Key]; c.Action == ChangeCreate && p.Replaces == 0 && !ok {
			t.Fatalf("%s was planned and is not there: %s\n%s", c.Key, p.Summary(), y.table("web"))
		}
	}
	for key, incarnation := range kept {
		if left[key] || after[key] != incarnation {
			t.Fatalf("%s was to be kept and went: %s\n%s", key, p.Summary(), y.table("web"))
		}
	}
	if want := p.Present + p.Creates - p.Deletes; len(after) != want {
		t.Fatalf("%d nodes after %s of %d; want %d\n%s", len(after), p.Summary(), p.Present, want, y.table("web"))
	}
}
