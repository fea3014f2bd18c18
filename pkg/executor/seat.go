package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

const (
	// SeatTTL is how long a seat outlives its last renewal, and so the
	// longest that a site is without an active executor.
	SeatTTL = 6 * time.Second
	// clockTolerance: a seat that ran out that long ago by our own clock is
	// free, even if we did not watch it run out.
	clockTolerance = 5 * time.Second
	giveUpWithin   = 2 * time.Second
)

// Seat is the right to act for a site: one record, held by compare-and-set
// and renewed while it is used. Its epoch grows with every taking and is the
// fencing token. Whether somebody else's seat has run out is judged by its
// record not changing for a while, not by comparing clocks.
type Seat struct {
	Conn *bus.Conn
	Site string
	// Holder is this replica's name.
	Holder string
	// SealKey returns the site's public curve key of the present; renderers
	// seal to it. Each renewal announces it.
	SealKey func(context.Context) (string, error)
	// TTL is SeatTTL by default.
	TTL time.Duration
	Log *slog.Logger

	mu   sync.Mutex
	held wire.Seat // our own record; epoch 0 when we hold none
	seq  uint64
	// until is when our right ends unless it is renewed, by the monotonic
	// clock, which goes on while the process is frozen.
	until time.Time
}

// watched is somebody's seat and since when we see it unchanged.
type watched struct {
	seq   uint64
	since time.Time
}

// Hold waits until the seat is ours, runs work until it is lost or ctx ends,
// gives the seat up and returns work's error. The context of work ends with
// the seat.
func (s *Seat) Hold(ctx context.Context, work func(ctx context.Context, epoch int64) error) error {
	epoch, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	s.Log.InfoContext(ctx, "seat taken", "site", s.Site, "epoch", epoch)
	held, lose := context.WithCancel(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() {
		defer lose()
		s.renew(held)
	})
	err = work(held, epoch)
	lose()
	renewing.Wait()
	s.giveUp(ctx)
	return err
}

// Holding reports whether the seat is ours, and its epoch.
func (s *Seat) Holding() (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held.Epoch, s.held.Epoch != 0 && time.Now().Before(s.until)
}

// Confirm returns an error unless we hold the seat of that epoch, by our own
// clock and by the record.
func (s *Seat) Confirm(ctx context.Context, epoch int64) error {
	if now, ok := s.Holding(); !ok || now != epoch {
		return fault.Newf(fault.Cancelled, fault.Stopped, "the seat of site %s of epoch %d has run out", s.Site, epoch)
	}
	current, _, err := s.read(ctx)
	if err != nil {
		return fault.New(fault.Cancelled, fault.Stopped, fmt.Errorf("confirm the seat of site %s: %w", s.Site, err))
	}
	if current.Epoch != epoch || current.Holder != s.Holder {
		return fault.Newf(fault.Cancelled, fault.Stopped, "the seat of site %s is %s's in epoch %d, ours was %d", s.Site, current.Holder, current.Epoch, epoch)
	}
	return nil
}

func (s *Seat) ttl() time.Duration {
	if s.TTL > 0 {
		return s.TTL
	}
	return SeatTTL
}

// acquire looks often enough that a free seat does not wait.
func (s *Seat) acquire(ctx context.Context) (int64, error) {
	var seen watched
	for {
		epoch, err := s.try(ctx, &seen)
		if epoch > 0 {
			return epoch, nil
		}
		if err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "seat cannot be taken", "site", s.Site, "err", err.Error())
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for the seat of site %s: %w", s.Site, ctx.Err())
		case err := <-s.Conn.Failed():
			return 0, err
		case <-time.After(s.ttl() / 10):
		}
	}
}

// try takes the seat if it is free; epoch 0 means that it is not.
func (s *Seat) try(ctx context.Context, seen *watched) (int64, error) {
	current, seq, err := s.read(ctx)
	if err != nil {
		return 0, err
	}
	now := time.Now()
	if seen.seq != seq || seen.since.IsZero() {
		*seen = watched{seq: seq, since: now}
	}
	free := current.Holder == "" ||
		current.Epoch == s.held.Epoch || // we had it and came back in time
		now.After(current.Until.Add(clockTolerance)) ||
		now.Sub(seen.since) > s.ttl()+s.ttl()/10
	if !free {
		return 0, nil
	}
	key, err := s.SealKey(ctx)
	if err != nil {
		return 0, err
	}
	next := wire.Seat{Holder: s.Holder, Epoch: current.Epoch + 1, SealKey: key}
	if err := s.write(ctx, next, seq); err != nil {
		if bus.Code(err) == bus.CodeWrongLastSequence {
			return 0, nil // somebody was faster
		}
		return 0, err
	}
	return next.Epoch, nil
}

func (s *Seat) read(ctx context.Context) (wire.Seat, uint64, error) {
	m, err := s.Conn.Last(ctx, subject.ShardStream(0), subject.Seat(s.Site))
	if errors.Is(err, bus.ErrNotFound) {
		return wire.Seat{}, 0, nil
	}
	if err != nil {
		return wire.Seat{}, 0, err
	}
	seat, err := wire.DecodeSeat(m.Type(), m.Version(), m.Data)
	return seat, m.Sequence, err
}

// write stores the seat, valid for a TTL from now, over message seq. A write
// that timed out may have landed: then the record is ours all the same.
func (s *Seat) write(ctx context.Context, seat wire.Seat, seq uint64) error {
	now := time.Now()
	seat.Until = now.Add(s.ttl())
	m, err := wire.EncodeSeat(seat)
	if err != nil {
		return err
	}
	written, err := s.Conn.Publish(ctx, bus.Rollup(bus.Expect(bus.NewMsg(subject.Seat(s.Site), m), seq)))
	if err != nil {
		current, at, readErr := s.read(ctx)
		if readErr != nil || current.Holder != seat.Holder || current.Epoch != seat.Epoch || !current.Until.Equal(seat.Until) {
			return err
		}
		written = at
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.seq, s.until = seat, written, now.Add(s.ttl())
	return nil
}

// renew returns when the seat is lost or about to run out.
func (s *Seat) renew(ctx context.Context) {
	every := s.ttl() / 4
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		s.mu.Lock()
		held, seq, until := s.held, s.seq, s.until
		s.mu.Unlock()
		if key, err := s.SealKey(ctx); err == nil && key != held.SealKey {
			s.Log.InfoContext(ctx, "seal key announced", "site", s.Site, "key", key)
			held.SealKey = key
		}
		err := s.write(ctx, held, seq)
		switch {
		case ctx.Err() != nil || err == nil:
		case bus.Code(err) == bus.CodeWrongLastSequence:
			s.Log.WarnContext(ctx, "seat lost to another", "site", s.Site, "epoch", held.Epoch)
			s.drop()
			return
		case time.Until(until) < every:
			s.Log.WarnContext(ctx, "seat cannot be renewed", "site", s.Site, "epoch", held.Epoch, "err", err.Error())
			return
		}
	}
}

func (s *Seat) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Time{}
}

// giveUp lets another replica in at once. If it cannot be said, the seat runs
// out by itself.
func (s *Seat) giveUp(ctx context.Context) {
	_, holding := s.Holding()
	s.mu.Lock()
	seat, seq := s.held, s.seq
	s.until = time.Time{}
	s.mu.Unlock()
	if !holding {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpWithin)
	defer cancel()
	seat.Holder, seat.Until = "", time.Now()
	m, err := wire.EncodeSeat(seat)
	if err == nil {
		_, err = s.Conn.Publish(ctx, bus.Rollup(bus.Expect(bus.NewMsg(subject.Seat(s.Site), m), seq)))
	}
	if err != nil {
		s.Log.WarnContext(ctx, "seat was not given up; it runs out", "site", s.Site, "err", err.Error())
		return
	}
	s.Log.InfoContext(ctx, "seat given up", "site", s.Site, "epoch", seat.Epoch)
}
