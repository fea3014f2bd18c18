package ledger_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/ledger"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// ready counts the ready nodes of a fleet.
func ready(w *plan.World, name string) int {
	count := 0
	for n := range w.Nodes(name) {
		if n.State == plan.Ready {
			count++
		}
	}
	return count
}

func TestPlannerRestartsMidway(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	stop := y.planners("p1")
	y.workers(8)
	y.documents()
	doc := document("web", 60)
	y.apply("c1", doc)
	for _, at := range []int{5, 15, 30} {
		y.wait("some nodes", func(w *plan.World) bool { return ready(w, "web") >= at })
		stop()
		stop = y.planners("again")
	}
	y.settled("web", 60)
	y.noClaimTwice()
	y.verify()
}

func TestTwoPlannersAreSafe(t *testing.T) {
	t.Parallel()
	y := newYard(t, 2)
	y.planners("p1")
	y.planners("p2")
	y.workers(16)
	y.documents()
	y.apply("c1", document("web", 40))
	y.apply("c2", document("db", 40))
	y.settled("web", 40)
	y.settled("db", 40)
	y.noClaimTwice()
	y.verify()
}

func TestOnePlannerIsActive(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	first := y.planner("p1", 0)
	stop := y.start(first.Run)
	until(t, "the first planner to be active", func() bool { return first.Status().Active })
	second := y.planner("p2", 0)
	y.start(second.Run)
	until(t, "the second planner to be warm", func() bool { return second.Status().Loaded })
	y.documents()
	if s := second.Status(); s.Active {
		t.Error("both planners are active")
	}
	stop()
	y.apply("c1", document("web", 0)) // decided by the second alone
	until(t, "the second planner to take over", func() bool { return second.Status().Active })
}

func TestServerRestartsMidway(t *testing.T) {
	t.Parallel()
	y := newYard(t, 2)
	y.planners("p1")
	y.planners("p2")
	y.workers(16)
	y.documents()
	y.apply("c1", document("web", 60))
	for _, at := range []int{5, 25} {
		y.wait("some nodes", func(w *plan.World) bool { return ready(w, "web") >= at })
		_, port, _ := strings.Cut(strings.TrimPrefix(y.server.URL(), "nats://"), ":")
		y.server.Shutdown()
		y.server = y.startServer(atoi(t, port))
	}
	y.settled("web", 60)
	y.noClaimTwice()
	y.verify()
}

func TestPoisonIsSetAside(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	ctx := t.Context()
	garbage := &nats.Msg{
		Subject: subject.Command(0, "web", "bad"), Data: []byte("\xff\xff\xff"),
		Header: nats.Header{wire.HeaderType: {wire.TypeCommand}, wire.HeaderVersion: {wire.Version}},
	}
	sequence, err := y.gateway.Publish(ctx, garbage)
	if err != nil {
		t.Fatal(err)
	}
	headless := &nats.Msg{Subject: subject.Command(0, "web", "odd"), Data: []byte("{}"), Header: nats.Header{}}
	if _, err := y.gateway.Publish(ctx, headless); err != nil {
		t.Fatal(err)
	}
	y.planners("p1")
	y.documents() // the shard is not blocked
	y.wait("dead letters", func(w *plan.World) bool {
		d := w.DeadLetter("web", "_in-"+itoa(sequence))
		return d != nil && d.Reason == fault.Poison && d.Hint != "" && w.DeadLetter("web", "_in-"+itoa(sequence+1)) != nil
	})
	y.wait("a receipt for whoever sent it", func(w *plan.World) bool {
		r := w.Receipt("web", "bad")
		return r != nil && !r.Accepted && r.Code == plan.RefusedInvalid
	})
	until(t, "nothing left to do", func() bool {
		c, err := y.admin.JS().Consumer(ctx, subject.ShardStream(0), subject.ConsumerPlanner)
		return err == nil && c.CachedInfo().NumPending == 0 && c.CachedInfo().NumAckPending == 0
	})
}

// TestRefusedBatchIsHalved has a command whose records no message can hold
// wait together with good ones.
func TestRefusedBatchIsHalved(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	stop := y.planners("p1")
	y.documents()
	y.accepted(0, plan.YardScope, &plan.Command{ID: "place", Place: &plan.PlaceFleet{Name: "big"}})
	stop()
	doc := document("big", 1)
	// The command just fits into a message; the revision, whose message has
	// more headers, does not.
	doc.Spec.Vars = map[string]string{"x": strings.Repeat("x", 1<<20-2000)}
	big := &plan.Command{ID: "big", By: "y", ApplyFleet: &plan.ApplyFleet{Document: doc}}
	m, err := wire.Command(big)
	if err != nil {
		t.Fatal(err)
	}
	big.By = strings.Repeat("y", 1<<20-170-len(m.Body))
	var good []string
	for i := range 40 {
		id := "good-" + itoa(uint64(i))
		good = append(good, id)
		if err := y.publish(t.Context(), 0, plan.YardScope, &plan.Command{ID: id, Place: &plan.PlaceFleet{Name: id}}); err != nil {
			t.Fatal(err)
		}
		if i != 20 {
			continue
		}
		if err := y.publish(t.Context(), 0, "big", big); err != nil {
			t.Fatal(err)
		}
	}
	y.planners("p2")
	for _, id := range good {
		y.wait("receipt of "+id, func(w *plan.World) bool { r := w.Receipt(plan.YardScope, id); return r != nil && r.Accepted })
	}
	y.wait("the large command's receipt", func(w *plan.World) bool {
		r := w.Receipt("big", "big")
		return r != nil && !r.Accepted && r.Code == plan.RefusedInvalid
	})
}

func TestFullStoreWaits(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	p := y.planner("p1", 0)
	y.start(p.Run)
	y.documents()
	stream, err := y.admin.JS().Stream(t.Context(), subject.ShardStream(0))
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	was := cfg.MaxBytes
	// Room for the command, none for what follows from it.
	cfg.MaxBytes = int64(stream.CachedInfo().State.Bytes) + 400
	if _, err := y.admin.JS().UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	err = y.publish(t.Context(), 0, plan.YardScope, &plan.Command{ID: "p", Place: &plan.PlaceFleet{Name: "web"}})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the planner to say that the ledger is full", func() bool { return strings.Contains(p.Status().Trouble, "full") })
	cfg.MaxBytes = was
	if _, err := y.admin.JS().UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	y.wait("the receipt", func(w *plan.World) bool { return w.Receipt(plan.YardScope, "p") != nil })
	until(t, "the trouble to end", func() bool { return p.Status().Trouble == "" })
}

func TestOtherStreamStopsThePlanner(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	conn := y.connect(subject.UserPlanner)
	p := ledger.NewPlanner(ledger.PlannerConfig{Conn: conn, Instance: "p1", Log: y.log})
	ended := make(chan error, 1)
	go func() { ended <- p.Run(t.Context()) }()
	until(t, "the planner to be warm", func() bool { return p.Status().Loaded })
	other := y.connect(subject.UserAdmin)
	if err := other.JS().DeleteStream(t.Context(), subject.StreamHistory); err != nil {
		t.Fatal(err)
	}
	if err := other.JS().DeleteStream(t.Context(), subject.ShardStream(0)); err != nil {
		t.Fatal(err)
	}
	if err := bus.Init(t.Context(), other, topology(1)); err != nil {
		t.Fatal(err)
	}
	conn.Reconnect("test")
	if err := within(t, ended); !errors.Is(err, ledger.ErrOtherStream) {
		t.Errorf("Run = %v; want ErrOtherStream", err)
	}
}

func TestWrongClockStopsThePlanner(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{"ahead": 7 * time.Second, "behind": -7 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := newYard(t, 1)
			p := ledger.NewPlanner(ledger.PlannerConfig{
				Conn: y.connect(subject.UserPlanner), Instance: "p1", Log: y.log,
				Now: func() time.Time { return time.Now().Add(off) },
			})
			err := p.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), "clock") {
				t.Errorf("Run = %v; want an error about the clock", err)
			}
		})
	}
}

// format sets the format of the yard's records.
func (y *yard) format(n int) {
	y.tb.Helper()
	last, err := y.admin.LeaderLast(y.tb.Context(), subject.ShardStream(0), subject.Yard())
	if err != nil {
		y.tb.Fatal(err)
	}
	record, err := y.admin.Yard(y.tb.Context())
	if err != nil {
		y.tb.Fatal(err)
	}
	record.Format = n
	m, err := wire.Record(record, nil)
	if err != nil {
		y.tb.Fatal(err)
	}
	if _, err := y.admin.Publish(y.tb.Context(), bus.Rollup(bus.Expect(bus.NewMsg(subject.Yard(), m), last.Sequence))); err != nil {
		y.tb.Fatal(err)
	}
}

func TestOlderPlannerStandsBy(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.format(wire.Format + 1)
	p := y.planner("p1", 0)
	y.start(p.Run)
	until(t, "the planner to stand by", func() bool { return strings.Contains(p.Status().Trouble, "newer format") })
	if err := y.publish(t.Context(), 0, plan.YardScope, &plan.Command{ID: "p", Place: &plan.PlaceFleet{Name: "web"}}); err != nil {
		t.Fatal(err)
	}
	y.mirror.View(func(w *plan.World) {
		if w.Receipt(plan.YardScope, "p") != nil {
			t.Error("a planner decided though the yard's format is newer than it")
		}
	})
	y.format(wire.Format)
	y.wait("the receipt", func(w *plan.World) bool { return w.Receipt(plan.YardScope, "p") != nil })
}

// A planner that is at work when the format is raised lets go of the inputs,
// so that they come to a newer one.
func TestPlannerStepsAsideForANewerFormat(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	p := y.planner("p1", 0)
	y.start(p.Run)
	y.documents()
	y.format(wire.Format + 1)
	if err := y.publish(t.Context(), 0, plan.YardScope, &plan.Command{ID: "p", Place: &plan.PlaceFleet{Name: "web"}}); err != nil {
		t.Fatal(err)
	}
	until(t, "the planner to stand by", func() bool { return strings.Contains(p.Status().Trouble, "newer format") })
	y.format(wire.Format)
	y.wait("the receipt", func(w *plan.World) bool { return w.Receipt(plan.YardScope, "p") != nil })
}

// TestVerifySeesTampering changes a record behind the planner's back.
func TestVerifySeesTampering(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	stop := y.planners("p1")
	y.workers(8)
	y.documents()
	y.apply("c1", document("web", 2))
	y.settled("web", 2)
	y.verify()
	stop()
	forger := y.connect(subject.UserPlanner)
	of := subject.Node(0, "web", "w-1")
	last, err := forger.LeaderLast(t.Context(), subject.ShardStream(0), of)
	if err != nil {
		t.Fatal(err)
	}
	name, err := subject.Parse(of)
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := wire.DecodeRecord(name, last.Type(), last.Version(), last.Data)
	if err != nil {
		t.Fatal(err)
	}
	n, ok := r.(*plan.Node)
	if !ok {
		t.Fatalf("%s holds a %T", of, r)
	}
	n.MachineID = "vm-of-somebody-else"
	m, err := wire.Record(n, nil)
	if err != nil {
		t.Fatal(err)
	}
	msg := bus.Rollup(bus.Expect(bus.NewMsg(of, m), last.Sequence))
	msg.Header[wire.HeaderChain] = []string{last.Header.Get(wire.HeaderChain)}
	if _, err := forger.Publish(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	audit, err := ledger.Verify(t.Context(), y.gateway, "web")
	if err != nil {
		t.Fatal(err)
	}
	if len(audit.Breaks) != 1 || !strings.Contains(audit.Breaks[0], "web-w-1") {
		t.Errorf("Verify = %+v; want one break, at web-w-1", audit)
	}
}

func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !met() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", patience, what)
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("stopped while waiting for %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func within(t *testing.T, ended <-chan error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		t.Fatal("it did not end")
		return nil
	}
}
