package ledger

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/bus/embedded"
	"yardmaster.dev/pkg/wire"
)

// A batch that names a subject which cannot be is made by one of its inputs:
// tried again, it would block the shard for ever.
func TestImpossibleSubjectIsRefused(t *testing.T) {
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
	_, err = conn.Publish(t.Context(), bus.NewMsg("ym.0.st.place.a b", wire.Message{Type: wire.TypePlace}))
	if got := judge(fmt.Errorf("write: %w", err)); got != refused {
		t.Errorf("judge(%v) = %d; want refused (%d)", err, got, refused)
	}
	if got := judge(nats.ErrTimeout); got != again {
		t.Errorf("judge(timeout) = %d; want again (%d)", got, again)
	}
}
