package ledger

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// item is an input on its way through the loop.
type item struct {
	input plan.Input
	// sequence and msg are of the ledger's inputs only; deadlines and
	// observations have none.
	sequence uint64
	msg      jetstream.Msg
	name     subject.Name
	// generation is that of the connection that delivered it.
	generation uint64
	// poison says why it cannot be decided.
	poison error
}

func (i *item) ack(log *slog.Logger) {
	if i.msg == nil {
		return
	}
	if err := i.msg.Ack(); err != nil {
		log.Debug("input cannot be acknowledged; it comes again and changes nothing", "err", err)
	}
}

func (i *item) nak(log *slog.Logger) {
	if i.msg == nil {
		return
	}
	if err := i.msg.Nak(); err != nil {
		log.Debug("input cannot be given back; it comes again by itself", "err", err)
	}
}

const (
	pinHeader  = "Nats-Pin-Id"
	pullExpiry = time.Second
	pullBeat   = 500 * time.Millisecond
	retryWait  = 200 * time.Millisecond
)

// readInputs pulls from the shard's durable consumer, which gives inputs to
// one planner at a time.
func (p *Planner) readInputs(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := p.mayRead(ctx); err != nil {
			continue
		}
		err := p.pull(ctx)
		if ctx.Err() != nil {
			p.unpin(ctx)
			break
		}
		p.log.WarnContext(ctx, "inputs cannot be pulled", "err", err)
		p.cfg.Conn.Struggled()
		pause(ctx, retryWait)
	}
	return nil
}

var errOutdated = errors.New("the yard's records are of a newer format")

// outdated reports whether the format was raised while we were at work.
func (p *Planner) outdated() bool {
	p.mirror.mu.RLock()
	defer p.mirror.mu.RUnlock()
	return p.newerFormat()
}

// mayRead waits until the memory is loaded and its format is known to us.
func (p *Planner) mayRead(ctx context.Context) error {
	return p.mirror.until(ctx, func() (bool, error) {
		if p.mirror.loaded && p.newerFormat() {
			p.trouble("the yard's records are of a newer format: this planner stands by until it is upgraded")
			return false, nil
		}
		return p.mirror.loaded, nil
	})
}

func (p *Planner) pull(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, bus.CallTimeout)
	defer cancel()
	consumer, err := p.cfg.Conn.JS().Consumer(call, subject.ShardStream(p.cfg.Shard), subject.ConsumerPlanner)
	if err != nil {
		return err
	}
	iter, err := consumer.Messages(
		jetstream.PullMaxMessages(pullSome), jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullBeat),
		jetstream.PullPriorityGroup(subject.ConsumerPlanner),
	)
	if err != nil {
		return err
	}
	defer p.drain(iter)
	_, changed := p.cfg.Conn.Generation()
	for {
		msg, err := iter.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		select {
		case <-changed:
			p.giveBack(msg)
			return errReconnected // what is buffered may not exist any more
		default:
		}
		if p.outdated() {
			p.giveBack(msg)
			return errOutdated // whoever pulls gets them all: let go
		}
		i, err := p.accept(msg)
		if err != nil {
			p.log.ErrorContext(ctx, "input without metadata", "subject", msg.Subject(), "err", err)
			continue
		}
		if i == nil {
			continue // it is in our hands already
		}
		select {
		case p.inputs <- i:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// drain gives back what was delivered and not taken, so that it does not wait
// for its time to run out.
func (p *Planner) drain(iter jetstream.MessagesContext) {
	iter.Drain()
	for {
		msg, err := iter.Next(jetstream.NextMaxWait(retryWait))
		if err != nil {
			break
		}
		p.giveBack(msg)
	}
	iter.Stop()
}

func (p *Planner) giveBack(msg jetstream.Msg) {
	if err := msg.Nak(); err != nil {
		p.log.Debug("input cannot be given back; it comes again by itself", "err", err)
	}
}

// unpin lets another planner take over at once when this one stops.
func (p *Planner) unpin(ctx context.Context) {
	if !p.active() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), bus.CallTimeout)
	defer cancel()
	s, err := p.cfg.Conn.JS().Stream(ctx, subject.ShardStream(p.cfg.Shard))
	if err == nil {
		err = s.UnpinConsumer(ctx, subject.ConsumerPlanner, subject.ConsumerPlanner)
	}
	if err != nil {
		p.log.DebugContext(ctx, "planner cannot step down; another one takes over a little later", "err", err)
	}
}

// accept makes an item of a message, nil if we hold it already.
func (p *Planner) accept(msg jetstream.Msg) (*item, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	i := readInput(msg, meta.Sequence.Stream)
	i.generation, _ = p.cfg.Conn.Generation()
	p.mu.Lock()
	defer p.mu.Unlock()
	if pin := msg.Headers().Get(pinHeader); pin != "" {
		if !p.status.Active {
			p.log.Info("inputs come to this planner now")
			p.observed.all() // what was seen while we stood by
		}
		p.pin, p.status.Active = pin, true
	}
	if older := p.held[i.sequence]; older != nil && older.generation == i.generation {
		return nil, nil //nolint:nilnil // there is nothing to do and nothing wrong
	}
	p.held[i.sequence] = i
	return i, nil
}

func readInput(msg jetstream.Msg, sequence uint64) *item {
	i := &item{sequence: sequence, msg: msg, input: plan.Input{ID: msg.Subject(), Fleet: plan.YardScope}}
	name, err := subject.Parse(msg.Subject())
	if err != nil {
		i.poison = err
		return i
	}
	i.name = name
	h := msg.Headers()
	in, err := wire.Input(name, h.Get(wire.HeaderType), h.Get(wire.HeaderVersion), msg.Data())
	if err != nil {
		i.input.Fleet, i.poison = name.Fleet, err
		return i
	}
	in.ID = msg.Subject()
	i.input = in
	return i
}

// observedID begins the ids of observations, which are their subjects.
const observedID = "obs."

// observed holds the last observation of every site, node and aspect, and
// which of them are to be decided.
type observed struct {
	mu    sync.Mutex
	last  map[string]*plan.Observation
	fresh map[string]bool
	ready chan struct{}
}

func newObserved() *observed {
	return &observed{last: map[string]*plan.Observation{}, fresh: map[string]bool{}, ready: make(chan struct{}, 1)}
}

func (o *observed) saw(key string, seen *plan.Observation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last[key] = seen
	o.again(key)
}

// again has an observation decided once more; the lock is held.
func (o *observed) again(key string) {
	if o.last[key] == nil {
		return
	}
	o.fresh[key] = true
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// back has an observation that was taken decided again.
func (o *observed) back(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.again(key)
}

// moved has what was seen of a node decided again: an observation that came
// before its time counts when the time has come.
func (o *observed) moved(n *plan.Node) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, aspect := range []string{subject.AspectAddress, subject.AspectLost} {
		o.again(strings.Join([]string{n.Site, n.Fleet, n.Key(), aspect}, "."))
	}
}

// all has everything decided again.
func (o *observed) all() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key := range o.last {
		o.again(key)
	}
}

func (o *observed) take(most int) []*item {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []*item
	for key := range o.fresh {
		if len(out) >= most {
			o.again(key)
			break
		}
		delete(o.fresh, key)
		out = append(out, &item{input: plan.Input{ID: observedID + key, Fleet: strings.Split(key, ".")[1], Observation: o.last[key]}})
	}
	return out
}

// readObservations follows what executors see. It is no part of the ledger:
// whatever is lost is seen again.
func (p *Planner) readObservations(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := p.mayRead(ctx); err != nil {
			continue
		}
		err := p.observe(ctx)
		if ctx.Err() == nil {
			p.log.WarnContext(ctx, "observations cannot be read", "err", err)
			pause(ctx, retryWait)
		}
	}
	return nil
}

func (p *Planner) observe(ctx context.Context) error {
	_, changed := p.cfg.Conn.Generation()
	iter, err := openOrdered(ctx, p.cfg.Conn, subject.StreamObservations, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		FilterSubjects: []string{
			subject.Observation("*", "*", "*", subject.AspectAddress), subject.Observation("*", "*", "*", subject.AspectLost),
		},
	}, pullSome)
	if err != nil {
		return err
	}
	defer iter.Stop()
	for {
		msg, err := next(ctx, iter, 0)
		if err != nil {
			return err
		}
		p.seen(msg)
		select {
		case <-changed:
			return errReconnected
		default:
		}
	}
}

func (p *Planner) seen(msg *bus.Message) {
	tokens := strings.Split(msg.Subject, ".")
	if len(tokens) != 5 {
		return
	}
	o, err := wire.DecodeObservation(msg.Type(), msg.Version(), msg.Data)
	if err != nil {
		p.log.Warn("observation cannot be read", "subject", msg.Subject, "err", err)
		return
	}
	if o.Node != tokens[3] {
		p.log.Warn("observation is of another node than its subject says", "subject", msg.Subject, "node", o.Node)
		return
	}
	var ours bool
	p.mirror.View(func(w *plan.World) { ours = w.Fleet(tokens[2]) != nil })
	if ours {
		o.Site = tokens[1]
		p.observed.saw(strings.Join(tokens[1:], "."), o)
	}
}
