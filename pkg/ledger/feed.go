package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/proto/subject"
)

// feed reads one shard's stream: first every kind by itself, then what comes.
type feed struct {
	conn   *bus.Conn
	shard  int
	events bool
}

// kinds is what a mirror keeps, in the order of loading: what others refer
// to comes first. The first part lives in shard 0 only.
var (
	yardKinds = []subject.Kind{
		subject.KindYard, subject.KindSite, subject.KindNetwork, subject.KindImages, subject.KindPlace, subject.KindClaim,
		// Seats are not remembered, but they pass by: else the newest
		// sequence of shard 0 might be one that no mirror ever reaches.
		subject.KindSeat,
	}
	fleetKinds = []subject.Kind{
		subject.KindFleet, subject.KindRevision, subject.KindNode, subject.KindDeadLetter, subject.KindReceipt,
	}
)

const (
	// pullMany is for loading, pullSome for following.
	pullMany = 20000
	pullSome = 500
	// stall is how long a load may stand still before its consumer, which
	// may live on a lagging copy, is made anew.
	stall     = 2 * time.Second
	loadTries = 5
	// idleConsumer is when the server forgets a consumer nobody reads from.
	idleConsumer = 30 * time.Second
)

var errShortLoad = errors.New("the copy of the stream that answers is behind its leader")

func (f *feed) kinds() []subject.Kind {
	if f.shard != 0 {
		return fleetKinds
	}
	return append(append([]subject.Kind{}, yardKinds...), fleetKinds...)
}

// filters are for following. Inputs are among them, so that an input's own
// sequence passes by and the barrier needs to guess nothing about gaps.
func (f *feed) filters() []string {
	out := []string{subject.InputFilter(f.shard)}
	for _, k := range f.kinds() {
		out = append(out, subject.KindFilter(f.shard, k))
	}
	if f.events {
		out = append(out, subject.KindFilter(f.shard, subject.KindEvent))
	}
	return out
}

// state asks the leader how long the stream is and when it was made.
func (f *feed) state(ctx context.Context) (last uint64, created time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, bus.CallTimeout)
	defer cancel()
	s, err := f.conn.JS().Stream(ctx, subject.ShardStream(f.shard))
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("ask for the state of shard %d: %w", f.shard, err)
	}
	info := s.CachedInfo()
	return info.State.LastSeq, info.Created, nil
}

// load reads every record and returns the sequence from which following must
// go on. Kinds are loaded one by one: a consumer with several filters takes
// seconds on a stream with many holes.
func (f *feed) load(ctx context.Context, take func(*bus.Message) error) (noted uint64, created time.Time, err error) {
	noted, created, err = f.state(ctx)
	if err != nil {
		return 0, created, err
	}
	for _, k := range f.kinds() {
		if err := f.loadKind(ctx, k, take); err != nil {
			return 0, created, fmt.Errorf("load %s of shard %d: %w", k, f.shard, err)
		}
	}
	return noted, created, nil
}

// loadKind reads until the kind's last message, as the leader knows it, was
// seen. That nothing is pending any more proves nothing: the consumer may
// live on a copy that lags.
func (f *feed) loadKind(ctx context.Context, kind subject.Kind, take func(*bus.Message) error) error {
	filter := subject.KindFilter(f.shard, kind)
	for try := 0; ; try++ {
		last, err := f.conn.LeaderLast(ctx, subject.ShardStream(f.shard), filter)
		if errors.Is(err, bus.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		err = f.readUntil(ctx, filter, last.Sequence, take)
		if !errors.Is(err, errShortLoad) || try >= loadTries {
			return err
		}
	}
}

func (f *feed) readUntil(ctx context.Context, filter string, last uint64, take func(*bus.Message) error) error {
	iter, err := f.open(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{filter}}, pullMany)
	if err != nil {
		return err
	}
	defer iter.Stop()
	for {
		msg, err := next(ctx, iter, stall)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return errShortLoad
		}
		if err != nil {
			return err
		}
		if err := take(msg); err != nil {
			return err
		}
		if msg.Sequence >= last {
			return nil
		}
	}
}

// follow delivers what comes after a sequence until ctx ends.
func (f *feed) follow(ctx context.Context, after uint64, take func(*bus.Message) error) error {
	iter, err := f.open(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: f.filters(), DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
	}, pullSome)
	if err != nil {
		return fmt.Errorf("follow shard %d: %w", f.shard, err)
	}
	defer iter.Stop()
	for {
		msg, err := next(ctx, iter, 0)
		if err != nil {
			return fmt.Errorf("follow shard %d: %w", f.shard, err)
		}
		if err := take(msg); err != nil {
			return err
		}
	}
}

func (f *feed) open(ctx context.Context, cfg jetstream.OrderedConsumerConfig, pull int) (jetstream.MessagesContext, error) {
	return openOrdered(ctx, f.conn, subject.ShardStream(f.shard), cfg, pull)
}

func openOrdered(ctx context.Context, conn *bus.Conn, stream string, cfg jetstream.OrderedConsumerConfig, pull int) (jetstream.MessagesContext, error) {
	ctx, cancel := context.WithTimeout(ctx, bus.CallTimeout)
	defer cancel()
	cfg.InactiveThreshold = idleConsumer
	consumer, err := conn.JS().OrderedConsumer(ctx, stream, cfg)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", stream, err)
	}
	iter, err := consumer.Messages(jetstream.PullMaxMessages(pull))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", stream, err)
	}
	return iter, nil
}

// next waits for a message, for at most patience unless that is zero.
func next(ctx context.Context, iter jetstream.MessagesContext, patience time.Duration) (*bus.Message, error) {
	if patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	msg, err := iter.Next(jetstream.NextContext(ctx))
	if err != nil {
		return nil, err
	}
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("message without metadata: %w", err)
	}
	return &bus.Message{
		Subject: msg.Subject(), Sequence: meta.Sequence.Stream, Time: meta.Timestamp, Header: msg.Headers(), Data: msg.Data(),
	}, nil
}
