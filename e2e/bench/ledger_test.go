//go:build bench

package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"yardmaster.dev/e2e/fakeyard"
	"yardmaster.dev/e2e/harness"
)

// nodes is how many are brought up in a round.
const nodes = 1000

// The ledger's loop against the raw batch of the same size and against River
// on PostgreSQL, at 16 and at 500 jobs in flight.
func TestLedger(t *testing.T) {
	river := harness.HavePostgres()
	for _, inFlight := range []int{16, 500} {
		t.Run(strconv.Itoa(inFlight), func(t *testing.T) {
			y := fakeyard.New(t, fakeyard.Options{Slots: inFlight, Planners: 1, Workers: 1})
			ctx, cancel := context.WithCancel(t.Context())
			var group sync.WaitGroup
			defer group.Wait()
			defer cancel()
			group.Go(func() { y.Guests(ctx) })
			raw := newRaw(t)
			n := 0
			var load writes
			ours := func() sample {
				n++
				before := written(t, y)
				transitions, took := y.BringUp(ctx, fakeyard.NewFleet(fmt.Sprintf("f%d", n), nodes, 1, 1))
				load = written(t, y).less(before)
				return sample{ops: float64(transitions), took: took}
			}
			sides := []side{
				{"ours", ours},
				{"rounds", func() sample { return sample{ops: float64(load.transitions), took: load.busy} }},
				{"raw", func() sample { return raw.put(t, load) }},
			}
			if river == nil {
				r := newRiver(t)
				sides = append(sides, side{"river", func() sample { return r.bringUp(t, nodes, min(inFlight, 200)) }})
			}
			got := alternate(rounds(), sides...)
			what := fmt.Sprintf("ledger transitions, %d in flight", inFlight)
			compare(fmt.Sprintf("planner's rounds, %d in flight, raw batches of %d", inFlight, load.size()), "/s", got["rounds"], got["raw"], 0.7)
			compare(what+" with workers and guests, the same", "/s", got["ours"], got["raw"], 0)
			if river != nil {
				absent(what+", River", river)
				return
			}
			aim := 4.0
			if inFlight == 500 {
				aim = 12
			}
			compare(what+", River", "/s", got["ours"], got["river"], aim)
		})
	}
}

// rounds is how many rounds are counted.
func rounds() int {
	if n, err := strconv.Atoi(os.Getenv("YARD_BENCH_ROUNDS")); err == nil {
		return n
	}
	return 5
}

// newRaw makes a stream with the ledger's settings on a server of its own.
func newRaw(tb testing.TB) *rawBatches {
	tb.Helper()
	b := harness.StartPlainBus(tb, filepath.Join(harness.Dir(tb), "raw"))
	js, err := jetstream.New(b)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "RAW", Subjects: []string{"raw.>"}, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew, MaxBytes: 2 << 30,
		AllowAtomicPublish: true, AllowMsgTTL: true, AllowRollup: true, DenyDelete: true, AllowDirect: true,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return &rawBatches{js: js}
}
