package plan

import (
	"fmt"
	"testing"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// TestLargeChangesGoInSteps takes a large fleet through all that touches many
// nodes at once; the yard's own check holds every outcome to one batch.
func TestLargeChangesGoInSteps(t *testing.T) {
	t.Parallel()
	const count = 1000
	y := newYard(t)
	pool := testPool("a", count)
	for i := range 9 { // claims are a batch too
		name := fmt.Sprintf("n%d", i)
		y.w.Put(&Network{Document: testNetwork(name, fmt.Sprintf("10.%d.0.10-10.%d.200.250", i, i))})
		pool.Networks = append(pool.Networks, fleet.PoolNetwork{Ref: name})
	}
	doc := reckless(testFleet(pool))
	doc.Spec.Rollout.MaxUnavailable = new(count)
	y.send(applyCommand("first", doc))
	y.counts(t, PoolCounts{Pool: "a", Target: count, Present: count, Waiting: count})
	y.send(applyCommand("while rendering", newer(doc)))
	y.wait(days)
	y.counts(t, PoolCounts{Pool: "a", Target: count, Present: count, Ready: count})
	y.send(applyCommand("when ready", newer(newer(doc))))
	y.counts(t, PoolCounts{Pool: "a", Target: count, Present: count, Recycling: count})
	for i := range count {
		y.mishap(NodeKey("a", i), ActionRender, &Failure{Kind: fault.Permanent, Reason: fault.ConfigRefused})
	}
	y.wait(days)
	y.counts(t, PoolCounts{Pool: "a", Target: count, Present: count, Failed: count})
	for i := 0; len(y.w.DeadLetters()) > 0; i++ {
		y.send(command("web", Command{ID: fmt.Sprintf("retry%d", i), Retry: &RetryNodes{}}))
	}
	y.wait(days)
	y.counts(t, PoolCounts{Pool: "a", Target: count, Present: count, Ready: count})
	y.send(command("web", Command{ID: "down", Scale: &Scale{Pool: "a", Target: 1}}))
	y.counts(t, PoolCounts{Pool: "a", Target: 1, Present: 1, Ready: 1, Leaving: count - 1})
	y.send(command("web", Command{ID: "gone", DeleteFleet: &DeleteFleet{Name: "web"}}))
	y.wait(days)
	if f := y.w.Fleet("web"); !f.Deleted || len(y.w.Claims()) > 12 {
		t.Errorf("fleet %+v with %d claims; want it deleted with those of its names left to the audit", f, len(y.w.Claims()))
	}
}

func (y *yard) counts(t *testing.T, want PoolCounts) {
	t.Helper()
	if got := y.w.Pools("web")[0]; got != want {
		t.Fatalf("the pool is %+v; want %+v", got, want)
	}
}
