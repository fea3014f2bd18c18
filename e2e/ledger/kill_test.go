//go:build e2e

// Package ledger tries the ledger alone: the real planner and the real work
// loop on a real nats-server, with machines that are files, under kills,
// freezes and power cuts.
package ledger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/e2e/machines"
	"yardmaster.dev/e2e/replay"
	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/proto/subject"
)

// yard is everything that runs in one of these tests.
type yard struct {
	tb       testing.TB
	bus      *harness.Bus
	planners []*harness.Proc
	workers  []*harness.Proc
	machines machines.Folder
	driver   *driver
	fleets   []*fleetModel
	limits   map[string]replay.Limits
	conn     *bus.Conn // the watcher's
}

func newYard(tb testing.TB, o harness.BusOptions, fleets ...*fleetModel) *yard {
	tb.Helper()
	y := &yard{
		tb: tb, fleets: fleets, limits: map[string]replay.Limits{},
		machines: machines.Folder(filepath.Join(harness.Dir(tb), "machines")),
	}
	if err := os.MkdirAll(string(y.machines), 0o755); err != nil {
		tb.Fatal(err)
	}
	for _, f := range fleets {
		r := f.doc.Spec.Rollout
		y.limits[f.doc.Metadata.Name] = replay.Limits{MaxUnavailable: *r.MaxUnavailable, MaxSurge: *r.MaxSurge}
	}
	y.bus = harness.StartBus(tb, o)
	for i := range 2 {
		y.planners = append(y.planners, harness.StartService(tb, "planner", fmt.Sprintf("planner-%d", i), y.bus.ServiceArgs("planner")...))
		y.workers = append(y.workers, harness.Start(tb, harness.Spec{
			Name: fmt.Sprintf("worker-%d", i), Path: harness.Binary(tb, "fakeworker"), Revive: true,
			Args: []string{
				"--url", y.bus.URL(), "--users", filepath.Join(y.bus.Dir, "users"), "--machines", string(y.machines),
				"--name", fmt.Sprintf("worker-%d", i), "--slots", "32", "--trouble", "0.02",
			},
		}))
	}
	y.driver = &driver{tb: tb, conn: y.bus.Connect(tb, subject.UserGateway), dir: y.machines, phoned: map[string]bool{}}
	y.conn = y.bus.Connect(tb, subject.UserWatcher)
	return y
}

func (y *yard) shardOf(name string) int {
	for _, f := range y.fleets {
		if f.doc.Metadata.Name == name {
			return f.shard
		}
	}
	return 0
}

// bringUp applies the fleets, undisturbed, and returns transitions per second.
func (y *yard) bringUp(ctx context.Context) {
	y.tb.Helper()
	start := time.Now()
	y.driver.start(ctx, y.fleets)
	l := y.settle(ctx, 2*time.Minute)
	took := time.Since(start)
	y.tb.Logf("bring-up: %d nodes, %d transitions in %.1f s: %.0f transitions/s",
		len(l.Nodes), l.Events(), took.Seconds(), float64(l.Events())/took.Seconds())
}

// settle waits until nothing is under way and returns the ledger as it is then.
func (y *yard) settle(ctx context.Context, within time.Duration) *replay.Ledger {
	y.tb.Helper()
	var l *replay.Ledger
	err := harness.Poll(within, func() error {
		var err error
		if l, err = replay.Load(ctx, y.conn.NATS(), y.bus.Topology.Shards); err != nil {
			return err
		}
		if open := l.Settled(); len(open) > 0 {
			return fmt.Errorf("%d things are under way, such as %s", len(open), open[0])
		}
		return nil
	})
	if err != nil {
		y.tb.Errorf("not settled within %s: %v", within, err)
		if l != nil {
			show(y.tb, "under way", l.Settled())
		}
	}
	return l
}

func show(tb testing.TB, what string, lines []string) {
	tb.Helper()
	for i, line := range lines {
		if i == 20 {
			tb.Errorf("%s: and %d more", what, len(lines)-i)
			return
		}
		tb.Errorf("%s: %s", what, line)
	}
}

// unrest applies revisions and scales until ctx ends.
func (y *yard) unrest(ctx context.Context, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	for ctx.Err() == nil {
		f := y.fleets[r.IntN(len(y.fleets))]
		if r.IntN(3) == 0 {
			y.driver.roll(ctx, f)
		} else {
			y.driver.scale(ctx, f, r)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(500+r.IntN(2500)) * time.Millisecond):
		}
	}
}

// endure rages with faults while the fleets change all the time.
func (y *yard) endure(ctx context.Context, storm *harness.Storm, faults int, least, most time.Duration) {
	y.tb.Helper()
	var group sync.WaitGroup
	unrest, calm := context.WithCancel(ctx)
	group.Go(func() { y.unrest(unrest, 7) })
	start := time.Now()
	for range faults {
		storm.Rage(least, most)
	}
	calm()
	group.Wait()
	storm.Wait()
	y.tb.Logf("%s in %.0f s", storm, time.Since(start).Seconds())
}

// verify checks everything that must hold at the end.
func (y *yard) verify(l *replay.Ledger) {
	y.tb.Helper()
	show(y.tb, "broken promise", l.Check(y.limits))
	all, err := y.machines.All()
	if err != nil {
		y.tb.Fatal(err)
	}
	live := 0
	for name, n := range l.Nodes {
		if n.GetState() == "deleted" {
			continue
		}
		live++
		m, ok := all[name]
		if !ok {
			y.tb.Errorf("%s is %s and has no machine", name, n.GetState())
		} else if m.UUID != n.GetMachineUuid() || m.Incarnation != int(n.GetIncarnation()) {
			y.tb.Errorf("%s: machine %s of incarnation %d; the record says %s, %d",
				name, m.UUID, m.Incarnation, n.GetMachineUuid(), n.GetIncarnation())
		}
	}
	if len(all) != live {
		y.tb.Errorf("%d machines for %d nodes", len(all), live)
	}
	for _, f := range y.fleets {
		if got := l.Fleets[f.doc.Metadata.Name].GetTargets()[pool]; int(got) != f.target {
			y.tb.Errorf("fleet %s: the target is %d; the accepted commands say %d", f.doc.Metadata.Name, got, f.target)
		}
	}
	for _, p := range append(append([]*harness.Proc{}, y.planners...), y.workers...) {
		for _, d := range p.Deaths() {
			y.tb.Errorf("ended by itself: %s\n%s", d, p.Tail(5))
		}
	}
	y.tb.Logf("%d nodes, %d events, %d commands (%d stored twice)", live, l.Events(), y.driver.sent, y.driver.twice)
}

// A thousand nodes, at least a hundred kills, freezes and power cuts, and
// fleets that change all the while: nothing is lost, doubled or stuck.
func TestLedgerUnderKills(t *testing.T) {
	volume, err := harness.NewVolume(t, "disk", 16<<10)
	power := harness.Need(t, "powercut", err)
	o := harness.BusOptions{Topology: subject.Topology{Shards: 1, Sites: []string{"dc1"}}}
	if power {
		o.Store = volume.Path()
	}
	y := newYard(t, o, newFleet("keep", 500, 50, 0), newFleet("surge", 500, 25, 25))
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	group.Go(func() { y.driver.guests(ctx, y.shardOf) })
	y.bringUp(ctx)

	storm := harness.NewStorm(t)
	storm.With(
		harness.Killing("server", 4, y.bus.Servers[0]),
		harness.Killing("planner", 4, y.planners...),
		harness.Killing("worker", 3, y.workers...),
		storm.Freezing("server", 1, time.Second, 4*time.Second, y.bus.Servers[0]),
		storm.Freezing("planner", 2, time.Second, 6*time.Second, y.planners...),
		storm.Freezing("worker", 2, time.Second, 6*time.Second, y.workers...),
	)
	if power {
		storm.With(harness.CuttingPower(3, volume, y.bus.Servers[0]))
	}
	y.endure(ctx, storm, 110, 500*time.Millisecond, 4*time.Second)
	y.verify(y.settle(ctx, 3*time.Minute))
}
