package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/ledger"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/pkg/wire"
	v1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
)

// serviceName is the gateway's name in heartbeats.
const serviceName = "gateway"

// Gateway serves the API on a read model.
type Gateway struct {
	yardmasterv1connect.UnimplementedYardServiceHandler

	model    *model
	presence *presence
	stock    stock
	hub      *hub
	metrics  *metrics
	guests   *guests
	reports  chan struct{}
	auditing sync.Mutex
	log      *slog.Logger
}

func newGateway(conn *bus.Conn, shards int, env service.Env, m *metrics) *Gateway {
	g := &Gateway{hub: newHub(m), metrics: m, guests: newGuests(), reports: make(chan struct{}, maxReports), log: env.Log}
	g.model = newModel(conn, shards, env.Log, g.changed)
	g.presence = g.model.presence
	return g
}

// changed tells the watchers what the read model took in.
func (g *Gateway) changed(w *plan.World, c ledger.Change) {
	switch {
	case c.Reset:
		g.hub.reloaded()
	case c.Event != nil:
		g.hub.tell(c.Event.Fleet, func() *v1.WatchResponse {
			return &v1.WatchResponse{Change: &v1.WatchResponse_Event{Event: viewEvent(c.Event)}}
		})
	case c.Record != nil:
		g.changedRecord(w, c.Record)
	}
}

// Run serves the gateway until ctx ends. The listener opens at once and
// answers 503 until the read model is loaded: a booting machine that finds
// nobody would have to guess.
func Run(ctx context.Context, cfg Config, env service.Env) error {
	if cfg.Listen == "" {
		cfg.Listen = DefaultListen
	}
	l, err := listen(ctx, cfg, env.Log)
	if err != nil {
		return err
	}
	return runOn(ctx, l, cfg, env)
}

// runOn is Run on a listener that is open already.
func runOn(ctx context.Context, l net.Listener, cfg Config, env service.Env) error {
	entrance, err := cfg.door(env.Log)
	if err != nil {
		_ = l.Close() // nothing was served on it
		return err
	}
	m := newMetrics(env.Metrics)
	front := &front{}
	front.set(http.HandlerFunc(starting))
	env.Health.Set(healthModel, errLoading)
	env.Log.InfoContext(ctx, "gateway listens", service.KeyAddress, l.Addr().String())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serve(ctx, l, newServer(front, env.Log), front.stop) })
	group.Go(func() error {
		conn, err := bus.Connect(ctx, cfg.Bus, env.Name+"/"+env.Instance, env.Log)
		if err != nil {
			return err
		}
		defer conn.Close()
		for {
			yard, err := checkBus(ctx, conn, env.Log)
			if err != nil {
				return err
			}
			g := newGateway(conn, yard.Shards, env, m)
			front.open(g, g.routes(entrance, observer(cfg, env)))
			err = g.run(ctx, env)
			g.hub.stop()
			if !errors.Is(err, errGrown) {
				return err
			}
			env.Log.InfoContext(ctx, "yard has more shards, the read model is made anew")
		}
	})
	return group.Wait()
}

// healthModel is the gateway's check in /readyz.
const healthModel = "read_model"

// observer serves health and metrics beside the API if that is asked for
// and the process's registry can be read.
func observer(cfg Config, env service.Env) http.Handler {
	gatherer, ok := env.Metrics.(prometheus.Gatherer)
	if !cfg.Observe || !ok {
		return nil
	}
	return service.ObserveHandler(env.Health, gatherer)
}

// startWait bounds the waiting for a bus that answers and is made.
const startWait = 30 * time.Second

// checkBus returns the yard once the streams that the gateway reads are as
// they must be. A server that has just started may take a moment.
func checkBus(ctx context.Context, conn *bus.Conn, log *slog.Logger) (*plan.Yard, error) {
	wait, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for {
		yard, err := bus.Check(wait, conn)
		if err == nil {
			return yard, nil
		}
		log.WarnContext(ctx, "bus is not ready", service.KeyErr, err.Error())
		if pause(wait, time.Second) != nil {
			return nil, fmt.Errorf("start the gateway: %w", err)
		}
	}
}

// run keeps the read model up to date until ctx ends.
func (g *Gateway) run(ctx context.Context, env service.Env) error {
	group, ctx := errgroup.WithContext(ctx)
	conn := g.model.bus
	group.Go(func() error { return g.model.mirror.Run(ctx) })
	group.Go(func() error { g.presence.follow(ctx, conn, g.log); return nil })
	group.Go(func() error { return g.listen(ctx, conn) })
	group.Go(func() error { g.countSilent(ctx); return nil })
	group.Go(func() error { g.stock.follow(ctx, conn, g.log); return nil })
	group.Go(func() error {
		return g.model.watch(ctx, func() {
			env.Health.Set(healthModel, g.model.health())
			g.metrics.observed(&g.model.asOf)
		})
	})
	group.Go(func() error {
		bus.Heartbeat(ctx, conn, func() wire.ServiceState {
			return wire.ServiceState{Service: serviceName, Instance: env.Instance, Version: service.Build().Version}
		})
		return nil
	})
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

// health is what /readyz says: a gateway that lost the bus stays ready,
// because it still answers reads and nodes are owed a 503 rather than
// nobody.
func (m *model) health() error {
	if !m.loaded() {
		return errLoading
	}
	return nil
}

// front is the listener's handler, which changes once the bus is there.
type front struct {
	handler atomic.Pointer[http.Handler]
	gateway atomic.Pointer[Gateway]
}

func (f *front) set(h http.Handler) { f.handler.Store(&h) }

func (f *front) open(g *Gateway, h http.Handler) {
	f.gateway.Store(g)
	f.set(h)
}

// stop ends the open watches, so that the listener can close.
func (f *front) stop() {
	if g := f.gateway.Load(); g != nil {
		g.hub.stop()
	}
}

// ServeHTTP serves with the present handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*f.handler.Load()).ServeHTTP(w, r)
}

// starting answers while there is no bus yet.
func starting(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", "2")
	http.Error(w, "the gateway is starting and has not reached the bus yet", http.StatusServiceUnavailable)
}
