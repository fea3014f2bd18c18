package executor

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// answer stores a result of a job that was made at a time.
func (b *workbench) answer(j *plan.Job, made int64, machine string) {
	b.t.Helper()
	m, err := wire.Result(&plan.Result{MachineID: machine, Node: j.Node, Job: j.Number, Attempt: j.Attempt, Made: made})
	if err != nil {
		b.t.Fatal(err)
	}
	of := subject.Result(0, string(j.Worker), j.Site, j.Fleet, j.Node, j.Number, j.Attempt)
	if _, err := b.conn.Publish(b.t.Context(), bus.NewMsg(of, m)); err != nil {
		b.t.Fatal(err)
	}
}

// TestAnswerToAnUndoneJobIsReplaced: a power cut undid a job that a worker
// had; its answer was stored when the bus was back, and the planner, who knew
// no such job, passed over it. When the job is made again it needs an answer
// of its own.
func TestAnswerToAnUndoneJobIsReplaced(t *testing.T) {
	t.Parallel()
	b := newWorkbench(t)
	j := job("w-0", 1)
	j.Made = 2
	b.answer(j, 1, "before")
	b.put(0, j)
	w := &Work{Conn: b.conn}
	b.work(4, func(ctx context.Context, j *plan.Job) *plan.Result {
		if wanted, err := w.Wanted(ctx, j); !wanted || err != nil {
			t.Errorf("Wanted = %t, %v; want the job done", wanted, err)
		}
		return &plan.Result{MachineID: "after"}
	})
	for deadline := time.Now().Add(30 * time.Second); b.result(0, j).MachineID != "after"; {
		if time.Now().After(deadline) {
			t.Fatalf("result = %+v; want its own", b.result(0, j))
		}
		pause(t.Context(), 5*time.Millisecond)
	}
	b.allAcknowledged()
}

func TestWanted(t *testing.T) {
	t.Parallel()
	inHand := job("w-0", 1)
	inHand.Made = 2
	other := func(change func(*plan.Job)) *plan.Job {
		j := *inHand
		change(&j)
		return &j
	}
	for name, c := range map[string]struct {
		stored         *plan.Job
		answer         int64 // a result of a job made then is there
		withdrawn, yes bool
	}{
		"it stands there":                             {stored: inHand, yes: true},
		"it has its result":                           {stored: inHand, answer: 2},
		"its undone self had a result":                {stored: inHand, answer: 1, yes: true},
		"it was withdrawn":                            {stored: inHand, withdrawn: true},
		"it was undone":                               {},
		"it was undone and a deletion has its number": {stored: other(func(j *plan.Job) { j.Action = plan.ActionDelete })},
		"it is of a former incarnation":               {stored: other(func(j *plan.Job) { j.Incarnation = 2 })},
		"it is of a former attempt":                   {stored: other(func(j *plan.Job) { j.Attempt = 2 })},
		"it was undone and made again":                {stored: other(func(j *plan.Job) { j.Made = 3 })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newWorkbench(t)
			if c.answer != 0 {
				b.answer(inHand, c.answer, "m")
			}
			if c.stored != nil {
				b.put(0, c.stored)
			}
			if c.withdrawn {
				if _, err := b.conn.Publish(t.Context(), bus.Rollup(bus.NewMsg(jobSubject(0, inHand), wire.Message{Type: wire.TypeJob}))); err != nil {
					t.Fatal(err)
				}
			}
			w := &Work{Conn: b.conn}
			if got, err := w.Wanted(t.Context(), inHand); got != c.yes || err != nil {
				t.Errorf("Wanted = %t, %v; want %t", got, err, c.yes)
			}
		})
	}
}

// delivery is a message with a sequence that a power cut gave away again.
type delivery struct {
	jetstream.Msg
	subject, body string
}

func (d *delivery) Subject() string { return d.subject }
func (d *delivery) Data() []byte    { return []byte(d.body) }
func (d *delivery) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: 7}}, nil
}

// TestHold: what is held is known again by what it is, not by its sequence.
func TestHold(t *testing.T) {
	t.Parallel()
	r := &run{Work: &Work{Log: slog.New(slog.DiscardHandler)}, held: map[delivered]*held{}}
	first := r.hold(&delivery{subject: "a", body: "1"}, 0)
	again := &delivery{subject: "a", body: "1"}
	if first == nil || r.hold(again, 0) != nil || r.delivery(first) != jetstream.Msg(again) {
		t.Error("a second delivery was not known again")
	}
	for _, d := range []*delivery{{subject: "b", body: "1"}, {subject: "a", body: "2"}} {
		if r.hold(d, 0) == nil {
			t.Errorf("%s %q was taken for another message", d.subject, d.body)
		}
	}
	r.drop(first)
	if len(r.held) != 2 {
		t.Errorf("%d are held; want the other two", len(r.held))
	}
}
