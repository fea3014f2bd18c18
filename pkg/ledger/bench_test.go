package ledger_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/ledger"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// BenchmarkLedger brings 1,000 nodes to ready with workers that do nothing,
// and writes as many messages of the same sizes in raw batches of the same
// size, one after the other: the ratio is what the loop leaves of the store's
// speed. Workers, results and commands are in the loop's time alone.
func BenchmarkLedger(b *testing.B) {
	for b.Loop() {
		var events, messages, batches, busy atomic.Int64
		y := newYard(b, 1)
		p := ledger.NewPlanner(ledger.PlannerConfig{
			Conn: y.connect(subject.UserPlanner), Instance: "p1", Log: y.log,
			OnCommit: func(c ledger.Commit) {
				events.Add(int64(len(c.Events)))
				messages.Add(int64(c.Messages))
				batches.Add(1)
				busy.Add(int64(c.Took))
			},
		})
		y.start(p.Run)
		y.workers(256)
		y.documents()
		events.Store(0)
		messages.Store(0)
		batches.Store(0)
		busy.Store(0)
		started := time.Now()
		doc := document("web", benchNodes)
		everything := benchNodes
		doc.Spec.Rollout.MaxUnavailable = &everything
		y.apply("c1", doc)
		y.settled("web", benchNodes)
		took := time.Since(started)
		ours := float64(events.Load()) / took.Seconds()
		size := int(messages.Load() / batches.Load())
		raw := rawBatches(b, y, int(messages.Load()), size)
		rawRate := float64(events.Load()) / raw.Seconds()
		b.ReportMetric(ours, "transitions/s")
		b.ReportMetric(rawRate, "raw-transitions/s")
		b.ReportMetric(ours/rawRate, "ratio")
		b.ReportMetric(time.Duration(busy.Load()).Seconds()/took.Seconds(), "busy")
		b.ReportMetric(float64(size), "msgs/batch")
		b.ReportMetric(float64(batches.Load()), "batches")
		b.ReportMetric(float64(events.Load()), "transitions")
	}
}

const benchNodes = 1000

// rawBatches writes count messages of 300 bytes in batches of size, a third
// of them overwriting a record.
func rawBatches(b *testing.B, y *yard, count, size int) time.Duration {
	b.Helper()
	size = max(2, min(size, 990))
	body := make([]byte, 300)
	planner := y.connect(subject.UserPlanner)
	versions := map[string]uint64{}
	started := time.Now()
	for n := 0; n < count; {
		var msgs []*nats.Msg
		for i := 0; i < size && n < count; i++ {
			m := wire.Message{Type: wire.TypeSeat, Body: body}
			switch n % 3 {
			case 0:
				msgs = append(msgs, bus.TTL(bus.Expect(bus.NewMsg(subject.Event(0, "raw", "w-0", int64(n)), m), 0), subject.EventTTL))
			case 1:
				msgs = append(msgs, bus.TTL(bus.Expect(bus.NewMsg(subject.Job(0, "none", "dc1", "raw", "w-0", int64(n)), m), 0), subject.JobTTL))
			default:
				of := subject.Seat(fmt.Sprintf("raw-%d", n%size))
				of = subject.Node(0, "raw", of[len(subject.Seat("")):])
				msgs = append(msgs, bus.Rollup(bus.Expect(bus.NewMsg(of, m), versions[of])))
			}
			n++
		}
		ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
		ack, err := jetstreamext.PublishMsgBatch(ctx, planner.JS(), msgs)
		cancel()
		if err != nil {
			b.Fatal(err)
		}
		first := ack.Sequence - uint64(len(msgs)) + 1
		for i, m := range msgs {
			if m.Header.Get("Nats-Rollup") != "" {
				versions[m.Subject] = first + uint64(i)
			}
		}
	}
	return time.Since(started)
}
