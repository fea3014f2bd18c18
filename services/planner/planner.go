// Package planner is the service that decides: it runs one ledger loop per
// shard, says that it lives, and shows what it knows as metrics. It is the
// only writer of the yard's state and does nothing to machines.
package planner

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/ledger"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// Config is the planner's configuration; the zero value plans every shard of
// the yard on the NATS server on loopback.
type Config struct {
	Bus bus.Config `json:"bus"`
	// Shards are those to plan; empty means all.
	Shards []string `json:"shards"`
}

// The health checks.
const (
	checkBus    = "bus"
	checkMemory = "memory"
)

var (
	errStarting = errors.New("starting")
	errLoading  = errors.New("the records are being loaded")
)

const statusInterval = time.Second

// Run plans until ctx ends; it then finishes the batch at hand, gives back
// the inputs that it holds, and returns.
func Run(ctx context.Context, cfg Config, env service.Env) error {
	env.Health.Set(checkBus, errStarting)
	env.Health.Set(checkMemory, errStarting)
	conn, err := bus.Connect(ctx, cfg.Bus, "planner "+env.Instance, env.Log)
	if err != nil {
		return err
	}
	defer conn.Close()
	yard, err := bus.Await(ctx, conn, func(err error) {
		env.Health.Set(checkBus, err)
		env.Log.WarnContext(ctx, "waiting for the yard", service.KeyErr, err.Error())
	}, subject.StreamObservations)
	if err != nil {
		return err
	}
	shards, err := cfg.shards(yard.Shards)
	if err != nil {
		return err
	}
	env.Health.Set(checkBus, nil)
	s := &server{env: env, conn: conn, metrics: newMetrics()}
	group, ctx := errgroup.WithContext(ctx)
	for _, k := range shards {
		own, err := bus.Connect(ctx, cfg.Bus, fmt.Sprintf("planner %s shard %d", env.Instance, k), env.Log)
		if err != nil {
			return err
		}
		defer own.Close()
		s.add(own, k)
	}
	if err := s.metrics.register(env.Metrics, s.planners); err != nil {
		return err
	}
	for _, p := range s.planners {
		group.Go(func() error { return p.Run(ctx) })
	}
	group.Go(func() error { bus.Heartbeat(ctx, conn, s.state); return nil })
	group.Go(func() error { s.watch(ctx); return nil })
	group.Go(func() error {
		select {
		case err := <-conn.Failed():
			return err
		case <-ctx.Done():
			return nil
		}
	})
	return group.Wait()
}

func (cfg Config) shards(of int) ([]int, error) {
	var out []int
	for _, text := range cfg.Shards {
		k, err := strconv.Atoi(text)
		if err != nil || k < 0 || k >= of {
			return nil, fmt.Errorf("shards: %q is no shard of this yard, which has 0 to %d", text, of-1)
		}
		out = append(out, k)
	}
	if len(out) > 0 {
		return out, nil
	}
	for k := range of {
		out = append(out, k)
	}
	return out, nil
}

// server is one run of the service.
type server struct {
	env      service.Env
	conn     *bus.Conn
	metrics  *metrics
	planners []*ledger.Planner
}

// add makes a shard's planner, on a connection of its own: a shard whose
// leader is cut off must not move the others.
func (s *server) add(conn *bus.Conn, shard int) {
	s.planners = append(s.planners, ledger.NewPlanner(ledger.PlannerConfig{
		Conn: conn, Shard: shard, Instance: s.env.Instance, Log: s.env.Log,
		OnCommit: func(c ledger.Commit) { s.metrics.committed(c, s.node) },
	}))
}

// node looks a node up in whichever shard has it.
func (s *server) node(shard int, fleet, key string) *plan.Node {
	for _, p := range s.planners {
		if p.Status().Shard != shard {
			continue
		}
		var n *plan.Node
		p.View(func(w *plan.World) { n = w.Node(fleet, key) })
		return n
	}
	return nil
}

// state is the heartbeat.
func (s *server) state() wire.ServiceState {
	out := wire.ServiceState{Service: "planner", Instance: s.env.Instance, Version: service.Build().Version}
	for _, p := range s.planners {
		st := p.Status()
		out.Scopes = append(out.Scopes, wire.ServiceScope{Name: scope(st.Shard), Active: st.Active})
		if st.Trouble != "" {
			out.Trouble = fmt.Sprintf("shard %d: %s", st.Shard, st.Trouble)
		}
		if st.ClockOffset.Abs() > out.ClockOffset.Abs() {
			out.ClockOffset = st.ClockOffset
		}
	}
	return out
}

func scope(shard int) string { return "shard-" + strconv.Itoa(shard) }

// watch keeps the health checks and the stream metrics current.
func (s *server) watch(ctx context.Context) {
	tick := time.NewTicker(statusInterval)
	defer tick.Stop()
	for n := 0; ; n++ {
		s.check()
		if n%streamEvery == 0 {
			s.metrics.observeStreams(ctx, s.conn, s.planners)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *server) check() {
	var memory, trouble error
	for _, p := range s.planners {
		st := p.Status()
		if !st.Loaded {
			memory = fmt.Errorf("shard %d: %w", st.Shard, errLoading)
		}
		if st.Trouble != "" {
			trouble = fmt.Errorf("shard %d: %s", st.Shard, st.Trouble) //nolint:err113 // words for an operator
		}
	}
	s.env.Health.Set(checkMemory, memory)
	s.env.Health.Set("ledger", trouble)
}
