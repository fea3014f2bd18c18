//go:build e2e

package ledger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"yardmaster.dev/e2e/fakeyard"
	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/proto/subject"
)

// leader returns the number of the server that leads the first shard, 0 when
// nobody knows.
func leader(ctx context.Context, y *fakeyard.Yard) int {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	s, err := y.Conn.JS().Stream(ctx, subject.ShardStream(0))
	if err != nil {
		return 0
	}
	info := s.CachedInfo()
	if info.Cluster == nil {
		return 0
	}
	for i := range y.Bus.Servers {
		if info.Cluster.Leader == fmt.Sprintf("n%d", i) {
			return i
		}
	}
	return 0
}

// leading is a fault at the server that leads.
func leading(y *fakeyard.Yard, name string, weight int, do func(i int, r *rand.Rand) error) harness.Fault {
	return harness.Fault{Name: name, Weight: weight, Do: func(r *rand.Rand) error {
		return do(leader(context.Background(), y), r)
	}}
}

// The same on three servers: leaders killed, frozen and cut off for 15 s.
func TestLedgerOnThreeServers(t *testing.T) {
	if os.Getenv("YARD_E2E_LONG") == "" {
		t.Skip("a long proof: make e2e-long")
	}
	island, err := harness.NewIsland(t, 3)
	if !harness.Need(t, "partition", err) {
		return
	}
	y := fakeyard.New(t, fakeyard.Options{Slots: 32, Trouble: 0.02, Bus: harness.BusOptions{
		Topology: subject.Topology{Shards: 1, Sites: []string{"dc1"}, Replicas: 3},
		Nets:     island.Nets,
	}})
	ctx := guests(t, y)
	bringUp(ctx, t, y)

	storm := harness.NewStorm(t)
	storm.With(
		leading(y, "kill leader", 4, func(i int, _ *rand.Rand) error {
			y.Bus.Servers[i].Kill()
			time.Sleep(time.Second)
			y.Bus.Servers[i].Start()
			return nil
		}),
		leading(y, "freeze leader 8-12 s", 2, func(i int, r *rand.Rand) error {
			y.Bus.Servers[i].Freeze()
			time.Sleep(8*time.Second + time.Duration(r.IntN(4000))*time.Millisecond)
			y.Bus.Servers[i].Thaw()
			return nil
		}),
		leading(y, "cut leader off 15 s", 2, func(i int, _ *rand.Rand) error {
			if err := island.Cut(i); err != nil {
				return err
			}
			time.Sleep(15 * time.Second)
			return island.Heal(i)
		}),
		harness.Fault{Name: "kill all servers", Weight: 1, Do: func(*rand.Rand) error {
			for _, s := range y.Bus.Servers {
				s.Kill()
			}
			for _, s := range y.Bus.Servers {
				s.Start()
			}
			return nil
		}},
		harness.Killing("server", 2, y.Bus.Servers...),
		harness.Killing("planner", 3, y.Planners...),
		harness.Killing("worker", 2, y.Workers...),
		storm.Freezing("planner", 2, time.Second, 6*time.Second, y.Planners...),
	)
	y.Endure(ctx, storm, harness.Faults(60), 3*time.Second, 9*time.Second)
	y.Verify(y.Settle(ctx, 5*time.Minute))
}
