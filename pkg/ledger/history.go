package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

const (
	// headerSource stands on copies: the event's sequence in its shard.
	headerSource = "Ym-Source"
	// archiveMost and archiveLinger make batches of what comes together.
	archiveMost   = 500
	archiveLinger = 250 * time.Millisecond
	archiveIdle   = 2 * time.Second
	// archiveQuiet is how long nothing must have been written before events
	// are copied, and archiveLate is how old they may get meanwhile: who
	// waits for a decision goes first, since both share the server's disk.
	archiveQuiet = 500 * time.Millisecond
	archiveLate  = 30 * time.Second
	// archiveBack is how far a new copier goes back: a power cut may have
	// undone events that were copied already, at most a batch or two.
	archiveBack = 2000
)

// archive copies the shard's events to the history stream while we are the
// active planner. The copy is never a source of truth: it may lag, and what
// is copied twice overwrites itself.
func (p *Planner) archive(ctx context.Context) {
	for ctx.Err() == nil {
		if p.active() && p.mirror.Loaded() {
			if err := p.copyEvents(ctx); err != nil && ctx.Err() == nil {
				p.log.WarnContext(ctx, "history lags behind", "err", err)
			}
		}
		pause(ctx, archiveIdle)
	}
}

func (p *Planner) copyEvents(ctx context.Context) error {
	_, changed := p.cfg.Conn.Generation()
	after, err := p.copied(ctx)
	if err != nil {
		return err
	}
	iter, err := openOrdered(ctx, p.cfg.Conn, subject.ShardStream(p.cfg.Shard), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject.KindFilter(p.cfg.Shard, subject.KindEvent)},
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
	}, archiveMost)
	if err != nil {
		return err
	}
	defer iter.Stop()
	for p.active() {
		select {
		case <-changed:
			return nil // what was copied may have been undone: go back
		default:
		}
		msgs, oldest, err := p.copies(ctx, iter)
		if err != nil {
			return err
		}
		if len(msgs) == 0 {
			continue
		}
		p.yield(ctx, oldest.Add(archiveLate))
		call, cancel := context.WithTimeout(ctx, bus.CallTimeout)
		_, err = jetstreamext.PublishMsgBatch(call, p.cfg.Conn.JS(), msgs)
		cancel()
		if err != nil {
			return fmt.Errorf("copy %d events: %w", len(msgs), err)
		}
	}
	return nil
}

// yield waits until the shard is quiet, or until latest.
func (p *Planner) yield(ctx context.Context, latest time.Time) {
	for ctx.Err() == nil && p.active() {
		now := p.cfg.Now()
		quiet := p.landed().Add(archiveQuiet)
		if !now.Before(quiet) || !now.Before(latest) {
			return
		}
		pause(ctx, quiet.Sub(now))
	}
}

// landed is when the newest batch landed.
func (p *Planner) landed() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wrote
}

// copied is up to where events were copied, with a margin.
func (p *Planner) copied(ctx context.Context) (uint64, error) {
	last, err := p.cfg.Conn.LeaderLast(ctx, subject.StreamHistory, subject.HistoryFilter(p.cfg.Shard))
	if errors.Is(err, bus.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	at, err := strconv.ParseUint(last.Header.Get(headerSource), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("history: %s has no source: %w", last.Subject, err)
	}
	return at - min(at, archiveBack), nil
}

// copies gathers the events that come together; oldest is when the first of
// them was stored.
func (p *Planner) copies(ctx context.Context, iter jetstream.MessagesContext) (out []*nats.Msg, oldest time.Time, err error) {
	wait := archiveIdle
	for len(out) < archiveMost {
		msg, err := next(ctx, iter, wait)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			break
		}
		if err != nil {
			return nil, oldest, err
		}
		name, err := subject.Parse(msg.Subject)
		if err != nil {
			return nil, oldest, err
		}
		if len(out) == 0 {
			oldest = msg.Time
		}
		to := subject.History(name.Shard, name.Fleet, name.Node, name.Number)
		m := bus.Rollup(bus.NewMsg(to, wire.Message{Type: msg.Type(), Body: msg.Data}))
		m.Header[wire.HeaderVersion] = []string{msg.Version()}
		m.Header[headerSource] = []string{strconv.FormatUint(msg.Sequence, 10)}
		out = append(out, m)
		wait = archiveLinger
	}
	return out, oldest, nil
}
