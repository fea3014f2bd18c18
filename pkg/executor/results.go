package executor

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// publisher stores results: a few one by one, many in one atomic batch.
type publisher struct {
	conn *bus.Conn
	log  *slog.Logger
	in   chan *pending
}

// pending is a result on its way to the ledger.
type pending struct {
	name    subject.Name
	subject string
	message wire.Message
	// made is when the job was that it answers.
	made int64
	// over is the sequence of a result that this one replaces, 0 for none.
	over uint64
	done chan error
}

const (
	// batchFrom is how many results must wait for a batch to pay: smaller
	// ones are slower than single messages.
	batchFrom = 20
	batchMost = 250
	// storeTries bounds one result; the job is handed back after them.
	storeTries = 50
)

func newPublisher(conn *bus.Conn, log *slog.Logger) *publisher {
	return &publisher{conn: conn, log: log, in: make(chan *pending, batchMost)}
}

// store returns once the result is in the ledger, whoever put it there.
func (p *publisher) store(ctx context.Context, to string, m wire.Message, made int64) error {
	name, err := subject.Parse(to)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	over := uint64(0)
	for try := 0; ; try++ {
		one := &pending{name: name, subject: to, message: m, made: made, over: over, done: make(chan error, 1)}
		p.in <- one
		err := <-one.done
		if bus.Code(err) == bus.CodeWrongLastSequence {
			older, looked := p.stale(ctx, one)
			switch {
			case looked != nil:
				err = looked
			case older == over:
				return nil
			default:
				over = older
			}
		}
		if err == nil {
			return nil
		}
		if try >= storeTries || permanent(err) {
			return err
		}
		pause(ctx, min(time.Duration(try+1)*20*time.Millisecond, time.Second))
	}
}

// stale looks at the result that stands where one was to be stored. If it
// answers a job that a power cut has undone, the planner has passed over it and
// the job that stands there needs ours: its sequence is returned, to be
// replaced. Any other is as good as ours, or ours is of no use any more.
func (p *publisher) stale(ctx context.Context, one *pending) (over uint64, err error) {
	n := one.name
	stream := subject.ShardStream(n.Shard)
	there, err := p.conn.Last(ctx, stream, one.subject)
	if err != nil {
		return one.over, err
	}
	m, err := p.conn.Last(ctx, stream, subject.Job(n.Shard, n.Worker, n.Site, n.Fleet, n.Node, n.Number))
	if errors.Is(err, bus.ErrNotFound) || err == nil && len(m.Data) == 0 {
		return one.over, nil
	}
	if err != nil {
		return one.over, err
	}
	job, err := wire.DecodeJob(m.Type(), m.Version(), m.Data)
	if err != nil {
		return one.over, err
	}
	answered, err := answers(there, job)
	if answered || err != nil || one.made != job.Made {
		return one.over, err
	}
	return there.Sequence, nil
}

// maxWords bounds a failure's text, and maxLines its log: they go on into
// records and events.
const (
	maxWords = 4 << 10
	maxLines = 20
)

// told is a failure in words that any message can hold, whatever a backend
// said: a result that cannot be stored would be made again for ever.
func told(f *plan.Failure) *plan.Failure {
	if f == nil {
		return nil
	}
	out := *f
	out.Message, out.Hint, out.Log = words(f.Message), words(f.Hint), nil
	for _, line := range f.Log[max(0, len(f.Log)-maxLines):] {
		out.Log = append(out.Log, words(line))
	}
	return &out
}

func words(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxWords)], "?")
}

// permanent reports whether trying again cannot help.
func permanent(err error) bool {
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrPermissionViolation)
}

func (p *publisher) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-p.in:
			p.flush(ctx, p.gather(first))
		}
	}
}

// gather takes what else waits for the same shard; what belongs to another
// one is flushed with it, one by one.
func (p *publisher) gather(first *pending) []*pending {
	batch := []*pending{first}
	for len(batch) < batchMost {
		select {
		case one := <-p.in:
			batch = append(batch, one)
		default:
			return batch
		}
	}
	return batch
}

func (p *publisher) flush(ctx context.Context, waiting []*pending) {
	shards := map[int][]*pending{}
	for _, one := range waiting {
		shards[one.name.Shard] = append(shards[one.name.Shard], one)
	}
	for _, batch := range shards {
		if len(batch) >= batchFrom && p.batch(ctx, batch) == nil {
			continue
		}
		p.singles(ctx, batch)
	}
}

// batch stores all or nothing; one that was stored before refuses them all,
// and then they go one by one.
func (p *publisher) batch(ctx context.Context, batch []*pending) error {
	ctx, cancel := context.WithTimeout(ctx, bus.CallTimeout)
	defer cancel()
	msgs := make([]*nats.Msg, len(batch))
	for i, one := range batch {
		msgs[i] = one.msg()
	}
	_, err := jetstreamext.PublishMsgBatch(ctx, p.conn.JS(), msgs)
	if err != nil {
		p.log.DebugContext(ctx, "batch of results was refused", "err", err)
		return err
	}
	for _, one := range batch {
		one.done <- nil
	}
	p.conn.Worked()
	return nil
}

func (p *publisher) singles(ctx context.Context, batch []*pending) {
	ctx, cancel := context.WithTimeout(ctx, bus.CallTimeout)
	defer cancel()
	acks := make([]jetstream.PubAckFuture, len(batch))
	for i, one := range batch {
		ack, err := p.conn.JS().PublishMsgAsync(one.msg(), jetstream.WithRetryAttempts(0))
		if err != nil {
			one.done <- err
			continue
		}
		acks[i] = ack
	}
	for i, ack := range acks {
		if ack == nil {
			continue
		}
		select {
		case <-ack.Ok():
			p.conn.Worked()
			batch[i].done <- nil
		case err := <-ack.Err():
			batch[i].done <- err
		case <-ctx.Done():
			p.conn.Struggled()
			batch[i].done <- ctx.Err()
		}
	}
}

// msg makes the message; it expects what stands on its subject, usually
// nothing, so that a repeated result is refused.
func (p *pending) msg() *nats.Msg {
	m := bus.TTL(bus.Expect(bus.NewMsg(p.subject, p.message), p.over), subject.InputTTL)
	if p.over != 0 {
		return bus.Rollup(m)
	}
	return m
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
