// Package fakeyard is the ledger alone: the real planner and the real work
// loop on a real nats-server, with machines that are files, and a driver that
// plays people, autoscalers and guests.
package fakeyard

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/e2e/machines"
	"yardmaster.dev/e2e/replay"
	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/proto/subject"
)

// Yard is everything that runs.
type Yard struct {
	tb       testing.TB
	Bus      *harness.Bus
	Planners []*harness.Proc
	Workers  []*harness.Proc
	// Conn is the watcher's connection.
	Conn *bus.Conn
	// Metrics is where the first planner shows its own.
	Metrics string

	machines machines.Folder
	driver   *driver
	mu       sync.Mutex
	fleets   []*Fleet
}

// Options says what kind of yard.
type Options struct {
	Bus harness.BusOptions
	// Planners and Workers are how many processes there are, default 2.
	Planners, Workers int
	// Slots is how many jobs of a kind a worker process takes at once.
	Slots int
	// Trouble is the share of first attempts that fail.
	Trouble float64
}

// New starts a yard without fleets.
func New(tb testing.TB, o Options) *Yard {
	tb.Helper()
	y := &Yard{tb: tb, machines: machines.Folder(filepath.Join(harness.Dir(tb), "machines"))}
	if err := os.MkdirAll(string(y.machines), 0o755); err != nil {
		tb.Fatal(err)
	}
	if o.Bus.Topology.Shards == 0 {
		o.Bus.Topology = subject.Topology{Shards: 1, Sites: []string{"dc1"}}
	}
	y.Bus = harness.StartBus(tb, o.Bus)
	ports := harness.Ports(tb, orTwo(o.Planners))
	y.Metrics = "http://" + harness.Addr(ports[0]) + "/metrics"
	for i := range orTwo(o.Planners) {
		name := fmt.Sprintf("planner-%d", i)
		y.Planners = append(y.Planners, harness.StartService(tb, "planner", name,
			append(y.Bus.ServiceArgs(subject.UserPlanner), "--health-listen", harness.Addr(ports[i]))...))
	}
	for i := range orTwo(o.Workers) {
		name := fmt.Sprintf("worker-%d", i)
		y.Workers = append(y.Workers, harness.Start(tb, harness.Spec{
			Name: name, Path: harness.Binary(tb, "fakeworker"), Revive: true,
			Args: []string{
				"--url", y.Bus.URL(), "--users", filepath.Join(y.Bus.Dir, "users"), "--machines", string(y.machines),
				"--name", name, "--slots", strconv.Itoa(o.Slots), "--trouble", fmt.Sprint(o.Trouble),
			},
		}))
	}
	y.driver = &driver{tb: tb, conn: y.Bus.Connect(tb, subject.UserGateway), dir: y.machines}
	y.Conn = y.Bus.Connect(tb, subject.UserWatcher)
	y.driver.documents(tb.Context())
	return y
}

func orTwo(n int) int {
	if n == 0 {
		return 2
	}
	return n
}

// Guests lets every new machine phone home until ctx ends.
func (y *Yard) Guests(ctx context.Context) { y.driver.guests(ctx, y.shardOf) }

func (y *Yard) shardOf(name string) (int, bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, f := range y.fleets {
		if f.Name() == name {
			return f.shard, true
		}
	}
	return 0, false
}

// BringUp applies fleets and returns how many transitions it took to make
// all their nodes ready, and how long.
func (y *Yard) BringUp(ctx context.Context, fleets ...*Fleet) (transitions int, took time.Duration) {
	y.tb.Helper()
	for _, f := range fleets {
		y.driver.place(ctx, f)
	}
	y.mu.Lock()
	y.fleets = append(y.fleets, fleets...)
	y.mu.Unlock()
	start := time.Now()
	for _, f := range fleets {
		y.driver.apply(ctx, f)
	}
	for _, f := range fleets {
		y.driver.awaitSettled(ctx, f)
	}
	took = time.Since(start)
	l, err := replay.Load(ctx, y.Conn.NATS(), y.Bus.Topology.Shards)
	if err != nil {
		y.tb.Fatal(err)
	}
	for _, f := range fleets {
		transitions += l.EventsOf(f.Name(), start.Add(took))
	}
	return transitions, took
}

// Settle waits until nothing is under way and returns the ledger as it is
// then.
func (y *Yard) Settle(ctx context.Context, within time.Duration) *replay.Ledger {
	y.tb.Helper()
	var l *replay.Ledger
	err := harness.Poll(within, func() error {
		var err error
		if l, err = replay.Load(ctx, y.Conn.NATS(), y.Bus.Topology.Shards); err != nil {
			return err
		}
		if open := l.Settled(); len(open) > 0 {
			time.Sleep(time.Second) // a load costs the server something
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

// unrest applies revisions and scales until calm is closed. It always waits
// for the answer to its last command, or it would not know the target.
func (y *Yard) unrest(ctx context.Context, calm <-chan struct{}) {
	r := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // not a secret
	for {
		f := y.fleets[r.IntN(len(y.fleets))]
		if r.IntN(3) == 0 {
			y.driver.roll(ctx, f)
		} else {
			y.driver.scale(ctx, f, r)
		}
		select {
		case <-calm:
			return
		case <-time.After(time.Duration(500+r.IntN(2500)) * time.Millisecond):
		}
	}
}

// Endure rages with faults while the fleets change all the time.
func (y *Yard) Endure(ctx context.Context, storm *harness.Storm, faults int, least, most time.Duration) {
	y.tb.Helper()
	var group sync.WaitGroup
	calm := make(chan struct{})
	group.Go(func() { y.unrest(ctx, calm) })
	start := time.Now()
	for range faults {
		storm.Rage(least, most)
	}
	close(calm)
	group.Wait()
	storm.Wait()
	y.tb.Logf("%s in %.0f s", storm, time.Since(start).Seconds())
}

// Verify checks everything that must hold at the end.
func (y *Yard) Verify(l *replay.Ledger) {
	y.tb.Helper()
	limits := map[string]replay.Limits{}
	for _, f := range y.fleets {
		r := f.Doc.Spec.Rollout
		limits[f.Name()] = replay.Limits{Target: f.Doc.Spec.Pools[0].Replicas, MaxUnavailable: *r.MaxUnavailable, MaxSurge: *r.MaxSurge}
	}
	show(y.tb, "broken promise", l.Check(limits))
	live := y.verifyMachines(l)
	for _, f := range y.fleets {
		if got := l.Fleets[f.Name()].GetTargets()[Pool]; int(got) != f.Target {
			y.tb.Errorf("fleet %s: the target is %d; the accepted commands say %d", f.Name(), got, f.Target)
		}
	}
	for _, p := range append(append([]*harness.Proc{}, y.Planners...), y.Workers...) {
		for _, d := range p.Deaths() {
			y.tb.Errorf("ended by itself: %s\n%s", d, p.Tail(5))
		}
	}
	y.tb.Logf("%d nodes, %d events, %d commands (%d stored twice), %d claims for the audit to free",
		live, l.Events(), y.driver.sent, y.driver.twice, l.Orphans())
}

// verifyMachines wants exactly one machine for each node, the right one.
func (y *Yard) verifyMachines(l *replay.Ledger) (live int) {
	y.tb.Helper()
	all, err := y.machines.All()
	if err != nil {
		y.tb.Fatal(err)
	}
	for name, n := range l.Nodes {
		if n.GetState() == string(plan.Deleted) {
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
	return live
}
