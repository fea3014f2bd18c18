package embedded

import (
	"testing"
)

// TestPromises fails when a setting that the ledger rests on is weakened.
func TestPromises(t *testing.T) {
	t.Parallel()
	o := options(Options{Dir: "d", Host: "127.0.0.1"})
	if !o.SyncAlways {
		t.Error("sync_interval is not always: a power cut loses acknowledged writes")
	}
	if o.JetStreamKey != "" || o.JetStreamOldKey != "" {
		t.Error("JetStream's encryption is on: a kill -9 loses whole streams")
	}
	if o.JetStreamLimits.MaxBatchInflightPerStream < 1000 {
		t.Error("few open batches: those of crashed workers block for 10 s")
	}
	if !o.JetStream || o.StoreDir == "" {
		t.Error("there is no store")
	}
}

func TestRestartKeepsTheStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 {
		s, err := Start(Options{Dir: dir, Host: "127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		if s.URL() == "" {
			t.Error("the server has no URL")
		}
		s.Shutdown()
	}
}
