package ledger

import (
	"context"
	"fmt"
	"time"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/proto/subject"
)

const (
	// clockLimit is how far our clock may be from the stream's.
	clockLimit    = 5 * time.Second
	clockInterval = 5 * time.Second
	pinInterval   = time.Second
)

// watchClock compares our clock with the stream's: deadlines follow it, and
// a planner with a wrong one would give up nodes that are well.
func (p *Planner) watchClock(ctx context.Context) error {
	tick := time.NewTicker(clockInterval)
	defer tick.Stop()
	for {
		if err := p.compareClock(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (p *Planner) compareClock(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, bus.CallTimeout)
	defer cancel()
	before := p.cfg.Now()
	s, err := p.cfg.Conn.JS().Stream(call, subject.ShardStream(p.cfg.Shard))
	if err != nil {
		return nil // the loop meets the same trouble and says so
	}
	after := p.cfg.Now()
	stream := s.CachedInfo().TimeStamp
	offset := time.Duration(0)
	switch {
	case stream.Before(before):
		offset = before.Sub(stream)
	case stream.After(after):
		offset = after.Sub(stream)
	}
	p.mu.Lock()
	p.status.ClockOffset = offset
	p.mu.Unlock()
	if offset.Abs() > clockLimit {
		return fmt.Errorf("this machine's clock is %s off the NATS server's, more than %s: deadlines would be wrong; mend the time synchronisation of both, then start the planner again", offset, clockLimit)
	}
	return nil
}

// watchPin finds out whether inputs come to us. Only an input tells under
// which name the server knows us, so that the planner writes to itself when
// it cannot tell.
func (p *Planner) watchPin(ctx context.Context) {
	tick := time.NewTicker(pinInterval)
	defer tick.Stop()
	asked := "nobody yet"
	for {
		pinned, ok := p.pinned(ctx)
		p.mu.Lock()
		mine := p.pin != "" && p.pin == pinned
		if ok {
			p.status.Active = mine
		}
		p.mu.Unlock()
		if ok && !mine && pinned != asked && p.mirror.Loaded() {
			asked = pinned
			p.ping(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// pinned is the name of the client that the server gives inputs to.
func (p *Planner) pinned(ctx context.Context) (string, bool) {
	ctx, cancel := context.WithTimeout(ctx, bus.CallTimeout)
	defer cancel()
	c, err := p.cfg.Conn.JS().Consumer(ctx, subject.ShardStream(p.cfg.Shard), subject.ConsumerPlanner)
	if err != nil {
		return "", false
	}
	for _, g := range c.CachedInfo().PriorityGroups {
		if g.Group == subject.ConsumerPlanner {
			return g.PinnedClientID, true
		}
	}
	return "", true
}
