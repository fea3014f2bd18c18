//go:build bench

package bench

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// rawBatches is the ledger's physical limit: atomic batches of records (by
// roll-up) and events, prepared beforehand, one after the other, on a stream
// with the ledger's own settings.
type rawBatches struct {
	nc   *nats.Conn
	js   jetstream.JetStream
	size int // transitions per batch
	n    int
}

// body is as large as a node's record or event.
var body = bytes.Repeat([]byte{'x'}, 330)

// put commits transitions, each an event and a record, in batches.
func (r *rawBatches) put(tb testing.TB, transitions int) sample {
	tb.Helper()
	start := time.Now()
	for done := 0; done < transitions; done += r.size {
		var msgs []*nats.Msg
		for range r.size {
			r.n++
			msgs = append(msgs, &nats.Msg{Subject: fmt.Sprintf("raw.ev.%d", r.n), Data: body, Header: nats.Header{}})
		}
		for i := range r.size {
			m := &nats.Msg{Subject: fmt.Sprintf("raw.st.%d", (r.n+i)%1000), Data: body, Header: nats.Header{}}
			m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
			msgs = append(msgs, m)
		}
		if _, err := jetstreamext.PublishMsgBatch(tb.Context(), r.js, msgs); err != nil {
			tb.Fatal(err)
		}
	}
	return sample{ops: float64(transitions), took: time.Since(start)}
}
