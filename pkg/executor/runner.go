package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/render"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
)

// Runner drives the jobs of one site through a Backend while it holds the
// site's seat; replicas of it stand by.
type Runner struct {
	Conn *bus.Conn
	Site string
	// Worker is whose jobs it takes.
	Worker plan.Worker
	// By is this replica's name, in the seat and in results.
	By string
	// Seal returns the site's private curve keys of the present: renderers
	// seal to the first, the others open what was sealed before.
	Seal    func(context.Context) []nkeys.KeyPair
	Backend Backend
	// Answers are the questions that the active executor answers, by their
	// subject's last token.
	Answers map[string]Answer
	// Slots is how many jobs are done at once.
	Slots int
	// SeatTTL and BreakerPause are those of this package by default.
	SeatTTL      time.Duration
	BreakerPause time.Duration
	// Beside, if set, runs beside the jobs for as long as the seat is held.
	Beside  func(ctx context.Context, s Standing) error
	Log     *slog.Logger
	Metrics *Metrics

	seat    *Seat
	breaker *breaker
}

// State is what a runner says in its heartbeat.
func (r *Runner) State() wire.ServiceScope {
	s := wire.ServiceScope{Name: r.Site}
	_, s.Active = r.seat.Holding()
	s.Breaker, s.BreakerMessage = r.breaker.state()
	return s
}

// Confirm returns the epoch of the seat that is held now, and the question
// that answers must ask before each step that destroys something.
func (r *Runner) Confirm() (epoch int64, ask func(context.Context) error) {
	epoch, _ = r.seat.Holding()
	return epoch, func(ctx context.Context) error { return r.seat.Confirm(ctx, epoch) }
}

// Prepare checks the keys; call it once, before Run and State.
func (r *Runner) Prepare(ctx context.Context) error {
	if _, err := r.sealKey(ctx); err != nil {
		return err
	}
	r.seat = &Seat{Conn: r.Conn, Site: r.Site, Holder: r.By, SealKey: r.sealKey, TTL: r.SeatTTL, Log: r.Log}
	r.breaker = newBreaker(r.Site, r.BreakerPause, r.Metrics.up.WithLabelValues(string(r.Worker), r.Site).Set)
	r.Metrics.slots.WithLabelValues(r.Metrics.service, "busy").Add(0)
	r.Metrics.leader.WithLabelValues(r.Metrics.service, r.Site).Set(0)
	return nil
}

// sealKey is the public key that renderers seal to.
func (r *Runner) sealKey(ctx context.Context) (string, error) {
	public, err := r.Seal(ctx)[0].PublicKey()
	if err != nil {
		return "", fmt.Errorf("seal key of site %s: %w", r.Site, err)
	}
	return public, nil
}

// Run stands by and works, in turns, until ctx ends.
func (r *Runner) Run(ctx context.Context) error {
	leader := r.Metrics.leader.WithLabelValues(r.Metrics.service, r.Site)
	for ctx.Err() == nil {
		err := r.seat.Hold(ctx, func(ctx context.Context, epoch int64) error {
			leader.Set(1)
			defer leader.Set(0)
			return r.active(ctx, epoch)
		})
		if ctx.Err() != nil || err == nil {
			continue
		}
		if !passing(err) {
			return err
		}
		r.Log.WarnContext(ctx, "work was broken off and begins again", "site", r.Site, "err", err.Error())
	}
	return nil
}

// passing reports whether err is the bus being away for a moment.
func passing(err error) bool {
	for _, known := range []error{
		context.Canceled, context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected,
		nats.ErrReconnectBufExceeded, nats.ErrConnectionReconnecting,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// active works with the seat until ctx ends, which is with the seat.
func (r *Runner) active(ctx context.Context, epoch int64) error {
	yard, err := r.Conn.Yard(ctx)
	if err != nil {
		return fmt.Errorf("begin to work for site %s: %w", r.Site, err)
	}
	work := &Work{Conn: r.Conn, Worker: r.Worker, Site: r.Site, Slots: r.Slots, By: r.By, Log: r.Log}
	idle := r.Metrics.slots.WithLabelValues(r.Metrics.service, "idle")
	idle.Add(float64(work.slots()))
	defer idle.Sub(float64(work.slots()))
	turn := &turn{Runner: r, work: work, yard: yard.UID, shards: yard.Shards, epoch: epoch}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return work.Run(ctx, turn.handle) })
	group.Go(func() error { return turn.watch(ctx) })
	group.Go(func() error { return turn.answer(ctx) })
	if r.Beside != nil {
		group.Go(func() error {
			return r.Beside(ctx, Standing{Yard: yard.UID, Permit: func(ctx context.Context) error { return r.seat.Confirm(ctx, epoch) }})
		})
	}
	return group.Wait()
}

// Standing is what holding the seat means for work that is no job.
type Standing struct {
	Yard string
	// Permit confirms the seat; ask it before something is made or
	// destroyed.
	Permit func(ctx context.Context) error
}

// turn is one holding of the seat.
type turn struct {
	*Runner
	work   *Work
	yard   string
	shards int
	epoch  int64
}

// errWithdrawn means that the planner called the job back.
var errWithdrawn = errors.New("the job was withdrawn")

// handle does a job. A job that we had to stop in the middle of is handed
// back; who gets it begins with a look.
func (t *turn) handle(ctx context.Context, job *plan.Job) *plan.Result {
	t.Metrics.busy(1)
	defer t.Metrics.busy(-1)
	result := &plan.Result{}
	err := t.breaker.through(func() error { return t.carryOut(ctx, job, result) })
	if err == nil {
		return result
	}
	f := fault.Of(err)
	if f.Kind == fault.Cancelled && !errors.Is(err, errWithdrawn) {
		return nil
	}
	t.Log.InfoContext(ctx, "job not done", "fleet", job.Fleet, "node", job.Node, "action", string(job.Action),
		"attempt", job.Attempt, "reason", string(f.Reason), "err", err.Error())
	return &plan.Result{Failure: &plan.Failure{
		Kind: f.Kind, Reason: f.Reason, Message: err.Error(), Hint: f.Hint, RetryAfter: f.RetryAfter, Taken: taken(err),
	}}
}

// taken are the addresses that a backend found in use by others.
func taken(err error) []string {
	if t, ok := errors.AsType[interface {
		error
		Taken() []string
	}](err); ok {
		return t.Taken()
	}
	return nil
}

func (t *turn) carryOut(ctx context.Context, job *plan.Job, result *plan.Result) error {
	task := &Task{Job: job, Owner: OwnerOf(t.yard, job), Epoch: t.epoch, Permit: t.permit(job)}
	switch job.Action {
	case plan.ActionCreate:
		var err error
		if task.Config, err = t.config(ctx, job.ConfigDigest); err != nil {
			return err
		}
		m, err := t.Backend.Create(ctx, task)
		result.MachineID, result.MachineUUID, result.Adopted, result.Hot = m.ID, m.UUID, m.Adopted, m.Hot
		return err
	case plan.ActionResize:
		m, err := t.Backend.Resize(ctx, task)
		result.MachineID, result.Hot = m.ID, m.Hot
		return err
	case plan.ActionOffer:
		var err error
		if task.Config, err = t.config(ctx, job.ConfigDigest); err != nil {
			return err
		}
		return t.Backend.Offer(ctx, task)
	case plan.ActionBlank:
		return t.Backend.Blank(ctx, task)
	case plan.ActionDelete:
		return t.Backend.Delete(ctx, task)
	case plan.ActionRender, plan.ActionForget:
	}
	return fault.Newf(fault.Permanent, fault.SpecUnsupported, "an executor cannot %s", job.Action)
}

// permitFor is how long an answer of the bus stands. Within it only our own
// clock is asked; a seat cannot change hands sooner, since it must run out
// first.
const permitFor = time.Second

// permit makes the question that is asked before each step that makes or
// destroys something: is the seat still ours, is the job still wanted?
func (t *turn) permit(job *plan.Job) func(context.Context) error {
	var until time.Time
	return func(ctx context.Context) error {
		if epoch, ok := t.seat.Holding(); ok && epoch == t.epoch && time.Now().Before(until) {
			return nil
		}
		asked := time.Now()
		if err := t.seat.Confirm(ctx, t.epoch); err != nil {
			return err
		}
		wanted, err := t.work.wanted(ctx, t.shards, job)
		if err != nil {
			return fault.New(fault.Cancelled, fault.Stopped, fmt.Errorf("read the job anew: %w", err))
		}
		if !wanted {
			return fault.New(fault.Cancelled, fault.Stopped, errWithdrawn)
		}
		until = asked.Add(permitFor)
		return nil
	}
}

// config fetches and opens a sealed config.
func (t *turn) config(ctx context.Context, digest string) (*Config, error) {
	m, err := t.Conn.Last(ctx, subject.ConfigStream(t.Site), subject.Config(t.Site, digest))
	if errors.Is(err, bus.ErrNotFound) || err == nil && len(m.Data) == 0 {
		return nil, fault.Newf(fault.Transient, fault.ConfigMissing, "the sealed config %s is no longer there", digest)
	}
	if err != nil {
		// Our own trouble, not the node's: hand the job back.
		return nil, fault.New(fault.Cancelled, fault.Stopped, fmt.Errorf("fetch the sealed config: %w", err))
	}
	opened, err := open(m.Data, t.Seal(ctx), digest)
	if err != nil {
		return nil, fault.WithHint(fault.New(fault.Transient, fault.ConfigMissing, err),
			"renderers seal to the key that the site's executor announces; all replicas of a site must have the same seal file; it is rendered anew")
	}
	c := &Config{Digest: digest, GuestInfo: map[string]string{
		render.GuestInfoData:     opened.GetGuestinfoData(),
		render.GuestInfoEncoding: opened.GetGuestinfoEncoding(),
	}}
	if kargs := opened.GetNetworkKargs(); kargs != "" {
		c.GuestInfo[render.GuestInfoNetworkKargs] = kargs
	}
	maps.Copy(c.GuestInfo, opened.GetGuestinfoVariables())
	return c, nil
}

// open opens a config with the key that it was sealed to.
func open(sealed []byte, keys []nkeys.KeyPair, digest string) (config *yardmasterv1.NodeConfig, err error) {
	for _, key := range keys {
		if config, err = render.Open(sealed, key, digest); err == nil {
			return config, nil
		}
	}
	return nil, err
}
