package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/bus/embedded"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// warm returns a planner whose memory is loaded and has reached a sequence.
func warm(t *testing.T, reached uint64) *Planner {
	t.Helper()
	p := NewPlanner(PlannerConfig{Conn: &bus.Conn{}, Log: slog.New(slog.DiscardHandler)})
	p.mirror.mem.saw(0, reached, time.Time{})
	p.mirror.loaded = true
	return p
}

func delivered(of string, sequence uint64, m wire.Message) *bus.Message {
	return &bus.Message{Subject: of, Sequence: sequence, Data: m.Body, Header: bus.NewMsg(of, m).Header}
}

// TestBarrier holds an input back until the memory has seen it pass by.
func TestBarrier(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := warm(t, 10)
		if err := p.barrier(t.Context(), 10); err != nil {
			t.Fatalf("barrier at what was reached = %v", err)
		}
		passed := make(chan error, 1)
		go func() { passed <- p.barrier(t.Context(), 12) }()
		synctest.Wait()
		if err := p.mirror.apply(0)(delivered(subject.Step(0, "web"), 11, wire.Message{})); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		select {
		case <-passed:
			t.Fatal("the input at 12 was let through when the memory stood at 11")
		default:
		}
		if err := p.mirror.apply(0)(delivered(subject.Step(0, "web"), 12, wire.Message{})); err != nil {
			t.Fatal(err)
		}
		if err := <-passed; err != nil {
			t.Errorf("barrier = %v once the memory was there", err)
		}
	})
}

// TestBarrierGivesUp while the memory is loaded anew: its inputs come again.
func TestBarrierGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := warm(t, 10)
		p.mirror.loaded = false
		started := time.Now()
		if err := p.barrier(t.Context(), 10); !errors.Is(err, context.DeadlineExceeded) || time.Since(started) != barrierWait {
			t.Errorf("barrier = %v after %s; want it to give up after %s", err, time.Since(started), barrierWait)
		}
	})
}

func node(state plan.State) *plan.Node {
	return &plan.Node{Fleet: "web", Pool: "w", State: state, Event: 1}
}

// TestOnlyNewerIsTaken has deliveries come after our own batch was applied.
func TestOnlyNewerIsTaken(t *testing.T) {
	t.Parallel()
	p := warm(t, 0)
	of := subject.Node(0, "web", "w-0")
	apply := func(sequence uint64, state plan.State) {
		t.Helper()
		m, err := wire.Record(node(state), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.mirror.apply(0)(delivered(of, sequence, m)); err != nil {
			t.Fatal(err)
		}
	}
	want := func(state plan.State) {
		t.Helper()
		p.View(func(w *plan.World) {
			if got := w.Node("web", "w-0").State; got != state {
				t.Errorf("the memory says %s; want %s", got, state)
			}
		})
	}
	apply(5, plan.Rendering)
	want(plan.Rendering)
	p.mirror.mem.entries[of] = entry{sequence: 9}
	p.mirror.mem.world.Put(node(plan.Booting)) // as our batch at 9 does
	apply(7, plan.Provisioning)
	want(plan.Booting)
	apply(9, plan.Booting)
	apply(11, plan.Joining)
	want(plan.Joining)
}

// TestWaitMindsTheEpoch: a stamp of another stream is never reached.
func TestWaitMindsTheEpoch(t *testing.T) {
	t.Parallel()
	p := warm(t, 10)
	p.mirror.mem.epochs[0] = time.Unix(100, 0)
	if err := p.mirror.Wait(t.Context(), Stamp{Sequence: 3, Epoch: time.Unix(100, 0)}); err != nil {
		t.Errorf("Wait for what was reached = %v", err)
	}
	if err := p.mirror.Wait(t.Context(), Stamp{Sequence: 3, Epoch: time.Unix(99, 0)}); !errors.Is(err, ErrOtherStream) {
		t.Errorf("Wait for a stamp of another stream = %v; want ErrOtherStream", err)
	}
}

// twoMoves is a round in which a node moves twice and calls a job back that
// the same round made.
func twoMoves(t *testing.T) (*memory, *batch) {
	t.Helper()
	mem := newMemory(plan.NewWorld(0))
	mem.entries[subject.Node(0, "web", "w-0")] = entry{sequence: 4, chain: "before"}
	r := newRound(0, mem, time.Unix(1, 0), "p1")
	job := plan.JobRef{Worker: plan.WorkerRender, Site: "dc1", Fleet: "web", Node: "w-0", Number: 2}
	for _, out := range []plan.Outcome{
		{
			Records: []plan.Record{node(plan.Rendering)}, Step: true,
			Events: []*plan.Event{{Fleet: "web", Node: "w-0", Number: 2}}, Jobs: []*plan.Job{{JobRef: job}},
		},
		{
			Records: []plan.Record{node(plan.Deleted)}, Withdrawn: []plan.JobRef{job},
			Events: []*plan.Event{{Fleet: "web", Node: "w-0", Number: 3}},
		},
	} {
		if err := r.take("web", &out); err != nil {
			t.Fatal(err)
		}
	}
	b, err := r.batch()
	if err != nil {
		t.Fatal(err)
	}
	return mem, b
}

// TestBatchOrder: events, jobs, steps, and one record per subject, last.
func TestBatchOrder(t *testing.T) {
	t.Parallel()
	mem, b := twoMoves(t)
	of := subject.Node(0, "web", "w-0")
	var got []string
	for _, m := range b.msgs {
		got = append(got, m.Subject)
	}
	want := []string{
		subject.Event(0, "web", "w-0", 2), subject.Event(0, "web", "w-0", 3),
		subject.Job(0, "render", "dc1", "web", "w-0", 2), subject.Step(0, "web"), of,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("the batch is in another order (-want +got):\n%s", d)
	}
	if len(b.msgs[2].Data) != 0 || b.msgs[2].Header.Get(nats.MsgRollup) == "" {
		t.Error("a job that was called back in the round that made it is not written empty")
	}
	if b.msgs[4].Header.Get(nats.ExpectedLastSubjSeqHdr) != "4" {
		t.Error("the record is not written by compare-and-set")
	}
	b.landed(mem, 100)
	if mem.entries[of].sequence != 104 {
		t.Errorf("the record's version is noted as %d; want 104", mem.entries[of].sequence)
	}
}

// TestBatchChains: each event holds the hash of the one before, the last one
// that of the record, and the record that of the last event.
func TestBatchChains(t *testing.T) {
	t.Parallel()
	_, b := twoMoves(t)
	events := make([]*wire.Event, 2)
	for i := range events {
		var err error
		if events[i], err = wire.DecodeEvent(wire.TypeEvent, wire.Version, b.msgs[i].Data); err != nil {
			t.Fatal(err)
		}
	}
	first, last, record := sha256.Sum256(b.msgs[0].Data), sha256.Sum256(b.msgs[1].Data), sha256.Sum256(b.msgs[4].Data)
	if string(events[0].Prev) != "before" || !bytes.Equal(events[1].Prev, first[:]) {
		t.Errorf("events name %q and %x as their predecessors", events[0].Prev, events[1].Prev)
	}
	if len(events[0].Record) != 0 || !bytes.Equal(events[1].Record, record[:]) {
		t.Errorf("events name %x and %x as their records", events[0].Record, events[1].Record)
	}
	h := b.msgs[4].Header
	if h.Get(wire.HeaderChain) != hex.EncodeToString(last[:]) || h.Get(wire.HeaderAmended) != "" {
		t.Errorf("the record's chain is %s, amended %q", h.Get(wire.HeaderChain), h.Get(wire.HeaderAmended))
	}
}

// TestFullRoundLeavesTheRest: what does not fit waits for the next round.
func TestFullRoundLeavesTheRest(t *testing.T) {
	t.Parallel()
	r := newRound(0, newMemory(plan.NewWorld(0)), time.Unix(1, 0), "p1")
	out := plan.Outcome{}
	for i := range maxMessages {
		out.Records = append(out.Records, &plan.Node{Fleet: "web", Pool: "w", Ordinal: i, State: plan.Pending})
	}
	if err := r.take("web", &out); !errors.Is(err, errFull) {
		t.Errorf("take of %d records = %v; want errFull", maxMessages, err)
	}
	if r.size() != 0 || r.mem.world.Node("web", "w-0") != nil {
		t.Error("an outcome that does not fit was taken in part")
	}
	out.Records = out.Records[:100]
	if err := r.take("web", &out); err != nil || r.mem.world.Node("web", "w-99") == nil {
		t.Errorf("take of 100 records = %v", err)
	}
	r.rollback()
	if r.mem.world.Node("web", "w-99") != nil {
		t.Error("rollback left a record behind")
	}
}

// TestAnswers goes through what the server may say to a batch.
func TestAnswers(t *testing.T) {
	t.Parallel()
	if judge(nats.ErrMaxPayload) != refused || judge(nats.ErrTimeout) != again || judge(nats.ErrNoResponders) != again {
		t.Error("errors of the client are misjudged")
	}
	for code, want := range map[jetstream.ErrorCode]verdict{
		bus.CodeWrongLastSequence: conflict, bus.CodeInFlight: conflict, 10077: full, 10023: full, 10199: refused, 10176: again,
		10210: again, 10201: again, 10999: again,
	} {
		if got := judge(fmt.Errorf("write: %w", &jetstream.APIError{ErrorCode: code})); got != want {
			t.Errorf("judge(%d) = %d; want %d", code, got, want)
		}
	}
}

// TestShortLoadIsNoticed has the leader know of a message that the copy
// which answers does not have.
func TestShortLoadIsNoticed(t *testing.T) {
	t.Parallel()
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
	if err := bus.Init(t.Context(), conn, subject.Topology{Shards: 1, ShardBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	f := &feed{conn: conn}
	seen := 0
	take := func(*bus.Message) error { seen++; return nil }
	filter := subject.KindFilter(0, subject.KindYard)
	if err := f.readUntil(t.Context(), filter, 1, take); err != nil || seen != 1 {
		t.Fatalf("load of the yard record = %v with %d messages", err, seen)
	}
	if err := f.readUntil(t.Context(), filter, 2, take); !errors.Is(err, errShortLoad) {
		t.Errorf("load that ends before the last message = %v; want errShortLoad", err)
	}
}
