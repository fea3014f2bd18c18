package executor

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// tellAgain is the longest pause before an observation is sent again.
const tellAgain = 2 * time.Second

// watch has the backend watch. Observations lie in memory: after a reconnect
// the server may have lost them, so everything is told anew.
func (t *turn) watch(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := t.watchUntilReconnect(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (t *turn) watchUntilReconnect(ctx context.Context) error {
	_, reconnected := t.Conn.Generation()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return t.Backend.Watch(ctx, t.yard, func(s Sighting) { t.tell(ctx, s) })
	})
	group.Go(func() error {
		select {
		case <-reconnected:
			return errReconnected
		case <-ctx.Done():
			return nil
		}
	})
	if err := group.Wait(); !errors.Is(err, errReconnected) {
		return err
	}
	return nil
}

var errReconnected = errors.New("the bus connection is a new one")

// tell publishes a sighting; it tries until it works, since an address that
// does not change is not seen again.
func (t *turn) tell(ctx context.Context, s Sighting) {
	aspect, m, err := encodeSighting(s)
	if err != nil {
		t.Log.ErrorContext(ctx, "observation cannot be encoded", "fleet", s.Fleet, "node", s.Node, "err", err.Error())
		return
	}
	wait := tellAgain / 16
	for {
		_, err := t.Conn.Publish(ctx, bus.NewMsg(subject.Observation(t.Site, s.Fleet, s.Node, aspect), m))
		if err == nil || ctx.Err() != nil {
			return
		}
		t.Log.WarnContext(ctx, "observation was not sent", "fleet", s.Fleet, "node", s.Node, "err", err.Error())
		pause(ctx, wait)
		wait = min(2*wait, tellAgain)
	}
}

// encodeSighting makes the observation of a sighting.
func encodeSighting(s Sighting) (aspect string, m wire.Message, err error) {
	if s.Said != nil {
		m, err = wire.EncodeGuestReport(&wire.GuestReport{Node: s.Node, Incarnation: s.Incarnation, Report: *s.Said})
		return subject.AspectGuestinfo, m, err
	}
	aspect = subject.AspectAddress
	if s.Lost {
		aspect = subject.AspectLost
	}
	m, err = wire.Observation(&plan.Observation{
		Node: s.Node, Incarnation: s.Incarnation, Address: s.Address, Lost: s.Lost, Detail: s.Detail, At: time.Now(),
	})
	return aspect, m, err
}
