package renderer

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/render"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// worker does render jobs.
type worker struct {
	conn    *bus.Conn
	cache   *cache
	secrets *secrets
	gateway string
	metrics *metrics
	log     *slog.Logger
}

// do is the executor.Handler: it does a job and classifies what went wrong.
func (w *worker) do(ctx context.Context, job *plan.Job) (result *plan.Result) {
	defer w.metrics.begin()()
	defer func() { w.metrics.end(job, result) }()
	log := w.log.With(service.KeyFleet, job.Fleet, service.KeyNode, job.Node, service.KeyJob, job.Number, service.KeyAction, string(job.Action))
	var err error
	switch job.Action { //nolint:exhaustive // the others are not ours
	case plan.ActionRender:
		result, err = w.render(ctx, job)
	case plan.ActionForget:
		result, err = &plan.Result{}, w.forget(ctx, job)
	default:
		err = fault.Newf(fault.Permanent, fault.SpecUnsupported, "the renderer does not know the action %q; it may be older than the planner", job.Action)
	}
	if err == nil {
		log.DebugContext(ctx, "job done", service.KeyAttempt, job.Attempt)
		return result
	}
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return nil // we are stopping: another one takes it
	}
	failure := classify(err)
	log.WarnContext(ctx, "job failed", service.KeyAttempt, job.Attempt, service.KeyReason, string(failure.Reason), service.KeyErr, failure.Message)
	return &plan.Result{Failure: failure}
}

// render makes, seals and stores the node's config. A second call draws
// another token and makes another config: the planner takes the first result
// it gets, and the config that nobody asks for expires.
func (w *worker) render(ctx context.Context, job *plan.Job) (*plan.Result, error) {
	pool, err := w.cache.get(ctx, job)
	if err != nil {
		return nil, err
	}
	if pool.refused != nil {
		return nil, pool.refused
	}
	defer w.metrics.time(stepNode)()
	// Nothing is published for a site that nobody serves: the bus would not
	// know it, and refuse us.
	key, err := w.sealKey(ctx, job.Site)
	if err != nil {
		return nil, err
	}
	node, err := w.node(job, pool)
	if err != nil {
		return nil, err
	}
	cfg, err := pool.Stamp(*node)
	if err != nil {
		return nil, err
	}
	sealed, err := render.Seal(cfg, key)
	if err != nil {
		return nil, fault.New(fault.Permanent, fault.Unknown, err)
	}
	w.metrics.sizes.Observe(float64(cfg.Size))
	if err := w.store(ctx, job.Site, cfg.Digest, sealed); err != nil {
		return nil, err
	}
	token := sha256.Sum256([]byte(node.PhoneHomeToken))
	return &plan.Result{ConfigDigest: cfg.Digest, ConfigSize: cfg.Size, TokenSHA256: hex.EncodeToString(token[:])}, nil
}

func (w *worker) node(job *plan.Job, pool *compiled) (*render.Node, error) {
	n := &render.Node{
		Name: job.Fleet + "-" + job.Node, Fleet: job.Fleet, Pool: job.Pool, Ordinal: job.Ordinal,
		Hostname: job.Hostname, UUID: job.MachineUUID, MAC: job.MAC, Networks: job.Networks,
		PhoneHomeURL: job.PhoneHome, PhoneHomeToken: rand.Text(), Secrets: map[string]string{},
	}
	if n.PhoneHomeURL == "" {
		n.PhoneHomeURL = w.gateway
	}
	for _, name := range pool.Secrets() {
		value, err := w.secrets.read(name, pool.secrets[name])
		if err != nil {
			return nil, err
		}
		n.Secrets[name] = value
	}
	return n, nil
}

// retrySeat is how long the planner waits for a site's executor to come.
const retrySeat = time.Second

// sealKey reads from the site's seat to whom the config is sealed.
func (w *worker) sealKey(ctx context.Context, site string) (string, error) {
	absent := &fault.Error{
		Kind: fault.Busy, Reason: fault.BackendDown, RetryAfter: retrySeat,
		Hint: "start the vsphere-executor of site " + site,
		Err:  fmt.Errorf("site %s has no executor yet, so there is no key to seal the config to", site),
	}
	m, err := w.conn.Last(ctx, subject.ShardStream(0), subject.Seat(site))
	if errors.Is(err, bus.ErrNotFound) {
		return "", absent
	}
	if err != nil {
		return "", busTrouble(err)
	}
	seat, err := wire.DecodeSeat(m.Type(), m.Version(), m.Data)
	if err != nil {
		return "", fmt.Errorf("read the seat of site %s: %w", site, err)
	}
	if seat.SealKey == "" {
		return "", absent
	}
	return seat.SealKey, nil
}

// forget overwrites the config, after which nobody can read it again.
func (w *worker) forget(ctx context.Context, job *plan.Job) error {
	if job.ConfigDigest == "" {
		return nil
	}
	return w.store(ctx, job.Site, job.ConfigDigest, nil)
}

// typeConfig is the type header of a sealed config.
const typeConfig = "sealed_config"

func (w *worker) store(ctx context.Context, site, digest string, sealed []byte) error {
	m := bus.Rollup(bus.NewMsg(subject.Config(site, digest), wire.Message{Type: typeConfig, Body: sealed}))
	if _, err := w.conn.Publish(ctx, m); err != nil {
		return busTrouble(err)
	}
	return nil
}

// busTrouble is the bus's failure: it is held against no node.
func busTrouble(err error) error {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return &fault.Error{
			Kind: fault.Busy, Reason: fault.BackendBusy, Err: fmt.Errorf("the bus refuses: %w", api),
			Hint: "yardctl status shows whether a stream is full",
		}
	}
	return fault.New(fault.Busy, fault.BackendDown, err)
}

// classify says what an error of the renderer means for the job. What render
// refuses it will refuse again.
func classify(err error) *plan.Failure {
	_, refused := errors.AsType[*render.RefusedError](err)
	switch {
	case errors.Is(err, render.ErrTooLarge):
		err = fault.WithHint(fault.New(fault.Permanent, fault.ConfigTooLarge, err),
			"fetch large files by https with a hash instead of holding them in the config")
	case errors.Is(err, render.ErrSecret):
		err = fault.New(fault.Permanent, fault.SecretMissing, err)
	case refused, errors.Is(err, render.ErrValue):
		err = fault.WithHint(fault.New(fault.Permanent, fault.ConfigRefused, err),
			"mend the fleet's config and apply it; yardctl render shows the same offline")
	}
	f := fault.Of(err)
	if f.Reason == fault.SecretMissing && f.Hint == "" {
		f.Hint = "put it where the fleet says, at every renderer, then: yardctl retry"
	}
	return &plan.Failure{Kind: f.Kind, Reason: f.Reason, Message: err.Error(), Hint: f.Hint, RetryAfter: f.RetryAfter}
}
