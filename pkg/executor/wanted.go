package executor

import (
	"context"
	"errors"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// Wanted reads a job's subject anew and reports whether that very job still
// stands there and has no result yet: call it before anything is made or
// destroyed. The acknowledgement of a job that was done may get lost, and its
// second delivery would make again what was destroyed meanwhile; and a power
// cut can undo a job that was delivered already and put another one there.
func (w *Work) Wanted(ctx context.Context, job *plan.Job) (bool, error) {
	yard, err := w.Conn.Yard(ctx)
	if err != nil {
		return false, err
	}
	return w.wanted(ctx, yard.Shards, job)
}

// wanted is Wanted with the number of shards known.
func (w *Work) wanted(ctx context.Context, shards int, job *plan.Job) (bool, error) {
	// A job does not name its shard; there are few.
	for k := range shards {
		of := subject.Job(k, string(job.Worker), job.Site, job.Fleet, job.Node, job.Number)
		m, err := w.Conn.Last(ctx, subject.ShardStream(k), of)
		if err == nil {
			return w.unanswered(ctx, k, m, job)
		}
		if !errors.Is(err, bus.ErrNotFound) {
			return false, err
		}
	}
	return false, nil
}

// unanswered reports whether a stored job is the one in hand and has no
// result yet.
func (w *Work) unanswered(ctx context.Context, shard int, m *bus.Message, job *plan.Job) (bool, error) {
	if len(m.Data) == 0 {
		return false, nil
	}
	stored, err := wire.DecodeJob(m.Type(), m.Version(), m.Data)
	if err != nil {
		return false, err
	}
	if stored.Action != job.Action || stored.Incarnation != job.Incarnation || stored.Attempt != job.Attempt || stored.Made != job.Made {
		return false, nil
	}
	of := subject.Result(shard, string(job.Worker), job.Site, job.Fleet, job.Node, job.Number, job.Attempt)
	there, err := w.Conn.Last(ctx, subject.ShardStream(shard), of)
	if errors.Is(err, bus.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	answered, err := answers(there, job)
	return !answered, err
}

// answers reports whether a stored result is the job's own, and not that of a
// job with its number that a power cut has undone. Workers that know nothing
// of this give no time, and the planner takes their word.
func answers(m *bus.Message, job *plan.Job) (bool, error) {
	r, err := wire.DecodeResult(m.Type(), m.Version(), m.Data)
	if err != nil {
		return false, err
	}
	return r.Made == 0 || r.Made == job.Made, nil
}
