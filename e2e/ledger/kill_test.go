//go:build e2e

// Package ledger tries the ledger alone, with machines that are files, under
// kills, freezes, power cuts and partitions.
package ledger

import (
	"context"
	"sync"
	"testing"
	"time"

	"yardmaster.dev/e2e/fakeyard"
	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/proto/subject"
)

// A thousand nodes, at least a hundred kills, freezes and power cuts, and
// fleets that change all the while: nothing is lost, doubled or stuck.
func TestLedgerUnderKills(t *testing.T) {
	volume, err := harness.NewVolume(t, "disk", 16<<10)
	power := harness.Need(t, "powercut", err)
	o := fakeyard.Options{Slots: 32, Trouble: 0.02}
	if power {
		o.Bus.Store = volume.Path()
	}
	y := fakeyard.New(t, o)
	ctx := guests(t, y)
	bringUp(ctx, t, y)

	storm := harness.NewStorm(t)
	storm.With(
		harness.Killing("server", 4, y.Bus.Servers[0]),
		harness.Killing("planner", 4, y.Planners...),
		harness.Killing("worker", 3, y.Workers...),
		storm.Freezing("server", 1, time.Second, 4*time.Second, y.Bus.Servers[0]),
		storm.Freezing("planner", 2, time.Second, 6*time.Second, y.Planners...),
		storm.Freezing("worker", 2, time.Second, 6*time.Second, y.Workers...),
	)
	if power {
		storm.With(harness.CuttingPower(3, volume, y.Bus.Servers[0]))
	}
	y.Endure(ctx, storm, harness.Faults(110), 500*time.Millisecond, 4*time.Second)
	y.Verify(y.Settle(ctx, 3*time.Minute))
}

// Four shards that share addresses and names through the first one, under
// fewer faults.
func TestLedgerOnFourShards(t *testing.T) {
	y := fakeyard.New(t, fakeyard.Options{Slots: 16, Trouble: 0.02, Bus: harness.BusOptions{
		Topology: subject.Topology{Shards: 4, Sites: []string{"dc1"}},
	}})
	ctx := guests(t, y)
	var fleets []*fakeyard.Fleet
	for _, name := range []string{"north", "east", "south", "west"} {
		fleets = append(fleets, fakeyard.NewFleet(name, 60, 6, 3))
	}
	n, took := y.BringUp(ctx, fleets...)
	t.Logf("bring-up: 240 nodes on 4 shards, %d transitions in %.2f s", n, took.Seconds())
	storm := harness.NewStorm(t)
	storm.With(
		harness.Killing("server", 2, y.Bus.Servers[0]),
		harness.Killing("planner", 3, y.Planners...),
		harness.Killing("worker", 1, y.Workers...),
		storm.Freezing("planner", 2, time.Second, 6*time.Second, y.Planners...),
	)
	y.Endure(ctx, storm, harness.Faults(15), 500*time.Millisecond, 3*time.Second)
	y.Verify(y.Settle(ctx, 3*time.Minute))
}

// guests lets machines phone home until the test ends.
func guests(t *testing.T, y *fakeyard.Yard) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		group.Wait()
	})
	group.Go(func() { y.Guests(ctx) })
	return ctx
}

// bringUp makes a thousand nodes undisturbed, in two fleets: one keeps its
// names in a roll-out, the other makes new nodes first.
func bringUp(ctx context.Context, t *testing.T, y *fakeyard.Yard) {
	t.Helper()
	n, took := y.BringUp(ctx, fakeyard.NewFleet("keep", 500, 50, 0), fakeyard.NewFleet("surge", 500, 25, 25))
	t.Logf("bring-up: 1000 nodes, %d transitions in %.2f s: %.0f transitions/s", n, took.Seconds(), float64(n)/took.Seconds())
}
