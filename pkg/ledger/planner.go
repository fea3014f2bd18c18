package ledger

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// PlannerConfig says which shard to plan and how.
type PlannerConfig struct {
	Conn  *bus.Conn
	Shard int
	// Instance names this planner in its messages to itself.
	Instance string
	// Policy, if not nil, changes the plan's own.
	Policy func(*plan.Policy)
	// OnCommit, if not nil, is told of every batch that has landed.
	OnCommit func(Commit)
	Log      *slog.Logger
	// Now is the clock, default time.Now.
	Now func() time.Time
}

// Commit is a batch that has landed.
type Commit struct {
	Shard    int
	Events   []*plan.Event
	Jobs     []*plan.Job
	Inputs   []plan.Input
	Messages int
	// Poison counts inputs that were dead-lettered.
	Poison int
	Took   time.Duration
}

// PlannerStatus is how a planner stands.
type PlannerStatus struct {
	Shard int
	// Loaded means that its memory is whole, Active that inputs come to it.
	Loaded bool
	Active bool
	// ClockOffset is our clock less the stream's.
	ClockOffset time.Duration
	// Trouble says what an operator should know; empty when all is well.
	Trouble string
}

// Planner is the loop of one shard.
type Planner struct {
	cfg    PlannerConfig
	log    *slog.Logger
	mirror *Mirror
	inputs chan *item

	observed *observed
	// late is since when deadlines are left alone while we stand by.
	late time.Time

	mu     sync.Mutex
	status PlannerStatus
	// pin is the name under which the server last gave us an input.
	pin string
	// wrote is when our newest batch landed.
	wrote time.Time
	// held are the inputs in our hands, by sequence.
	held map[uint64]*item
	// skip holds made-up inputs that cannot be decided, so that they do not
	// come again and again.
	skip map[string]bool
}

const (
	// maxInputs and maxMessages bound a round; the server takes 1,000
	// messages in a batch.
	maxInputs   = 250
	maxMessages = 990
	// dueInterval is how often the planner looks for overdue deadlines.
	dueInterval = 500 * time.Millisecond
	dueHurry    = 10 * time.Millisecond
	// backstop is when a planner that stands by handles a deadline that the
	// active one left alone.
	backstop = 5 * time.Second
	// barrierWait is how long the memory may lag behind an input before we
	// connect elsewhere.
	barrierWait = 4 * time.Second
	// auditInterval is how often orphaned claims are looked for.
	auditInterval = 30 * time.Second
)

// NewPlanner returns a planner that does nothing until it runs.
func NewPlanner(cfg PlannerConfig) *Planner {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &Planner{
		cfg: cfg, log: cfg.Log.With("shard", cfg.Shard), inputs: make(chan *item, maxInputs),
		held: map[uint64]*item{}, skip: map[string]bool{}, status: PlannerStatus{Shard: cfg.Shard},
	}
	p.observed = newObserved()
	shards := []int{0}
	if cfg.Shard != 0 {
		shards = append(shards, cfg.Shard)
	}
	p.mirror = NewMirror(MirrorConfig{Conn: cfg.Conn, Shards: shards, World: p.world, Log: p.log})
	return p
}

func (p *Planner) world() *plan.World {
	w := plan.NewWorld(p.cfg.Shard)
	if p.cfg.Policy != nil {
		p.cfg.Policy(&w.Policy)
	}
	return w
}

// Run plans until ctx ends; it then finishes the batch at hand and gives
// back what it holds. It returns an error when only an operator can help:
// a refused publish, another stream, a wrong clock.
func (p *Planner) Run(ctx context.Context) error {
	if err := p.compareClock(ctx); err != nil {
		return fmt.Errorf("plan shard %d: %w", p.cfg.Shard, err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.mirror.Run(ctx) })
	group.Go(func() error { return p.readInputs(ctx) })
	group.Go(func() error { return p.readObservations(ctx) })
	group.Go(func() error { return p.watchClock(ctx) })
	group.Go(func() error { p.watchPin(ctx); return nil })
	group.Go(func() error { p.archive(ctx); return nil })
	group.Go(func() error { return p.loop(ctx) })
	group.Go(func() error {
		select {
		case err := <-p.cfg.Conn.Failed():
			return err
		case <-ctx.Done():
			return nil
		}
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("plan shard %d: %w", p.cfg.Shard, err)
	}
	return nil
}

// View lets f read the planner's World.
func (p *Planner) View(f func(w *plan.World)) { p.mirror.View(f) }

// Status says how the planner stands.
func (p *Planner) Status() PlannerStatus {
	loaded := p.mirror.Loaded()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.status
	s.Loaded = loaded
	return s
}

func (p *Planner) trouble(words string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Trouble = words
}

// loop takes what waits and settles it, round by round.
func (p *Planner) loop(ctx context.Context) error {
	due := time.NewTimer(dueInterval)
	defer due.Stop()
	audit := time.NewTicker(auditInterval)
	defer audit.Stop()
	defer p.handBack()
	var waiting []*item
	for ctx.Err() == nil {
		if len(waiting) == 0 {
			var first *item
			select {
			case <-ctx.Done():
				return nil
			case first = <-p.inputs:
				waiting = append(waiting, first)
			case <-p.observed.ready:
			case <-due.C:
				waiting = p.overdue()
				due.Reset(dueAgain(len(waiting)))
			case <-audit.C:
				p.audit(ctx)
			}
		}
		waiting = p.gather(waiting)
		if len(waiting) == 0 {
			continue
		}
		waiting = p.round(ctx, waiting)
	}
	return nil
}

// gather takes what else waits.
func (p *Planner) gather(items []*item) []*item {
	for len(items) < maxInputs {
		select {
		case i := <-p.inputs:
			items = append(items, i)
			continue
		default:
		}
		break
	}
	if !p.active() {
		return items
	}
	for _, i := range p.observed.take(maxInputs - len(items)) {
		if !p.skips(i.input.ID) {
			items = append(items, i)
		}
	}
	return items
}

// overdue makes inputs of deadlines that have passed. A planner that stands
// by leaves them to the active one for a while.
func (p *Planner) overdue() []*item {
	p.mirror.mu.Lock()
	defer p.mirror.mu.Unlock()
	if !p.mirror.loaded || p.newerFormat() {
		return nil
	}
	now := p.now(p.mirror.mem)
	var out []*item
	for _, in := range p.mirror.mem.world.Overdue(now, maxInputs) {
		if !p.skips(in.ID) {
			out = append(out, &item{input: in})
		}
	}
	if p.active() || len(out) == 0 {
		p.late = time.Time{}
		return out
	}
	if p.late.IsZero() {
		p.late = now
	}
	if now.Sub(p.late) < backstop {
		return nil
	}
	return out
}

// dueAgain is when to look next: soon, if there were more than one round can
// hold.
func dueAgain(found int) time.Duration {
	if found < maxInputs {
		return dueInterval
	}
	return dueHurry
}

func (p *Planner) skips(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.skip[id]
}

func (p *Planner) active() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status.Active
}

// now is the later of our clock and the stream's.
func (p *Planner) now(mem *memory) time.Time {
	now := p.cfg.Now()
	if mem.latest.After(now) {
		return mem.latest
	}
	return now
}

// newerFormat reports whether the yard's writers use a format that this
// program does not know: it then stands by. The mirror is locked.
func (p *Planner) newerFormat() bool {
	y := p.mirror.mem.world.Yard()
	return y != nil && y.Format > wire.Format
}

// round settles items once the memory has reached them, and returns those
// that did not fit.
func (p *Planner) round(ctx context.Context, items []*item) []*item {
	items = p.current(items)
	newest := uint64(0)
	for _, i := range items {
		newest = max(newest, i.sequence)
	}
	if err := p.barrier(ctx, newest); err != nil {
		p.drop(items)
		return nil
	}
	return p.settle(ctx, items)
}

// current drops what an earlier connection delivered: R1 delivers what a
// power cut then undoes.
func (p *Planner) current(items []*item) []*item {
	generation, _ := p.cfg.Conn.Generation()
	var out, old []*item
	for _, i := range items {
		if i.sequence != 0 && i.generation != generation {
			old = append(old, i)
			continue
		}
		out = append(out, i)
	}
	p.drop(old)
	return out
}

// barrier waits until the memory is whole and has reached a sequence.
func (p *Planner) barrier(ctx context.Context, sequence uint64) error {
	ctx, cancel := context.WithTimeout(ctx, barrierWait)
	defer cancel()
	err := p.mirror.Wait(ctx, Stamp{Shard: p.cfg.Shard, Sequence: sequence})
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && p.mirror.Loaded() {
		// The mirror's consumer may live on a server that was cut off.
		p.cfg.Conn.Reconnect("the memory lags behind the inputs")
	}
	return err
}

// drop lets inputs come again: their connection or memory is gone. What an
// executor saw it tells only once, so that we keep it ourselves.
func (p *Planner) drop(items []*item) {
	for _, i := range items {
		p.release(i)
		i.nak(p.log)
		if i.input.Observation != nil {
			p.observed.back(strings.TrimPrefix(i.input.ID, observedID))
		}
	}
}

// handBack gives back all that is held.
func (p *Planner) handBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for sequence, i := range p.held {
		delete(p.held, sequence)
		i.nak(p.log)
	}
}

func (p *Planner) release(i *item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held[i.sequence] == i { // not one that came by another connection since
		delete(p.held, i.sequence)
	}
}

// ping sends a step that asks for nothing: whoever gets it learns that it is
// the active planner.
func (p *Planner) ping(ctx context.Context) {
	m, err := wire.Step(p.cfg.Instance)
	if err != nil {
		return
	}
	to := subject.Step(p.cfg.Shard, plan.YardScope)
	if _, err := p.cfg.Conn.Publish(ctx, bus.TTL(bus.NewMsg(to, m), subject.InputTTL)); err != nil {
		p.log.DebugContext(ctx, "planner cannot write to itself", "err", err)
	}
}
