package ledger

import (
	"log/slog"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/bus/embedded"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// TestAuditReleasesOrphans has a claim whose planner died before it wrote
// the node that was to own it.
func TestAuditReleasesOrphans(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	log := slog.New(slog.DiscardHandler)
	conn, err := bus.Connect(t.Context(), s.Config("", ""), "test", log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if err := bus.Init(t.Context(), conn, subject.Topology{Shards: 1, ShardBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	orphan := &plan.Claim{Kind: plan.ClaimAddress, Thing: "dmz/10.0.0.7", Fleet: "gone", FleetUID: "u", Node: "w-0", Since: time.Now()}
	m, err := wire.Record(orphan, nil)
	if err != nil {
		t.Fatal(err)
	}
	of := subject.Claim(orphan.Kind, orphan.Thing)
	if _, err := conn.Publish(t.Context(), bus.Rollup(bus.NewMsg(of, m))); err != nil {
		t.Fatal(err)
	}
	grace := time.Hour
	p := NewPlanner(PlannerConfig{
		Conn: conn, Instance: "p1", Log: log, Policy: func(p *plan.Policy) { p.ClaimGrace = grace },
		Now: time.Now,
	})
	var group errgroup.Group
	group.Go(func() error { return p.Run(t.Context()) })
	t.Cleanup(func() { _ = group.Wait() })
	stored := func() *bus.Message {
		t.Helper()
		last, err := conn.LeaderLast(t.Context(), subject.ShardStream(0), of)
		if err != nil {
			t.Fatal(err)
		}
		return last
	}
	for !p.Status().Active {
		time.Sleep(5 * time.Millisecond) // the test's own deadline bounds this
	}
	p.audit(t.Context())
	if len(stored().Data) == 0 {
		t.Fatal("a claim was released within its grace")
	}
	p.mirror.Alone(func(w *plan.World) { w.Policy.ClaimGrace = 0 })
	p.audit(t.Context())
	if len(stored().Data) != 0 {
		t.Error("a claim without an owner was not released")
	}
}
