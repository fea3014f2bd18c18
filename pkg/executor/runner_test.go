package executor_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nkeys"
	"github.com/prometheus/client_golang/prometheus"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/guest"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/render"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

func job(i int, action plan.Action) *plan.Job {
	return &plan.Job{
		JobRef:   plan.JobRef{Worker: plan.WorkerVSphere, Site: site, Fleet: "web", Node: plan.NodeKey("edge", i), Number: int64(i)},
		FleetUID: "uid", Action: action, Incarnation: 1, Attempt: 1, Pool: "edge", Ordinal: i,
		MachineUUID: fmt.Sprintf("uuid-%d", i), VSphere: &fleet.VSphere{Site: site},
		Deadline: time.Now().Add(time.Hour),
	}
}

// yard is a bus with runners, and a planner's hands.
type yard struct {
	*testBus
	t        *testing.T
	admin    *bus.Conn
	planner  *bus.Conn
	renderer *bus.Conn
	// seal is what the file of seal keys holds.
	sealing sync.Mutex
	seal    []nkeys.KeyPair
}

func (y *yard) sealKeys(context.Context) []nkeys.KeyPair {
	y.sealing.Lock()
	defer y.sealing.Unlock()
	return slices.Clone(y.seal)
}

func (y *yard) setSeal(keys ...nkeys.KeyPair) {
	y.sealing.Lock()
	defer y.sealing.Unlock()
	y.seal = keys
}

func curve(t *testing.T) nkeys.KeyPair {
	t.Helper()
	key, err := nkeys.CreateCurveKeys()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newYard(t *testing.T, shards int) *yard {
	t.Helper()
	y := &yard{testBus: newBus(t, shards), t: t}
	y.admin, y.planner, y.renderer = y.connect(t, subject.UserAdmin), y.connect(t, subject.UserPlanner), y.connect(t, subject.UserRenderer)
	y.setSeal(curve(t))
	return y
}

// start runs a runner until the test ends or stop is called.
func (y *yard) start(name string, backend executor.Backend) (r *executor.Runner, stop func()) {
	y.t.Helper()
	return y.startWith(name, backend, nil)
}

func (y *yard) startWith(name string, backend executor.Backend, answers map[string]executor.Answer) (r *executor.Runner, stop func()) {
	y.t.Helper()
	r = &executor.Runner{
		Answers: answers,
		Conn:    y.executor(y.t), Site: site, Worker: plan.WorkerVSphere, By: name, Seal: y.sealKeys, Backend: backend,
		SeatTTL: time.Second, BreakerPause: 300 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Metrics: executor.NewMetrics(prometheus.NewRegistry(), "test"),
	}
	if err := r.Prepare(y.t.Context()); err != nil {
		y.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(y.t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if err := r.Run(ctx); err != nil {
			y.t.Errorf("Run of %s: %v", name, err)
		}
	})
	stop = func() { cancel(); group.Wait() }
	y.t.Cleanup(stop)
	return r, stop
}

// config publishes a sealed config and returns its digest.
func (y *yard) config(content string) string {
	y.t.Helper()
	sum := sha256.Sum256([]byte(content))
	c := &render.Config{Ignition: []byte(content), Digest: hex.EncodeToString(sum[:]), Encoded: "encoded-" + content}
	public, err := y.sealKeys(y.t.Context())[0].PublicKey()
	if err != nil {
		y.t.Fatal(err)
	}
	sealed, err := render.Seal(c, public)
	if err != nil {
		y.t.Fatal(err)
	}
	m := bus.NewMsg(subject.Config(site, c.Digest), wire.Message{Type: "config", Body: sealed})
	if _, err := y.renderer.Publish(y.t.Context(), bus.Rollup(m)); err != nil {
		y.t.Fatal(err)
	}
	return c.Digest
}

func (y *yard) submit(shard int, j *plan.Job) {
	y.t.Helper()
	m, err := wire.Job(j)
	if err != nil {
		y.t.Fatal(err)
	}
	if _, err := y.planner.Publish(y.t.Context(), bus.NewMsg(y.subject(shard, j), m)); err != nil {
		y.t.Fatal(err)
	}
}

func (y *yard) subject(shard int, j *plan.Job) string {
	return subject.Job(shard, string(j.Worker), j.Site, j.Fleet, j.Node, j.Number)
}

// result waits for a job's result.
func (y *yard) result(shard int, j *plan.Job) *plan.Result {
	y.t.Helper()
	of := subject.Result(shard, string(j.Worker), j.Site, j.Fleet, j.Node, j.Number, j.Attempt)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		m, err := y.admin.Last(y.t.Context(), subject.ShardStream(shard), of)
		if err == nil {
			r, err := wire.DecodeResult(m.Type(), m.Version(), m.Data)
			if err != nil {
				y.t.Fatal(err)
			}
			return r
		}
		if !errors.Is(err, bus.ErrNotFound) {
			y.t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	y.t.Fatalf("no result at %s", of)
	return nil
}

func TestRunnerCarriesOutJobs(t *testing.T) {
	t.Parallel()
	y := newYard(t, 2)
	f := newFake()
	y.start("one", f)
	for shard := range 2 {
		j := job(shard+1, plan.ActionCreate)
		j.ConfigDigest = y.config(fmt.Sprintf(`{"n":%d}`, shard))
		y.submit(shard, j)
		r := y.result(shard, j)
		if r.Failure != nil || r.MachineID == "" || r.MachineUUID != j.MachineUUID || r.By != "one" {
			t.Errorf("result %+v (%+v); want a machine of one's", r, r.Failure)
		}
	}
	yardRecord, err := y.admin.Yard(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	j := job(1, plan.ActionCreate)
	m := f.machines[executor.OwnerOf(yardRecord.UID, j)]
	if m == nil || m.config[render.GuestInfoData] != `encoded-{"n":0}` {
		t.Errorf("machine %+v; want the config that was sealed", m)
	}
	gone := job(1, plan.ActionDelete)
	gone.Number = 50
	y.submit(0, gone)
	if r := y.result(0, gone); r.Failure != nil || len(f.all()) != 1 {
		t.Errorf("delete: %+v; %d machines are left, want 1", r.Failure, len(f.all()))
	}
}

// A changed seal key is announced without a new epoch; configs of the old one
// still open while its file holds it, and are asked for anew afterwards.
func TestSealKeyIsRotated(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.start("one", newFake())
	old, fresh := y.sealKeys(t.Context())[0], curve(t)
	create := func(n int, digest string) *plan.Result {
		t.Helper()
		j := job(n, plan.ActionCreate)
		j.ConfigDigest = digest
		y.submit(0, j)
		return y.result(0, j)
	}
	if r := create(1, y.config("1")); r.Failure != nil {
		t.Fatalf("before: %+v", r.Failure)
	}
	before := record(t, y.admin)
	second, third := y.config("2"), y.config("3")
	y.setSeal(fresh, old)
	want, _ := fresh.PublicKey()
	deadline := time.Now().Add(time.Minute)
	for record(t, y.admin).SealKey != want {
		if time.Now().After(deadline) {
			t.Fatal("the changed key was not announced")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if now := record(t, y.admin); now.Epoch != before.Epoch || now.Holder != before.Holder {
		t.Errorf("seat %+v, before %+v; want the same holding", now, before)
	}
	if r := create(2, second); r.Failure != nil {
		t.Errorf("sealed to the old key: %+v; want it opened", r.Failure)
	}
	if r := create(4, y.config("4")); r.Failure != nil {
		t.Errorf("sealed to the changed key: %+v; want it opened", r.Failure)
	}
	y.setSeal(fresh)
	if r := create(3, third); r.Failure == nil || r.Failure.Reason != fault.ConfigMissing {
		t.Errorf("sealed to a key that was dropped: %+v; want it rendered anew", r.Failure)
	}
}

func TestRunnerAsksForALostConfig(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.start("one", newFake())
	j := job(1, plan.ActionCreate)
	j.ConfigDigest = hex.EncodeToString(make([]byte, 32))
	y.submit(0, j)
	if f := y.result(0, j).Failure; f == nil || f.Reason != fault.ConfigMissing || f.Kind != fault.Transient {
		t.Errorf("failure %+v; want config_missing, transient", f)
	}
}

// unsteady is a backend that can be away.
type unsteady struct {
	*fake
	mu    sync.Mutex
	down  bool
	tries int
}

func newUnsteady() *unsteady {
	u := &unsteady{fake: newFake(), down: true}
	u.fail = func(*executor.Task) error {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.tries++
		if u.down {
			return fault.Newf(fault.Busy, fault.BackendDown, "vCenter does not answer")
		}
		return nil
	}
	return u
}

// recover brings it back and says how often it was tried.
func (u *unsteady) recover() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.down = false
	return u.tries
}

func sameFailure(got *plan.Failure, want plan.Failure) bool {
	return got != nil && got.Kind == want.Kind && got.Reason == want.Reason && got.Message == want.Message
}

// TestBreaker: after some busy failures jobs are turned away without a try,
// and none of them counts; once the backend is back, so is the work.
func TestBreaker(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	u := newUnsteady()
	r, _ := y.start("one", u)
	const jobs = 20
	digest := y.config("{}")
	create := func(i int) *plan.Failure {
		j := job(i+1, plan.ActionCreate)
		j.ConfigDigest = digest
		y.submit(0, j)
		return y.result(0, j).Failure
	}
	for i := range jobs {
		want := plan.Failure{Kind: fault.Busy, Reason: fault.BackendDown, Message: "vCenter does not answer"}
		if failure := create(i); !sameFailure(failure, want) {
			t.Fatalf("job %d: failure %+v; want %+v", i, failure, want)
		}
	}
	if s := r.State(); !s.Active || s.Breaker == "closed" || s.BreakerMessage == "" {
		t.Errorf("state %+v; want active, breaker not closed, with a message", s)
	}
	if tries := u.recover(); tries >= jobs {
		t.Errorf("%d tries for %d jobs; want the breaker to spare some", tries, jobs)
	}
	failure := create(jobs)
	for i := jobs + 1; failure != nil && failure.Kind == fault.Busy; i++ {
		failure = create(i)
	}
	if failure != nil {
		t.Errorf("failure %+v; want busy until the breaker closes", failure)
	}
	if s := r.State(); s.Breaker != "closed" {
		t.Errorf("state %+v; want the breaker closed", s)
	}
}

// TestWithdrawnJobDoesNothing: the job is called back after the executor took
// it, before it makes anything.
func TestWithdrawnJobDoesNothing(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	f := newFake()
	j := job(1, plan.ActionCreate)
	j.ConfigDigest = y.config("{}")
	f.fail = func(task *executor.Task) error {
		withdrawn := bus.Rollup(bus.NewMsg(y.subject(0, task.Job), wire.Message{Type: "job"}))
		_, err := y.planner.Publish(t.Context(), withdrawn)
		return err
	}
	y.start("one", f)
	y.submit(0, j)
	if failure := y.result(0, j).Failure; failure == nil || failure.Kind != fault.Cancelled {
		t.Errorf("failure %+v; want cancelled", failure)
	}
	if n := len(f.all()); n != 0 {
		t.Errorf("%d machines; want none", n)
	}
}

// TestTakeOver: the active replica stops in the middle of a job; the other
// one finishes it, and there is one machine.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	f := newFake()
	begun, once := make(chan struct{}), sync.Once{}
	first := &hanging{fake: f, begun: func() { once.Do(func() { close(begun) }) }}
	_, stop := y.start("first", first)
	j := job(1, plan.ActionCreate)
	j.ConfigDigest = y.config("{}")
	y.submit(0, j)
	<-begun
	y.start("second", f)
	stop()
	if r := y.result(0, j); r.Failure != nil || r.By != "second" {
		t.Errorf("result by %s, failure %+v; want second's success", r.By, r.Failure)
	}
	if n := len(f.all()); n != 1 {
		t.Errorf("%d machines; want 1", n)
	}
}

// hanging makes the machine and then hangs until it is stopped.
type hanging struct {
	*fake
	begun func()
}

func (h *hanging) Create(ctx context.Context, t *executor.Task) (executor.Machine, error) {
	if _, err := h.fake.Create(ctx, t); err != nil {
		return executor.Machine{}, err
	}
	h.begun()
	<-ctx.Done()
	return executor.Machine{}, ctx.Err()
}

func TestObservationsAreTold(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	f := newFake()
	y.start("one", f)
	f.news <- executor.Sighting{Fleet: "web", Node: "edge-1", Incarnation: 2, Address: "10.0.0.7"}
	f.news <- executor.Sighting{Fleet: "web", Node: "edge-2", Incarnation: 1, Lost: true, Detail: "gone"}
	for _, want := range []struct {
		subject string
		plan.Observation
	}{
		{subject.Observation(site, "web", "edge-1", subject.AspectAddress), plan.Observation{Node: "edge-1", Incarnation: 2, Address: "10.0.0.7"}},
		{subject.Observation(site, "web", "edge-2", subject.AspectLost), plan.Observation{Node: "edge-2", Incarnation: 1, Lost: true, Detail: "gone"}},
	} {
		m := y.observed(want.subject)
		got, err := wire.DecodeObservation(m.Type(), m.Version(), m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if age := time.Since(got.At); age < 0 || age > time.Minute {
			t.Errorf("%s was seen at %s; want just before", want.subject, got.At)
		}
		got.At = time.Time{}
		if *got != want.Observation {
			t.Errorf("%s holds %+v; want %+v", want.subject, got, want.Observation)
		}
	}
	f.news <- executor.Sighting{Fleet: "web", Node: "edge-3", Incarnation: 4, Said: &guest.Report{State: guest.StateRunning}}
	m := y.observed(subject.Observation(site, "web", "edge-3", subject.AspectGuestinfo))
	said, err := wire.DecodeGuestReport(m.Type(), m.Version(), m.Data)
	if err != nil || said.Node != "edge-3" || said.Incarnation != 4 || said.State != guest.StateRunning {
		t.Errorf("what a guest said was told as %+v, %v", said, err)
	}
}

// observed waits for an observation.
func (y *yard) observed(at string) *bus.Message {
	y.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		m, err := y.admin.Last(y.t.Context(), subject.StreamObservations, at)
		if err == nil {
			return m
		}
		if !errors.Is(err, bus.ErrNotFound) {
			y.t.Fatal(err)
		}
	}
	y.t.Fatalf("nothing at %s", at)
	return nil
}
