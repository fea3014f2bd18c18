package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// Handler does a job and says what came of it. A nil result hands the job
// back: another worker, or we ourselves, get it again at once. It may be
// called again for a job that was done before.
type Handler func(ctx context.Context, job *plan.Job) *plan.Result

// Work takes jobs from the ledger, has them done and stores the results.
// A job is acknowledged only once its result is stored.
type Work struct {
	Conn   *bus.Conn
	Worker plan.Worker
	// Site is whose jobs to take; renderers take those of every site.
	Site string
	// Slots is how many jobs are done at once, default 16.
	Slots int
	// By is this instance's name in results.
	By  string
	Log *slog.Logger
}

const (
	defaultSlots = 16
	// fetchWait bounds one pull, and with it how long a stop takes.
	fetchWait = time.Second
	// heartbeat keeps a job ours; it must be well below
	// subject.WorkerAckWait.
	heartbeat = subject.WorkerAckWait / 4
	// handBack lets a job that we cannot read go to a newer release.
	handBack = 5 * time.Second
	// troubleWait is the pause after a failed pull or publish.
	troubleWait = 200 * time.Millisecond
)

// Run works until ctx ends. It then lets the handlers return (their context
// has ended too), stores the results they give and hands the rest back.
func (w *Work) Run(ctx context.Context, h Handler) error {
	yard, err := w.Conn.Yard(ctx)
	if ctx.Err() != nil {
		return nil // stopped before it began
	}
	if err != nil {
		return fmt.Errorf("take %s jobs: %w", w.Worker, err)
	}
	r := &run{Work: w, handler: h, slots: make(chan struct{}, w.slots()), held: map[delivered]*held{}, nodes: map[string]*nodeLock{}}
	r.results = newPublisher(w.Conn, w.Log)
	group, ctx := errgroup.WithContext(ctx)
	for k := range yard.Shards {
		group.Go(func() error { return r.shard(ctx, k) })
	}
	group.Go(func() error { return r.failure(ctx) })
	// These two outlast ctx: what is held must stay ours until it is stored
	// or handed back.
	outlive, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var tail errgroup.Group
	tail.Go(func() error { r.results.run(outlive); return nil })
	tail.Go(func() error { r.beat(outlive); return nil })
	err = group.Wait()
	r.jobs.Wait()
	stop()
	_ = tail.Wait() // neither gives an error
	return err
}

func (w *Work) slots() int {
	if w.Slots > 0 {
		return w.Slots
	}
	return defaultSlots
}

func (w *Work) consumer() string {
	if w.Worker == plan.WorkerRender {
		return subject.ConsumerRender
	}
	return subject.ConsumerVSphere(w.Site)
}

// run is one call of Run.
type run struct {
	*Work
	handler Handler
	slots   chan struct{}
	results *publisher
	jobs    sync.WaitGroup

	mu    sync.Mutex
	held  map[delivered]*held
	nodes map[string]*nodeLock
}

// nodeLock lets the jobs of one node go one after the other.
type nodeLock struct {
	sync.Mutex
	users int
}

// held is a job that was delivered and not acknowledged yet.
type held struct {
	msg   jetstream.Msg
	shard int
	key   delivered
}

// delivered names what was delivered. The sequence alone does not: after a
// power cut another message may have it.
type delivered struct {
	sequence      uint64
	subject, body string
}

func (r *run) failure(ctx context.Context) error {
	select {
	case err := <-r.Conn.Failed():
		return err
	case <-ctx.Done():
		return nil
	}
}

// shard pulls as many jobs as it may hold, so that none waits unseen in a
// buffer while its time runs out.
func (r *run) shard(ctx context.Context, shard int) error {
	stream := subject.ShardStream(shard)
	room := make(chan struct{}, r.Work.slots())
	var consumer jetstream.Consumer
	for ctx.Err() == nil {
		var err error
		if consumer == nil {
			if consumer, err = r.Conn.JS().Consumer(ctx, stream, r.consumer()); err != nil {
				r.trouble(ctx, err)
				continue
			}
		}
		n, err := reserve(ctx, room)
		if err != nil {
			return nil //nolint:nilerr // ctx has ended: that is how we stop
		}
		if err := r.fetch(ctx, consumer, shard, n, room); err != nil {
			r.trouble(ctx, err)
			if errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) {
				consumer = nil
			}
		}
	}
	return nil
}

func (r *run) trouble(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	r.Log.WarnContext(ctx, "jobs cannot be pulled", "err", err)
	r.Conn.Struggled()
	pause(ctx, troubleWait)
}

// reserve waits for one free place and takes all that are free.
func reserve(ctx context.Context, room chan struct{}) (int, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case room <- struct{}{}:
	}
	n := 1
	for {
		select {
		case room <- struct{}{}:
			n++
		default:
			return n, nil
		}
	}
}

// fetch pulls up to n jobs and starts them; each gives its place back when
// it is done. It is not cut short when ctx ends: what was delivered then is
// handed back at once instead of after its time ran out.
func (r *run) fetch(ctx context.Context, consumer jetstream.Consumer, shard, n int, room chan struct{}) error {
	batch, err := consumer.Fetch(n, jetstream.FetchMaxWait(fetchWait))
	if err != nil {
		release(room, n)
		return fmt.Errorf("pull from %s: %w", subject.ShardStream(shard), err)
	}
	for msg := range batch.Messages() {
		n--
		h := r.hold(msg, shard)
		if h == nil {
			release(room, 1) // it is in our hands already
			continue
		}
		r.jobs.Go(func() {
			defer release(room, 1)
			defer r.drop(h)
			r.do(ctx, h)
		})
	}
	release(room, n)
	if err := batch.Error(); err != nil && !errors.Is(err, jetstream.ErrMsgIteratorClosed) {
		return fmt.Errorf("pull from %s: %w", subject.ShardStream(shard), err)
	}
	r.Conn.Worked()
	return nil
}

func release(room chan struct{}, n int) {
	for range n {
		<-room
	}
}

func (r *run) hold(msg jetstream.Msg, shard int) *held {
	meta, err := msg.Metadata()
	if err != nil {
		r.Log.Error("job has no metadata", "subject", msg.Subject(), "err", err)
		return nil
	}
	h := &held{msg: msg, shard: shard, key: delivered{meta.Sequence.Stream, msg.Subject(), string(msg.Data())}}
	r.mu.Lock()
	defer r.mu.Unlock()
	if older := r.held[h.key]; older != nil {
		older.msg = msg // acknowledge the newest delivery
		return nil
	}
	r.held[h.key] = h
	return h
}

func (r *run) drop(h *held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.held, h.key)
}

func (r *run) delivery(h *held) jetstream.Msg {
	r.mu.Lock()
	defer r.mu.Unlock()
	return h.msg
}

// beat tells the server that what we hold is in work.
func (r *run) beat(ctx context.Context) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r.mu.Lock()
		msgs := make([]jetstream.Msg, 0, len(r.held))
		for _, h := range r.held {
			msgs = append(msgs, h.msg)
		}
		r.mu.Unlock()
		for _, m := range msgs {
			if err := m.InProgress(); err != nil {
				r.Log.WarnContext(ctx, "job cannot be held", "subject", m.Subject(), "err", err)
			}
		}
	}
}

func (r *run) do(ctx context.Context, h *held) {
	msg := r.delivery(h)
	if len(msg.Data()) == 0 {
		r.ack(h) // withdrawn
		return
	}
	headers := msg.Headers()
	job, err := wire.DecodeJob(headers.Get(wire.HeaderType), headers.Get(wire.HeaderVersion), msg.Data())
	if err != nil {
		r.Log.ErrorContext(ctx, "job cannot be read; a newer worker may", "subject", msg.Subject(), "err", err)
		if err := msg.NakWithDelay(handBack); err != nil {
			r.Log.WarnContext(ctx, "job cannot be handed back", "subject", msg.Subject(), "err", err)
		}
		return
	}
	unlock := r.lockNode(job.Fleet + "." + job.Node)
	defer unlock()
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		r.nak(h)
		return
	}
	r.finish(ctx, h, job)
}

func (r *run) finish(ctx context.Context, h *held, job *plan.Job) {
	result := r.handle(ctx, job)
	if result == nil {
		// It comes again at once, and what was in its way may be so still.
		pause(ctx, troubleWait)
		r.nak(h)
		return
	}
	m, err := wire.Result(result)
	if err != nil {
		r.Log.ErrorContext(ctx, "result cannot be encoded", "err", err)
		r.nak(h)
		return
	}
	to := subject.Result(h.shard, string(job.Worker), job.Site, job.Fleet, job.Node, job.Number, job.Attempt)
	if err := r.results.store(ctx, to, m, job.Made); err != nil {
		r.Log.WarnContext(ctx, "result was not stored, the job is handed back", "subject", to, "err", err)
		r.nak(h)
		return
	}
	r.ack(h)
}

// handle calls the handler and fills in what every result says.
func (r *run) handle(ctx context.Context, job *plan.Job) *plan.Result {
	started := time.Now()
	var result *plan.Result
	if !job.Deadline.IsZero() && started.After(job.Deadline) {
		result = &plan.Result{Failure: &plan.Failure{
			Kind: fault.Transient, Reason: fault.Timeout, Message: "the job's time was up before a worker took it",
		}}
	} else {
		result = r.call(ctx, job)
	}
	if result == nil {
		return nil
	}
	out := *result
	out.Node, out.Job, out.Attempt, out.Incarnation, out.Made = job.Node, job.Number, job.Attempt, job.Incarnation, job.Made
	out.Worker, out.Action, out.By, out.Failure = job.Worker, job.Action, r.By, told(result.Failure)
	if out.Started.IsZero() {
		out.Started = started
	}
	if out.Finished.IsZero() {
		out.Finished = time.Now()
	}
	return &out
}

// call runs the handler within the job's time; a panic is a failure of that
// job and of no other.
func (r *run) call(ctx context.Context, job *plan.Job) (result *plan.Result) {
	defer func() {
		if p := recover(); p != nil {
			r.Log.ErrorContext(ctx, "handler panicked", "fleet", job.Fleet, "node", job.Node, "job", job.Number, "err", p)
			result = &plan.Result{Failure: &plan.Failure{
				Kind: fault.Permanent, Reason: fault.Poison, Message: fmt.Sprintf("the worker panicked: %v", p),
			}}
		}
	}()
	if !job.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, job.Deadline)
		defer cancel()
	}
	return r.handler(ctx, job)
}

func (r *run) lockNode(node string) (unlock func()) {
	r.mu.Lock()
	l := r.nodes[node]
	if l == nil {
		l = &nodeLock{}
		r.nodes[node] = l
	}
	l.users++
	r.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		r.mu.Lock()
		defer r.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(r.nodes, node)
		}
	}
}

func (r *run) ack(h *held) {
	if err := r.delivery(h).Ack(); err != nil {
		r.Log.Warn("job cannot be acknowledged; it will come again", "err", err)
	}
}

func (r *run) nak(h *held) {
	if err := r.delivery(h).Nak(); err != nil {
		r.Log.Warn("job cannot be handed back; it comes again by itself", "err", err)
	}
}
