package vsphereexecutor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/nats-io/nkeys"
	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/reread"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	"yardmaster.dev/services/vsphere-executor/internal/image"
	"yardmaster.dev/services/vsphere-executor/internal/vcenter"
)

// Config is the executor's configuration.
type Config struct {
	Bus bus.Config `json:"bus"`
	// Site is the vCenter's Site document, default dc1.
	Site string `json:"site"`
	// SealSeedFile holds the site's private curve key, the same for all
	// replicas, and after it an older one that still opens what was sealed
	// to it. Without one a key is made up at each start: configs that were
	// sealed before it are then rendered anew.
	SealSeedFile string `json:"sealSeedFile"`
	// SecretsDir, if set, is the only folder whose files a Site may name for
	// its login: set it where others than the executor's own operators may
	// apply Sites.
	SecretsDir string `json:"secretsDir"`
	// ImagesDir keeps images while templates are made of them, default
	// data/images/<site>; it needs room for the largest.
	ImagesDir string `json:"imagesDir"`
	// MirrorDir, if set, is the only folder whose files a Site or an import
	// may name as images and keys.
	MirrorDir string `json:"mirrorDir"`
	// Slots is how many jobs are in work at once, default 32; how many of
	// them vCenter sees at once is in the Site's limits.
	Slots int `json:"slots"`
}

// The defaults of Config.
const (
	defaultSite  = "dc1"
	defaultSlots = 32

	defaultImages = "data/images"
)

// healthBus is the executor's only check: a stand-by is ready too, and a
// vCenter that is away is the breaker's business.
const healthBus = "bus"

var (
	errStarting = errors.New("starting")
	errCut      = errors.New("not connected")
)

// Run works for the site while it has the seat, and stands by otherwise,
// until ctx ends. What it holds then is handed back.
func Run(ctx context.Context, cfg Config, env service.Env) error {
	site := cmp.Or(cfg.Site, defaultSite)
	seal, err := sealKeys(cfg.SealSeedFile, env.Log)
	if err != nil {
		return err
	}
	if cfg.SealSeedFile == "" {
		env.Log.WarnContext(ctx, "seal key made up, since no sealSeedFile is set", service.KeySite, site)
	}
	metrics, backendMetrics := executor.NewMetrics(env.Metrics, env.Name), vcenter.NewMetrics(env.Metrics)
	env.Health.Set(healthBus, errStarting)
	conn, err := bus.Connect(ctx, cfg.Bus, env.Name+"-"+env.Instance, env.Log)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := bus.Check(ctx, conn, subject.ConfigStream(site)); err != nil {
		return err
	}
	backend := vcenter.New(vcenter.Options{
		Site: site, Agent: "yardmaster/" + service.Build().Version, Log: env.Log, Metrics: backendMetrics,
		Secret: secrets{dir: cfg.SecretsDir, env: service.LookupEnv}.read,
		Images: &image.Store{Dir: cmp.Or(cfg.ImagesDir, filepath.Join(defaultImages, site)), Open: inside(cfg.MirrorDir).open},
	})
	defer backend.Close(context.WithoutCancel(ctx))
	runner := &executor.Runner{
		Conn: conn, Site: site, Worker: plan.WorkerVSphere, By: env.Instance, Seal: seal, Backend: backend,
		Slots: cmp.Or(cfg.Slots, defaultSlots), Log: env.Log, Metrics: metrics,
	}
	images := &images{conn: conn, site: site, backend: backend, log: env.Log}
	runner.Beside = images.run
	asked := &asked{name: site, runner: runner, backend: backend, log: env.Log, madeUp: cfg.SealSeedFile == ""}
	runner.Answers = asked.answers()
	if err := runner.Prepare(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return follow(ctx, conn, site, backend.Use, env.Log) })
	group.Go(func() error { return images.follow(ctx) })
	group.Go(func() error { return runner.Run(ctx) })
	group.Go(func() error {
		bus.Heartbeat(ctx, conn, func() wire.ServiceState {
			env.Health.Set(healthBus, connected(conn))
			return state(runner, backend, env)
		})
		return nil
	})
	return group.Wait()
}

func state(r *executor.Runner, b *vcenter.Backend, env service.Env) wire.ServiceState {
	scope := r.State()
	if scope.Active {
		scope.Datastores = b.Datastores()
	}
	return wire.ServiceState{
		Service: env.Name, Instance: env.Instance, Version: service.Build().Version,
		Scopes: []wire.ServiceScope{scope}, Trouble: cmp.Or(scope.BreakerMessage, b.Trouble()),
	}
}

func connected(conn *bus.Conn) error {
	if !conn.NATS().IsConnected() {
		return errCut
	}
	return nil
}

var errNoCurve = errors.New("it holds a user's seed and no curve seed")

// sealKeys reads the site's curve keys, and again when their file changes,
// or makes one up.
func sealKeys(file string, log *slog.Logger) (func(context.Context) []nkeys.KeyPair, error) {
	if file == "" {
		key, err := nkeys.CreateCurveKeys()
		return func(context.Context) []nkeys.KeyPair { return []nkeys.KeyPair{key} }, err
	}
	keys, err := reread.Of(log, func(contents [][]byte) ([]nkeys.KeyPair, error) { return curves(contents[0]) }, file)
	if err != nil {
		return nil, fmt.Errorf("read the site's seal key %s: %w; yardmaster bus init makes it", file, err)
	}
	return keys.Get, nil
}

func curves(content []byte) ([]nkeys.KeyPair, error) {
	keys, err := bus.ParseKeys(content)
	if err != nil {
		return nil, err
	}
	if public, err := keys[0].PublicKey(); err != nil || !nkeys.IsValidPublicCurveKey(public) {
		return nil, errNoCurve
	}
	return keys, nil
}
