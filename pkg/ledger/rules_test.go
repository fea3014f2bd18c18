package ledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/ledger"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }

// TestCommandsApplyOnce sends the same commands again, as clients do that
// got no answer.
func TestCommandsApplyOnce(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners("p1")
	y.workers(8)
	y.documents()
	y.apply("c1", document("web", 3))
	y.settled("web", 3)
	first := y.ask(0, "web", &plan.Command{ID: "s1", Scale: &plan.Scale{Pool: "w", Target: 5}})
	y.settled("web", 5)
	y.accepted(0, "web", &plan.Command{ID: "s2", Scale: &plan.Scale{Pool: "w", Target: 4}})
	y.settled("web", 4)
	again := y.ask(0, "web", &plan.Command{ID: "s1", Scale: &plan.Scale{Pool: "w", Target: 5}})
	if again.At != first.At {
		t.Errorf("the repeated command was decided anew: %+v, then %+v", first, again)
	}
	y.settled("web", 4)
	y.verify()
}

// TestWithdrawnJobIsNotDone scales down while nobody works; the workers that
// come then must not see the jobs of the nodes that went.
func TestWithdrawnJobIsNotDone(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners("p1")
	y.documents()
	y.apply("c1", document("web", 6))
	y.wait("render jobs", func(w *plan.World) bool {
		jobs := 0
		for n := range w.Nodes("web") {
			if n.Job != nil {
				jobs++
			}
		}
		return jobs == 6
	})
	y.accepted(0, "web", &plan.Command{ID: "s1", Scale: &plan.Scale{Pool: "w", Target: 2}})
	y.wait("withdrawals", func(w *plan.World) bool {
		gone := 0
		for n := range w.Nodes("web") {
			if n.Goal == plan.Absent || n.State == plan.Deleted {
				gone++
			}
		}
		return gone == 4
	})
	var rendered atomic.Int64
	render := &executor.Work{Conn: y.connect(subject.UserRenderer), Worker: plan.WorkerRender, Slots: 4, By: "r", Log: y.log}
	y.start(func(ctx context.Context) error {
		return render.Run(ctx, func(ctx context.Context, j *plan.Job) *plan.Result {
			if j.Action == plan.ActionRender {
				rendered.Add(1)
			}
			return y.render(ctx, j)
		})
	})
	vsphere := &executor.Work{
		Conn: y.connect(subject.ConsumerVSphere("dc1")), Worker: plan.WorkerVSphere, Site: "dc1", Slots: 4, By: "v", Log: y.log,
	}
	y.start(func(ctx context.Context) error { return vsphere.Run(ctx, y.effect) })
	y.settled("web", 2)
	if n := rendered.Load(); n != 2 {
		t.Errorf("%d configs were rendered; want those of the 2 nodes that stayed", n)
	}
	y.verify()
}

func TestWanted(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners("p1")
	y.documents()
	y.apply("c1", document("web", 1))
	var open plan.Job
	y.wait("a job", func(w *plan.World) bool {
		n := w.Node("web", "w-0")
		if n == nil || n.Job == nil {
			return false
		}
		open = plan.Job{
			JobRef: plan.JobRef{Worker: n.Job.Worker, Site: n.Job.Site, Fleet: "web", Node: "w-0", Number: n.Job.Number},
			Action: n.Job.Action, Attempt: n.Job.Attempt, Incarnation: n.Incarnation, Made: n.Job.Made,
		}
		return true
	})
	work := &executor.Work{Conn: y.connect(subject.UserRenderer), Worker: plan.WorkerRender, Log: y.log}
	if ok, err := work.Wanted(t.Context(), &open); err != nil || !ok {
		t.Errorf("Wanted = %v, %v; want true", ok, err)
	}
	other := open
	other.Number = 99
	if ok, err := work.Wanted(t.Context(), &other); err != nil || ok {
		t.Errorf("Wanted of a job that never was = %v, %v; want false", ok, err)
	}
	y.accepted(0, "web", &plan.Command{ID: "s1", Scale: &plan.Scale{Pool: "w", Target: 0}})
	until(t, "the job to be withdrawn", func() bool {
		ok, err := work.Wanted(t.Context(), &open)
		return err == nil && !ok
	})
}

// TestAnsweredJobIsNotWanted has the acknowledgement of a finished create
// job get lost: its second delivery must not make the machine again.
func TestAnsweredJobIsNotWanted(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners("p1")
	y.documents()
	render := &executor.Work{Conn: y.connect(subject.UserRenderer), Worker: plan.WorkerRender, By: "r", Log: y.log}
	y.start(func(ctx context.Context) error { return render.Run(ctx, y.render) })
	vsphere := &executor.Work{Conn: y.connect(subject.ConsumerVSphere("dc1")), Worker: plan.WorkerVSphere, Site: "dc1", By: "v", Log: y.log}
	created := make(chan *plan.Job, 8)
	y.start(func(ctx context.Context) error {
		return vsphere.Run(ctx, func(ctx context.Context, j *plan.Job) *plan.Result {
			if j.Action != plan.ActionCreate {
				return y.effect(ctx, j)
			}
			if ok, err := vsphere.Wanted(ctx, j); err != nil || !ok {
				t.Errorf("Wanted of an open job = %v, %v; want true", ok, err)
			}
			created <- j
			return y.effect(ctx, j)
		})
	})
	y.apply("c1", document("web", 1))
	y.settled("web", 1)
	if ok, err := vsphere.Wanted(t.Context(), <-created); err != nil || ok {
		t.Errorf("Wanted of a job with a result = %v, %v; want false", ok, err)
	}
}

// TestFreedAddressWakesWaiters has two fleets, in two shards, that want more
// addresses than there are.
func TestFreedAddressWakesWaiters(t *testing.T) {
	t.Parallel()
	y := newYard(t, 2)
	y.planners("p1")
	y.workers(8)
	y.documents()
	y.accepted(0, plan.YardScope, &plan.Command{ID: "small", ApplyNetwork: &fleet.Network{
		APIVersion: fleet.APIVersion, Kind: fleet.KindNetwork, Metadata: fleet.Metadata{Name: "small"},
		Spec: fleet.NetworkSpec{Subnet: "10.9.0.0/24", Range: "10.9.0.10-10.9.0.14", Gateway: "10.9.0.1"},
	}})
	for _, name := range []string{"one", "two"} {
		doc := document(name, 4)
		doc.Spec.Pools[0].Networks = []fleet.PoolNetwork{{Ref: "small"}}
		y.apply("c-"+name, doc)
	}
	y.wait("all five addresses in use", func(w *plan.World) bool { return ready(w, "one")+ready(w, "two") == 5 })
	y.noClaimTwice()
	y.accepted(y.shardOf("one"), "one", &plan.Command{ID: "s1", Scale: &plan.Scale{Pool: "w", Target: 1}})
	y.settled("one", 1)
	y.settled("two", 4)
	y.noClaimTwice()
	y.verify()
}

// TestObservationsMakeReady has nodes that never phone home.
func TestObservationsMakeReady(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners("p1")
	y.documents()
	render := &executor.Work{Conn: y.connect(subject.UserRenderer), Worker: plan.WorkerRender, By: "r", Log: y.log}
	y.start(func(ctx context.Context) error { return render.Run(ctx, y.render) })
	conn := y.connect(subject.ConsumerVSphere("dc1"))
	vsphere := &executor.Work{Conn: conn, Worker: plan.WorkerVSphere, Site: "dc1", By: "v", Log: y.log}
	y.start(func(ctx context.Context) error {
		return vsphere.Run(ctx, func(_ context.Context, j *plan.Job) *plan.Result {
			if j.Action == plan.ActionCreate {
				// It is seen before the job's result is stored, and once.
				m, err := wire.Observation(&plan.Observation{Node: j.Node, Incarnation: j.Incarnation, Address: j.Networks[0].Addr})
				if err != nil {
					return nil
				}
				of := subject.Observation("dc1", j.Fleet, j.Node, subject.AspectAddress)
				if err := conn.NATS().PublishMsg(bus.NewMsg(of, m)); err != nil {
					return nil
				}
			}
			return &plan.Result{MachineID: "vm", MachineUUID: j.MachineUUID}
		})
	})
	doc := document("web", 5)
	doc.Spec.Pools[0].Ready.By = fleet.ReadyByGuestAddress
	y.apply("c1", doc)
	y.settled("web", 5)
	y.verify()
}

// TestNewerFieldsSurviveOlderPlanner has a record that a newer release wrote
// be overwritten by ours.
func TestNewerFieldsSurviveOlderPlanner(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	stop := y.planners("p1")
	y.workers(8)
	y.documents()
	y.apply("c1", document("web", 1))
	y.settled("web", 1)
	stop()
	newer := y.connect(subject.UserPlanner)
	of := subject.Node(0, "web", "w-0")
	last, err := newer.LeaderLast(t.Context(), subject.ShardStream(0), of)
	if err != nil {
		t.Fatal(err)
	}
	extra := protowire.AppendString(protowire.AppendTag(nil, 800, protowire.BytesType), "from the future")
	msg := bus.Rollup(bus.Expect(bus.NewMsg(of, wire.Message{Type: wire.TypeNode, Body: append(last.Data, extra...)}), last.Sequence))
	msg.Header[wire.HeaderChain] = []string{last.Header.Get(wire.HeaderChain)}
	if _, err := newer.Publish(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	y.planners("p2")
	y.accepted(0, "web", &plan.Command{ID: "s1", Scale: &plan.Scale{Pool: "w", Target: 0}})
	y.settled("web", 0)
	last, err = newer.LeaderLast(t.Context(), subject.ShardStream(0), of)
	if err != nil {
		t.Fatal(err)
	}
	var n ymv1.NodeRecord
	if err := proto.Unmarshal(last.Data, &n); err != nil {
		t.Fatal(err)
	}
	if n.GetState() != string(plan.Deleted) || !strings.Contains(string(n.ProtoReflect().GetUnknown()), "from the future") {
		t.Errorf("record is %v with unknown %q; want it deleted, with the newer release's field", n.GetState(), n.ProtoReflect().GetUnknown())
	}
}

// TestHistoryKeepsEvents compares the history stream with the shards.
func TestHistoryKeepsEvents(t *testing.T) {
	t.Parallel()
	y := newYard(t, 2)
	y.planners("p1")
	y.workers(8)
	y.documents()
	y.apply("c1", document("web", 3))
	y.apply("c2", document("db", 3))
	y.settled("web", 3)
	y.settled("db", 3)
	audit := y.verify()
	until(t, "the history to hold every event", func() bool {
		s, err := y.gateway.JS().Stream(t.Context(), subject.StreamHistory)
		return err == nil && int64(s.CachedInfo().State.Msgs) == audit.Events
	})
	events, err := ledger.Events(t.Context(), y.gateway, y.shardOf("web"), "web", "w-0", 2)
	if err != nil || len(events) != 2 || events[1].Number != events[0].Number+1 {
		t.Errorf("Events = %v, %v; want the newest two", events, err)
	}
	if events, err := ledger.Events(t.Context(), y.gateway, 0, "nobody", "", 0); err != nil || len(events) != 0 {
		t.Errorf("Events of nobody = %v, %v", events, err)
	}
}

func TestDebug(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners("p1")
	y.documents()
	out, err := ledger.Debug(t.Context(), y.gateway, subject.Site("dc1"))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Subject  string
		Sequence uint64
		Message  map[string]any
	}
	if err := json.Unmarshal(out, &got); err != nil || got.Subject != subject.Site("dc1") || got.Message["document"] == nil {
		t.Fatalf("Debug = %s, %v", out, err)
	}
	same, err := ledger.Debug(t.Context(), y.gateway, "YM_0:"+itoa(got.Sequence))
	if err != nil || string(same) != string(out) {
		t.Errorf("Debug by sequence = %s, %v; want the same", same, err)
	}
	if _, err := ledger.Debug(t.Context(), y.gateway, subject.Site("dc9")); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("Debug of nothing = %v; want ErrNotFound", err)
	}
	if _, err := ledger.Debug(t.Context(), y.gateway, "nonsense"); err == nil || !strings.Contains(err.Error(), "YM_0:4711") {
		t.Errorf("Debug of nonsense = %v; want a hint", err)
	}
}
