//go:build bench

package bench

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"yardmaster.dev/e2e/harness"
)

// riverSteps is the number of jobs that a node needs in a row, as in
// performance.md section 5: a transition is state with compare-and-set,
// event and next job in one transaction.
const riverSteps = 3

type stepArgs struct {
	Run  int `json:"run"`
	Node int `json:"node"`
	Step int `json:"step"`
}

// Kind names the job.
func (stepArgs) Kind() string { return "step" }

type stepWorker struct {
	river.WorkerDefaults[stepArgs]
	pool *pgxpool.Pool
	done *atomic.Int64
}

// Work does one transition.
func (w *stepWorker) Work(ctx context.Context, job *river.Job[stepArgs]) error {
	tx, err := w.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx) // after Commit it does nothing
	a := job.Args
	tag, err := tx.Exec(ctx, `UPDATE node SET version = version + 1, state = $1 WHERE run = $2 AND id = $3 AND version = $4`,
		fmt.Sprint("state-", a.Step), a.Run, a.Node, a.Step)
	if err != nil {
		return err
	}
	if tag.RowsAffected() != 1 {
		return fmt.Errorf("node %d moved", a.Node)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO event (run, node, i, body) VALUES ($1, $2, $3, $4)`, a.Run, a.Node, a.Step, eventBody); err != nil {
		return err
	}
	if a.Step+1 < riverSteps {
		next := stepArgs{Run: a.Run, Node: a.Node, Step: a.Step + 1}
		if _, err := river.ClientFromContext[pgx.Tx](ctx).InsertTx(ctx, tx, next, nil); err != nil {
			return err
		}
	}
	if _, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	w.done.Add(1)
	return nil
}

// eventBody is as large as one of our events.
const eventBody = `{"fleet":"web","node":"edge-123","number":7,"at":"2026-11-21T10:00:00Z","fact":"rendered","from":"rendering","to":"provisioning","by":"renderer-1","input":"ym.0.in.res.render.dc1.web.edge-123.7.1","took":"1.2ms"}`

// riverYard is River on a PostgreSQL of its own.
type riverYard struct {
	pool *pgxpool.Pool
	runs int
}

func newRiver(tb testing.TB) *riverYard {
	tb.Helper()
	pg := harness.StartPostgres(tb)
	cfg, err := pgxpool.ParseConfig(pg.URL)
	if err != nil {
		tb.Fatal(err)
	}
	cfg.MaxConns = 100
	pool, err := pgxpool.NewWithConfig(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	m, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := m.Migrate(tb.Context(), rivermigrate.DirectionUp, nil); err != nil {
		tb.Fatal(err)
	}
	for _, q := range []string{
		`CREATE TABLE node (run int, id int, version int, state text, PRIMARY KEY (run, id))`,
		`CREATE TABLE event (run int, node int, i int, body text, PRIMARY KEY (run, node, i))`,
	} {
		if _, err := pool.Exec(tb.Context(), q); err != nil {
			tb.Fatal(err)
		}
	}
	return &riverYard{pool: pool}
}

// bringUp takes nodes through their steps with so many jobs in flight and
// returns transitions and time, the putting-in included.
func (r *riverYard) bringUp(tb testing.TB, nodes, inFlight int) sample {
	tb.Helper()
	ctx := tb.Context()
	r.runs++
	run := r.runs
	if _, err := r.pool.Exec(ctx, `INSERT INTO node SELECT $1, g, 0, 'pending' FROM generate_series(0, $2) g`, run, nodes-1); err != nil {
		tb.Fatal(err)
	}
	var done atomic.Int64
	workers := river.NewWorkers()
	river.AddWorker(workers, &stepWorker{pool: r.pool, done: &done})
	client, err := river.NewClient(riverpgxv5.New(r.pool), &river.Config{
		FetchCooldown: time.Millisecond,
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: inFlight}},
		Workers:       workers,
		Logger:        slog.New(slog.DiscardHandler),
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := client.Start(ctx); err != nil {
		tb.Fatal(err)
	}
	start := time.Now()
	jobs := make([]river.InsertManyParams, nodes)
	for i := range jobs {
		jobs[i].Args = stepArgs{Run: run, Node: i}
	}
	if _, err := client.InsertManyFast(ctx, jobs); err != nil {
		tb.Fatal(err)
	}
	want := int64(nodes * riverSteps)
	for end := time.Now().Add(2 * time.Minute); done.Load() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("River: %d of %d transitions after two minutes", done.Load(), want)
		}
	}
	took := time.Since(start)
	if err := client.Stop(ctx); err != nil {
		tb.Fatal(err)
	}
	return sample{ops: float64(want), took: took}
}
