package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/bus/embedded"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// bench is a bus with jobs and nobody else.
type workbench struct {
	t    *testing.T
	conn *bus.Conn
}

func newWorkbench(t *testing.T) *workbench {
	t.Helper()
	s, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	conn, err := bus.Connect(t.Context(), s.Config("", ""), "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if err := bus.Init(t.Context(), conn, subject.Topology{Shards: 2, Sites: []string{"dc1"}, ShardBytes: 8 << 20}); err != nil {
		t.Fatal(err)
	}
	return &workbench{t: t, conn: conn}
}

func job(node string, number int64) *plan.Job {
	return &plan.Job{
		JobRef: plan.JobRef{Worker: plan.WorkerVSphere, Site: "dc1", Fleet: "web", Node: node, Number: number},
		Action: plan.ActionCreate, Attempt: 1, Incarnation: 1,
	}
}

func jobSubject(shard int, j *plan.Job) string {
	return subject.Job(shard, string(j.Worker), j.Site, j.Fleet, j.Node, j.Number)
}

func (b *workbench) put(shard int, j *plan.Job) {
	b.t.Helper()
	m, err := wire.Job(j)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.conn.Publish(b.t.Context(), bus.NewMsg(jobSubject(shard, j), m)); err != nil {
		b.t.Fatal(err)
	}
}

// work runs h until stop.
func (b *workbench) work(slots int, h Handler) (stop func()) {
	b.t.Helper()
	w := &Work{Conn: b.conn, Worker: plan.WorkerVSphere, Site: "dc1", Slots: slots, By: "me", Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(b.t.Context())
	var group errgroup.Group
	group.Go(func() error { return w.Run(ctx, h) })
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := group.Wait(); err != nil {
				b.t.Errorf("Run = %v", err)
			}
		})
	}
	b.t.Cleanup(stop)
	return stop
}

// result waits for a job's result.
func (b *workbench) result(shard int, j *plan.Job) *plan.Result {
	b.t.Helper()
	of := subject.Result(shard, string(j.Worker), j.Site, j.Fleet, j.Node, j.Number, j.Attempt)
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	for {
		m, err := b.conn.LeaderLast(ctx, subject.ShardStream(shard), of)
		if err == nil {
			r, err := wire.DecodeResult(m.Type(), m.Version(), m.Data)
			if err != nil {
				b.t.Fatal(err)
			}
			return r
		}
		if !errors.Is(err, bus.ErrNotFound) {
			b.t.Fatal(err)
		}
		pause(ctx, 5*time.Millisecond)
	}
}

// open counts the jobs that are not acknowledged.
func (b *workbench) open(shard int) int {
	b.t.Helper()
	c, err := b.conn.JS().Consumer(b.t.Context(), subject.ShardStream(shard), subject.ConsumerVSphere("dc1"))
	if err != nil {
		b.t.Fatal(err)
	}
	info := c.CachedInfo()
	return info.NumAckPending + int(info.NumPending)
}

func (b *workbench) allAcknowledged() {
	b.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for b.open(0)+b.open(1) > 0 {
		if time.Now().After(deadline) {
			b.t.Fatal("jobs with a result are still open")
		}
		pause(b.t.Context(), 5*time.Millisecond)
	}
}

func TestWorkStoresResults(t *testing.T) {
	t.Parallel()
	b := newWorkbench(t)
	var jobs [2][]*plan.Job
	for shard := range jobs {
		for i := range 100 {
			j := job(fmt.Sprintf("w-%d", i), 3)
			jobs[shard] = append(jobs[shard], j)
			b.put(shard, j)
		}
	}
	b.work(64, func(_ context.Context, j *plan.Job) *plan.Result { return &plan.Result{MachineID: "vm-" + j.Node} })
	for shard := range jobs {
		for _, j := range jobs[shard] {
			r := b.result(shard, j)
			if r.MachineID != "vm-"+j.Node || r.By != "me" || r.Job != 3 || r.Action != plan.ActionCreate || r.Started.IsZero() || r.Failure != nil {
				t.Fatalf("result of %s = %+v", j.Node, r)
			}
		}
	}
	b.allAcknowledged()
}

// TestResultIsStoredOnce: a job that was done before keeps its first result.
func TestResultIsStoredOnce(t *testing.T) {
	t.Parallel()
	b := newWorkbench(t)
	j := job("w-0", 1)
	m, err := wire.Result(&plan.Result{MachineID: "first", Node: "w-0", Job: 1, Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	b.put(0, j)
	of := subject.Result(0, "vsphere", "dc1", "web", "w-0", 1, 1)
	if _, err := b.conn.Publish(t.Context(), bus.NewMsg(of, m)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	b.work(4, func(context.Context, *plan.Job) *plan.Result {
		close(done)
		return &plan.Result{MachineID: "second"}
	})
	<-done
	b.allAcknowledged()
	if r := b.result(0, j); r.MachineID != "first" {
		t.Errorf("result = %+v; want the one that was stored first", r)
	}
}

func TestPanicIsOneJobsFailure(t *testing.T) {
	t.Parallel()
	b := newWorkbench(t)
	b.put(0, job("w-0", 1))
	b.put(0, job("w-1", 1))
	b.work(4, func(_ context.Context, j *plan.Job) *plan.Result {
		if j.Node == "w-0" {
			panic("no such thing")
		}
		return &plan.Result{}
	})
	if f := b.result(0, job("w-0", 1)).Failure; f == nil || f.Kind != fault.Permanent || f.Reason != fault.Poison {
		t.Errorf("failure = %+v; want a permanent one", f)
	}
	if f := b.result(0, job("w-1", 1)).Failure; f != nil {
		t.Errorf("the other job failed too: %+v", f)
	}
}

func TestLateJobIsNotBegun(t *testing.T) {
	t.Parallel()
	b := newWorkbench(t)
	j := job("w-0", 1)
	j.Deadline = time.Now().Add(-time.Second)
	b.put(0, j)
	var begun atomic.Bool
	b.work(4, func(context.Context, *plan.Job) *plan.Result { begun.Store(true); return &plan.Result{} })
	if f := b.result(0, j).Failure; f == nil || f.Kind != fault.Transient || f.Reason != fault.Timeout {
		t.Errorf("failure = %+v; want a timeout", f)
	}
	if begun.Load() {
		t.Error("a job whose time was up was begun")
	}
}

// TestHandedBackJobComesAgain: nil is no result.
func TestHandedBackJobComesAgain(t *testing.T) {
	t.Parallel()
	b := newWorkbench(t)
	b.put(0, job("w-0", 1))
	var calls atomic.Int64
	b.work(4, func(context.Context, *plan.Job) *plan.Result {
		if calls.Add(1) == 1 {
			return nil
		}
		return &plan.Result{}
	})
	b.result(0, job("w-0", 1))
	if calls.Load() != 2 {
		t.Errorf("the handler was called %d times; want 2", calls.Load())
	}
}

// TestStopHandsBack: what is in work when a worker stops goes to the next
// one at once, not when its time has run out.
func TestStopHandsBack(t *testing.T) {
	t.Parallel()
	b := newWorkbench(t)
	for i := range 6 {
		b.put(0, job(fmt.Sprintf("w-%d", i), 1))
	}
	begun := make(chan struct{}, 6)
	stop := b.work(2, func(ctx context.Context, _ *plan.Job) *plan.Result {
		begun <- struct{}{}
		<-ctx.Done()
		return nil
	})
	<-begun
	<-begun
	stop()
	started := time.Now()
	b.work(6, func(context.Context, *plan.Job) *plan.Result { return &plan.Result{} })
	for i := range 6 {
		b.result(0, job(fmt.Sprintf("w-%d", i), 1))
	}
	if took := time.Since(started); took > subject.WorkerAckWait {
		t.Errorf("the next worker got the jobs after %s", took)
	}
	b.allAcknowledged()
}

// TestOneJobPerNodeAtATime gives one node several jobs at once.
func TestOneJobPerNodeAtATime(t *testing.T) {
	t.Parallel()
	b := newWorkbench(t)
	for i := range int64(8) {
		b.put(0, job("w-0", i+1))
		b.put(0, job("w-1", i+1))
	}
	var mu sync.Mutex
	busy := map[string]bool{}
	b.work(16, func(_ context.Context, j *plan.Job) *plan.Result {
		mu.Lock()
		if busy[j.Node] {
			t.Errorf("two jobs of %s at once", j.Node)
		}
		busy[j.Node] = true
		mu.Unlock()
		pause(t.Context(), 5*time.Millisecond)
		mu.Lock()
		busy[j.Node] = false
		mu.Unlock()
		return &plan.Result{}
	})
	for i := range int64(8) {
		b.result(0, job("w-0", i+1))
		b.result(0, job("w-1", i+1))
	}
}

// TestSlotsBoundTheWork counts what is in work over all shards.
func TestSlotsBoundTheWork(t *testing.T) {
	t.Parallel()
	b := newWorkbench(t)
	for i := range 20 {
		b.put(i%2, job(fmt.Sprintf("w-%d", i), 1))
	}
	var now, most atomic.Int64
	b.work(3, func(context.Context, *plan.Job) *plan.Result {
		most.Store(max(most.Load(), now.Add(1)))
		pause(t.Context(), 2*time.Millisecond)
		now.Add(-1)
		return &plan.Result{}
	})
	for i := range 20 {
		b.result(i%2, job(fmt.Sprintf("w-%d", i), 1))
	}
	if most.Load() > 3 {
		t.Errorf("%d jobs were in work at once; want at most 3", most.Load())
	}
}

func TestWithdrawnJobIsAcknowledgedUnread(t *testing.T) {
	t.Parallel()
	b := newWorkbench(t)
	j := job("w-0", 1)
	b.put(0, j)
	empty := bus.Rollup(bus.NewMsg(jobSubject(0, j), wire.Message{Type: wire.TypeJob}))
	if _, err := b.conn.Publish(t.Context(), empty); err != nil {
		t.Fatal(err)
	}
	b.work(4, func(context.Context, *plan.Job) *plan.Result {
		t.Error("a withdrawn job was begun")
		return nil
	})
	b.allAcknowledged()
}
