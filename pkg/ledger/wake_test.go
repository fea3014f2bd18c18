package ledger_test

import (
	"testing"
	"time"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
)

// What sets a planner to work when nothing comes in: deadlines, steps and
// changes of shard 0. Each of these tests has no planner at the moment that
// matters.

func TestDeadlineActsAfterRestart(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.policy = func(p *plan.Policy) {
		testPolicy(p)
		p.Render, p.Queue = time.Second, 0
	}
	stop := y.planners("p1")
	y.documents()
	y.apply("c1", document("web", 2)) // and nobody renders
	jobs := func(w *plan.World) int64 {
		n := w.Node("web", "w-0")
		if n == nil || n.Job == nil {
			return 0
		}
		return n.Job.Number
	}
	var first int64
	y.wait("the first job", func(w *plan.World) bool { first = jobs(w); return first != 0 })
	stop()
	y.planners("p2")
	y.wait("another attempt", func(w *plan.World) bool {
		n := w.Node("web", "w-0")
		return n.Attempt > 1 && n.Event > first
	})
	y.workers(4)
	y.settled("web", 2)
	y.verify()
}

func TestFanOutGoesOnAfterRestart(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	stop := y.planners("p1")
	y.documents()
	doc := document("web", 120)
	everything := 120
	doc.Spec.Rollout.MaxUnavailable = &everything
	y.apply("c1", doc)
	stop() // after a step or two of 16 nodes each
	y.mirror.View(func(w *plan.World) {
		t.Logf("%d nodes were made before the restart", w.NodeCount())
	})
	y.planners("p2")
	y.wait("all nodes", func(w *plan.World) bool { return w.NodeCount() == 120 })
	y.workers(32)
	y.settled("web", 120)
	y.verify()
}

func TestShardZeroWakesAfterRestart(t *testing.T) {
	t.Parallel()
	y := newYard(t, 2)
	y.start(y.planner("p0", 0).Run)
	stop := y.start(y.planner("p1", 1).Run)
	y.workers(8)
	y.documents()
	small := fleet.Network{
		APIVersion: fleet.APIVersion, Kind: fleet.KindNetwork, Metadata: fleet.Metadata{Name: "small"},
		Spec: fleet.NetworkSpec{Subnet: "10.9.0.0/24", Range: "10.9.0.10-10.9.0.11", Gateway: "10.9.0.1"},
	}
	y.accepted(0, plan.YardScope, &plan.Command{ID: "small", ApplyNetwork: &small})
	names := []string{"one", "two"}
	far := ""
	for _, name := range names {
		y.accepted(0, plan.YardScope, &plan.Command{ID: "place-" + name, Place: &plan.PlaceFleet{Name: name}})
		y.wait("place", func(w *plan.World) bool { return w.Place(name) != nil })
		if y.shardOf(name) == 1 {
			far = name
		}
	}
	if far == "" {
		t.Fatal("no fleet was placed in shard 1")
	}
	doc := document(far, 4)
	doc.Spec.Pools[0].Networks = []fleet.PoolNetwork{{Ref: "small"}}
	y.apply("c1", doc)
	y.wait("two nodes ready, two waiting", func(w *plan.World) bool { return ready(w, far) == 2 })
	stop()
	larger := small
	larger.Spec.Range = "10.9.0.10-10.9.0.20"
	y.accepted(0, plan.YardScope, &plan.Command{ID: "larger", ApplyNetwork: &larger})
	y.start(y.planner("p1 again", 1).Run)
	y.settled(far, 4)
	y.noClaimTwice()
	y.verify()
}
