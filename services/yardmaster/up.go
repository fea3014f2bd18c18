package yardmaster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/bus/embedded"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/proto/subject"
	"yardmaster.dev/services/gateway"
	"yardmaster.dev/services/planner"
	"yardmaster.dev/services/renderer"
	executor "yardmaster.dev/services/vsphere-executor"
)

// site is the simulated site of a yard on one machine.
const site = "dc1"

// errStopped ends the group when everything was stopped on purpose.
var errStopped = errors.New("stopped")

// Up runs a whole yard until ctx ends: first the embedded server and the
// simulated world, then every service; it stops them in the other order. It
// shows on out what a person needs, and logs to a file.
func Up(ctx context.Context, o Options, out io.Writer) error {
	began := time.Now()
	d := o.files()
	if err := o.checkPorts(ctx); err != nil {
		return err
	}
	if err := d.create(); err != nil {
		return err
	}
	token, err := d.ownToken()
	if err != nil {
		return err
	}
	logFile, err := os.OpenFile(d.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer func() { _ = logFile.Close() }()
	y := yard{options: o, token: token, log: service.NewLogger(logFile, "info"), screen: screen{out: out, began: began}}
	server, err := y.startBus(ctx)
	if err != nil {
		return err
	}
	defer server.Shutdown()
	err = y.run(ctx, server)
	if err == nil || errors.Is(err, errStopped) || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		y.screen.stopped()
		return nil
	}
	return fmt.Errorf("%w; the log is in %s", err, d.log())
}

// yard is what the parts of one yard share.
type yard struct {
	options Options
	token   string
	log     *slog.Logger
	screen  screen
}

func (y yard) startBus(ctx context.Context) (*embedded.Server, error) {
	o := y.options
	host, port, err := splitAddr(o.NATS)
	if err != nil {
		return nil, err
	}
	t := subject.Topology{Shards: o.Shards, Sites: []string{site}, Replicas: 1}
	users, err := bus.MakeUsers(o.Dir, t)
	if err != nil {
		return nil, err
	}
	server, err := embedded.Start(embedded.Options{Dir: o.files().nats(), Host: host, Port: port, Users: users, Log: y.log.With(service.KeyService, "nats")})
	if err != nil {
		return nil, err
	}
	if err := initBus(ctx, server.Config(o.Dir, subject.UserAdmin), t, y.log); err != nil {
		server.Shutdown()
		return nil, err
	}
	return server, nil
}

// run starts the simulated world and the services, and shows the first
// fleet's way. The services stop before the world that they work on.
func (y yard) run(ctx context.Context, server *embedded.Server) error {
	world, stopWorld := context.WithCancel(context.WithoutCancel(ctx))
	outer := new(errgroup.Group)
	outer.Go(func() error { return superviseSimulator(world, y.options, y.log) })
	defer func() {
		stopWorld()
		_ = outer.Wait() // it only ends with its context
	}()
	if err := simulatorReady(ctx, y.options); err != nil {
		return err
	}
	siteDoc, err := y.simulatedSite()
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range y.services(server) {
		group.Go(func() error {
			if err := s.run(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			return errStopped
		})
	}
	group.Go(func() error { return y.welcome(ctx, siteDoc) })
	return group.Wait()
}

// part is one service of the yard.
type part struct {
	name string
	run  func(context.Context) error
}

// services wires every service to this yard's bus, each as its own user.
func (y yard) services(server *embedded.Server) []part {
	o, d := y.options, y.options.files()
	metrics := gathered{Registerer: service.NewRegistry()}
	metrics.Gatherers = prometheus.Gatherers{metrics.Registerer.(prometheus.Gatherer)} //nolint:errcheck // a Registry is both
	health := service.NewHealth()
	env := func(name string) service.Env {
		own := prometheus.NewRegistry()
		metrics.Gatherers = append(metrics.Gatherers, own)
		return service.Env{
			Name: name, Instance: name, Metrics: own, Health: health,
			Log: y.log.With(service.KeyService, name),
		}
	}
	as := func(user string) bus.Config { return server.Config(o.Dir, user) }
	plannerEnv, rendererEnv, executorEnv, gatewayEnv := env("planner"), env("renderer"), env("vsphere-executor"), env("gateway")
	gatewayEnv.Metrics = metrics
	return []part{
		{"planner", func(ctx context.Context) error {
			return planner.Run(ctx, planner.Config{Bus: as(subject.UserPlanner)}, plannerEnv)
		}},
		{"renderer", func(ctx context.Context) error {
			return renderer.Run(ctx, renderer.Config{Bus: as(subject.UserRenderer), SecretsDir: d.secrets(), Gateway: y.gatewayURL()}, rendererEnv)
		}},
		{"vsphere-executor", func(ctx context.Context) error {
			return executor.Run(ctx, executor.Config{Bus: as(subject.ConsumerVSphere(site)), Site: site, SealSeedFile: bus.SealFile(o.Dir, site), ImagesDir: d.images()}, executorEnv)
		}},
		{"gateway", func(ctx context.Context) error {
			return gateway.Run(ctx, gateway.Config{Bus: as(subject.UserGateway), Listen: o.Gateway, TokenFile: d.token(), Observe: true}, gatewayEnv)
		}},
	}
}

// gathered registers into one registry and serves those of all services.
type gathered struct {
	prometheus.Registerer
	prometheus.Gatherers
}

func (y yard) gatewayURL() string { return "http://" + y.options.Gateway }
