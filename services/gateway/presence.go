package gateway

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// silence is how long a service may be silent before it counts as gone.
const silence = 3 * bus.HeartbeatInterval

// forgetAfter is when a silent service is no longer shown at all.
const forgetAfter = time.Hour

// presence knows which services live, from their heartbeats.
type presence struct {
	mu     sync.Mutex
	loaded time.Time // when the known heartbeats had all been read
	seen   map[string]seen
}

// seen is a service's newest heartbeat and when the server stored it: its
// own clock may be off.
type seen struct {
	wire.ServiceState
	stored time.Time
}

// follow reads the heartbeats until ctx ends; without them nothing is known
// of the services, and all else goes on.
func (p *presence) follow(ctx context.Context, conn *bus.Conn, log *slog.Logger) {
	follower{
		what:    "heartbeats",
		filters: []string{subject.Observation(subject.YardScope, subject.ServiceScope, "*", subject.AspectService)},
		take:    p.take, caughtUp: p.caughtUp,
	}.run(ctx, conn, log)
}

func (p *presence) caughtUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded.IsZero() {
		p.loaded = time.Now()
	}
}

func (p *presence) take(m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	h := m.Headers()
	state, err := wire.DecodeServiceState(h.Get(wire.HeaderType), h.Get(wire.HeaderVersion), m.Data())
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[string]seen{}
	}
	p.seen[m.Subject()] = seen{state, meta.Timestamp}
	return nil
}

// lonely reports that no planner lives, as far as is known; before all
// heartbeats were read nothing is known.
func (p *presence) lonely(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded.IsZero() {
		return false
	}
	for _, s := range p.seen {
		if s.Service == servicePlanner && now.Sub(s.stored) < silence {
			return false
		}
	}
	// A planner that starts with the gateway has not spoken yet.
	return now.Sub(p.loaded) > bus.HeartbeatInterval
}

// The services whose heartbeats mean something to the gateway.
const (
	servicePlanner  = "planner"
	serviceExecutor = "vsphere-executor"
)

// services returns what is known, by service and instance.
func (p *presence) services(now time.Time) []seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []seen
	for key, s := range p.seen {
		if now.Sub(s.stored) > forgetAfter {
			delete(p.seen, key)
			continue
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b seen) int {
		return strings.Compare(a.Service+"/"+a.Instance, b.Service+"/"+b.Instance)
	})
	return out
}
