package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/proto/subject"
)

// follower reads the last message of every subject of some observations, and
// then every new one.
type follower struct {
	what     string
	filters  []string
	take     func(jetstream.Msg) error
	caughtUp func() // called when all that was there had been taken
}

// run follows until ctx ends. Nothing that is read so is needed to serve, so
// that trouble is no reason to stop.
func (f follower) run(ctx context.Context, conn *bus.Conn, log *slog.Logger) {
	for ctx.Err() == nil {
		err := f.read(ctx, conn, log)
		if ctx.Err() != nil {
			return
		}
		log.WarnContext(ctx, "observations are read anew", service.KeyErr, err.Error())
		_ = pause(ctx, time.Second) // ctx is looked at above
	}
}

func (f follower) read(ctx context.Context, conn *bus.Conn, log *slog.Logger) error {
	consumer, err := conn.JS().OrderedConsumer(ctx, subject.StreamObservations, jetstream.OrderedConsumerConfig{
		FilterSubjects: f.filters, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
	})
	if err != nil {
		return fmt.Errorf("follow the %s: %w", f.what, err)
	}
	if info := consumer.CachedInfo(); info == nil || info.NumPending == 0 {
		f.caughtUp()
	}
	iter, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("follow the %s: %w", f.what, err)
	}
	defer iter.Stop()
	for {
		m, err := iter.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("follow the %s: %w", f.what, err)
		}
		if err := f.take(m); err != nil {
			log.WarnContext(ctx, "observation is not understood", service.KeySubject, m.Subject(), service.KeyErr, err.Error())
		}
		if meta, err := m.Metadata(); err == nil && meta.NumPending == 0 {
			f.caughtUp()
		}
	}
}
