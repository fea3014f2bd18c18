package renderer

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/pkg/wire"
)

// Config is the renderer's configuration.
type Config struct {
	Bus bus.Config `json:"bus"`
	// Gateway is the URL base at which nodes reach a gateway, unless their
	// site says otherwise. Default http://127.0.0.1:7070, which serves
	// simulated nodes only.
	Gateway string `json:"gateway"`
	// SecretsDir is the folder below which fleets' secret files are read;
	// no other file is. Default /run/secrets.
	SecretsDir string `json:"secretsDir"`
	// Slots is how many jobs are done at once, default 8: rendering is
	// bound by the processor, the rest is waiting for the bus.
	Slots int `json:"slots"`
}

// The defaults of Config.
const (
	defaultGateway    = "http://127.0.0.1:7070"
	defaultSecretsDir = "/run/secrets"
	defaultSlots      = 8
)

func (c *Config) defaults() error {
	if c.Gateway == "" {
		c.Gateway = defaultGateway
	}
	if c.SecretsDir == "" {
		c.SecretsDir = defaultSecretsDir
	}
	if c.Slots == 0 {
		c.Slots = defaultSlots
	}
	u, err := url.Parse(c.Gateway)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
		return fmt.Errorf("gateway %q is not an http or https URL; nodes report to it", c.Gateway)
	}
	dir, err := filepath.Abs(c.SecretsDir)
	if err != nil {
		return fmt.Errorf("secretsDir %q: %w", c.SecretsDir, err)
	}
	c.SecretsDir = dir
	return nil
}

// healthBus is the renderer's only check: all it needs is the bus.
const healthBus = "bus"

var (
	errStarting = errors.New("starting")
	errCut      = errors.New("not connected")
)

func connected(conn *bus.Conn) error {
	if !conn.NATS().IsConnected() {
		return errCut
	}
	return nil
}

// Run renders until ctx ends. What it holds then is handed back.
func Run(ctx context.Context, cfg Config, env service.Env) error {
	if err := cfg.defaults(); err != nil {
		return err
	}
	m, err := newMetrics(env.Metrics, cfg.Slots)
	if err != nil {
		return err
	}
	env.Health.Set(healthBus, errStarting)
	conn, err := bus.Connect(ctx, cfg.Bus, env.Name+"-"+env.Instance, env.Log)
	if err != nil {
		return err
	}
	defer conn.Close()
	yard, err := bus.Check(ctx, conn)
	if err != nil {
		return err
	}
	w := &worker{
		conn: conn, gateway: cfg.Gateway, metrics: m, log: env.Log,
		cache:   &cache{conn: conn, shards: yard.Shards, metrics: m, pools: map[string]*compiled{}},
		secrets: &secrets{dir: cfg.SecretsDir, env: service.LookupEnv},
	}
	work := &executor.Work{Conn: conn, Worker: plan.WorkerRender, Slots: cfg.Slots, By: env.Instance, Log: env.Log}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return work.Run(ctx, w.do) })
	group.Go(func() error {
		bus.Heartbeat(ctx, conn, func() wire.ServiceState {
			env.Health.Set(healthBus, connected(conn))
			return wire.ServiceState{Service: env.Name, Instance: env.Instance, Version: service.Build().Version}
		})
		return nil
	})
	return group.Wait()
}
