//go:build bench

package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"yardmaster.dev/e2e/fakeyard"
	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/proto/subject"
)

// writes is what a planner has written: transitions, the messages and
// batches that it took, and how long it was at it.
type writes struct {
	transitions, messages, batches int
	busy                           time.Duration
}

// written reads a planner's own count of its batches, and from the stream
// how many messages were stored; those that are inputs are taken off by
// less, since each transition but the planner's own has one.
func written(t *testing.T, y *fakeyard.Yard) writes {
	t.Helper()
	var inputs *jetstream.StreamInfo
	harness.Wait(t, "the stream's subjects", time.Minute, func() error {
		s, err := y.Conn.JS().Stream(t.Context(), subject.ShardStream(0))
		if err != nil {
			return err
		}
		inputs, err = s.Info(t.Context(), jetstream.WithSubjectFilter(subject.InputFilter(0)))
		return err
	})
	return writes{
		transitions: int(metric(t, y.Metrics, "yardmaster_ledger_transitions_total")),

		messages: int(inputs.State.LastSeq) - len(inputs.State.Subjects),
		batches:  int(metric(t, y.Metrics, "yardmaster_ledger_commit_duration_seconds_count")),
		busy:     time.Duration(metric(t, y.Metrics, "yardmaster_ledger_commit_duration_seconds_sum") * float64(time.Second)),
	}
}

func (w writes) less(before writes) writes {
	return writes{
		transitions: w.transitions - before.transitions, messages: w.messages - before.messages,
		batches: max(1, w.batches-before.batches), busy: w.busy - before.busy,
	}
}

// size is how many messages a batch has on average.
func (w writes) size() int { return min(990, max(2, w.messages/w.batches)) }

// metric reads the sum of a metric over its labels.
func metric(t *testing.T, url, name string) float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	sum, found := 0.0, false
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok {
			fields := strings.Fields(rest)
			v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			if err != nil {
				t.Fatal(err)
			}
			sum, found = sum+v, true
		}
	}
	if !found {
		t.Fatalf("%s shows no %s", url, name)
	}
	return sum
}

// rawBatches is the ledger's physical limit: as many messages as the planner
// wrote, in batches as large as its own, prepared beforehand, one after the
// other, on a stream with the ledger's own settings. One in three overwrites
// a record by roll-up.
type rawBatches struct {
	js jetstream.JetStream
	n  int
}

// body is as large as a node's record or event.
var body = bytes.Repeat([]byte{'x'}, 330)

// put writes what a planner wrote.
func (r *rawBatches) put(tb testing.TB, load writes) sample {
	tb.Helper()
	start := time.Now()
	for left := load.messages; left > 0; {
		size := min(left, load.size())
		msgs := make([]*nats.Msg, 0, size)
		for range size {
			r.n++
			m := &nats.Msg{Subject: fmt.Sprintf("raw.ev.%d", r.n), Data: body, Header: nats.Header{}}
			if r.n%3 == 0 {
				m.Subject = fmt.Sprintf("raw.st.%d", r.n%3000)
				m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
			}
			msgs = append(msgs, m)
		}
		if _, err := jetstreamext.PublishMsgBatch(tb.Context(), r.js, msgs); err != nil {
			tb.Fatal(err)
		}
		left -= size
	}
	return sample{ops: float64(load.transitions), took: time.Since(start)}
}
