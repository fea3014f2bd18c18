package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/proto/subject"
)

// verdict is what the answer to a batch means for us.
type verdict int

const (
	// again: it may or may not have landed; look and decide anew.
	again verdict = iota
	// conflict: somebody else wrote; look and decide anew.
	conflict
	// full: the store takes nothing more; wait and alarm.
	full
	// refused: this batch can never land; find the culprit.
	refused
)

// answers says what JetStream's error codes mean. What is not listed is
// tried again: dead-lettering inputs for a fault of the server would lose
// them.
var answers = map[jetstream.ErrorCode]verdict{
	bus.CodeWrongLastSequence: conflict,
	bus.CodeInFlight:          conflict,
	10077:                     full,    // maximum bytes exceeded
	10023:                     full,    // insufficient resources
	10047:                     full,    // insufficient storage resources
	10054:                     refused, // message size exceeds maximum allowed
	10097:                     refused, // header size exceeds maximum allowed
	10199:                     refused, // batch exceeds the server's limit
	10176:                     again,   // batch incomplete
	10201:                     again,   // batch holds a message id twice
	10210:                     again,   // too many open batches
}

func judge(err error) verdict {
	if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) || errors.Is(err, errRefused) {
		return refused
	}
	return answers[bus.Code(err)]
}

// errRefused marks a batch that we cannot even make.
var errRefused = errors.New("the batch cannot be made")

const (
	// patientTries is from which conflict on we wait before the next try.
	patientTries = 4
	// distrustTries is from which conflict on the memory itself is in doubt.
	distrustTries = 12
	// batchHeaders is what a batch adds to each message.
	batchHeaders = 128

	minWait  = 20 * time.Millisecond
	maxWait  = 800 * time.Millisecond
	fullWait = 2 * time.Second
)

// settle decides and writes items until that has succeeded, and returns
// those that did not fit. It gives up when the memory is loaded anew: what
// was delivered may not exist any more, and comes again if it does.
func (p *Planner) settle(ctx context.Context, items []*item) (rest []*item) {
	for try := 1; ; try++ {
		started := time.Now()
		r, err := p.attempt(ctx, items)
		if err == nil {
			p.done(r, time.Since(started))
			return items[len(r.items):]
		}
		if errors.Is(err, errDistrusted) || (ctx.Err() != nil && try > 1) {
			p.drop(items)
			pause(ctx, retryWait) // they come back at once, the memory does not
			return nil
		}
		switch v := judge(err); {
		case v == refused && len(items) > 1:
			p.log.WarnContext(ctx, "batch was refused; looking for the culprit", "count", len(items), "err", err)
			half := len(items) / 2
			rest = p.settleAll(ctx, items[:half])
			return append(rest, p.settleAll(ctx, items[half:])...)
		case v == refused:
			items[0].poison = err
		case v == full:
			p.trouble("the ledger is full: nothing can be decided; raise the streams' max_bytes (bus upgrade) or free the disk")
			p.log.ErrorContext(ctx, "ledger is full", "err", err)
			pause(ctx, fullWait)
		default:
			p.log.DebugContext(ctx, "batch did not land", "attempt", try, "err", err)
			p.catchUp(ctx, v, try)
		}
	}
}

// settleAll settles items to the last one.
func (p *Planner) settleAll(ctx context.Context, items []*item) []*item {
	for len(items) > 0 && ctx.Err() == nil {
		items = p.settle(ctx, items)
	}
	return items
}

// catchUp waits until the memory has all that the stream has.
func (p *Planner) catchUp(ctx context.Context, v verdict, try int) {
	if v == again {
		p.cfg.Conn.Struggled()
	}
	if v == again || try >= patientTries {
		pause(ctx, minWait+rand.N(min(maxWait, time.Duration(try)*50*time.Millisecond)))
	}
	if try >= distrustTries {
		p.mirror.distrust()
		return
	}
	for _, shard := range p.mirror.cfg.Shards {
		last, _, err := p.mirror.feed(shard).state(ctx)
		if err != nil {
			p.cfg.Conn.Struggled()
			return
		}
		wait, cancel := context.WithTimeout(ctx, barrierWait)
		err = p.mirror.Wait(wait, Stamp{Shard: shard, Sequence: last})
		cancel()
		if err != nil && ctx.Err() == nil && p.mirror.Loaded() {
			p.cfg.Conn.Reconnect("the memory lags behind the stream")
		}
	}
}

// attempt decides items on the memory as it is and writes the outcome. The
// round that it returns holds the items that were settled.
func (p *Planner) attempt(ctx context.Context, items []*item) (*round, error) {
	p.mirror.mu.Lock()
	defer p.mirror.mu.Unlock()
	if !p.mirror.loaded || p.newerFormat() {
		return nil, errDistrusted
	}
	r := newRound(p.cfg.Shard, p.mirror.mem, p.now(p.mirror.mem), p.cfg.Instance)
	for _, i := range items {
		if err := r.add(i); err != nil {
			break // full: the rest is for the next round
		}
	}
	if err := p.write(ctx, r); err != nil {
		r.rollback()
		return nil, err
	}
	return r, nil
}

// write makes the round durable: claims, the batch, releases.
func (p *Planner) write(ctx context.Context, r *round) error {
	// A commit that was begun is finished, whoever tells us to stop.
	ctx = context.WithoutCancel(ctx)
	if len(r.claims) > 0 {
		msgs, err := r.claimMessages(r.claims)
		if err != nil {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		if err := p.commitClaims(ctx, r.mem, msgs); err != nil {
			return err
		}
	}
	b, err := r.batch()
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if len(b.msgs) > 0 {
		first, err := p.commit(ctx, p.cfg.Shard, b.msgs)
		if err != nil {
			p.afterClaims(r)
			return err
		}
		b.landed(r.mem, first)
	}
	p.releaseClaims(ctx, r)
	return nil
}

// afterClaims: the claims are written, so that only what came of them is
// taken back.
func (p *Planner) afterClaims(r *round) {
	claims := r.claims
	r.rollback()
	for _, c := range claims {
		r.mem.world.Put(c)
	}
}

func (p *Planner) commitClaims(ctx context.Context, mem *memory, msgs []*nats.Msg) error {
	first, err := p.commit(ctx, 0, msgs)
	if err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	for i, m := range msgs {
		mem.entries[m.Subject] = entry{sequence: first + uint64(i), kept: mem.entries[m.Subject].kept}
	}
	return nil
}

// releaseClaims frees what the landed batch no longer holds. What is lost in
// a crash here is found by the audit.
func (p *Planner) releaseClaims(ctx context.Context, r *round) {
	for claims := range slices.Chunk(r.release, maxMessages) {
		free := make([]*plan.Claim, len(claims))
		for i, c := range claims {
			free[i] = c.Over()
		}
		msgs, err := r.claimMessages(free)
		if err == nil {
			err = p.commitClaims(ctx, r.mem, msgs)
		}
		if err != nil {
			p.log.InfoContext(ctx, "claims were not released; the audit will", "count", len(free), "err", err)
			continue
		}
		for _, c := range free {
			r.mem.world.Put(c)
		}
	}
}

// commit writes messages to a shard, all or none, and returns the sequence
// of the first.
func (p *Planner) commit(ctx context.Context, shard int, msgs []*nats.Msg) (first uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, bus.CallTimeout)
	defer cancel()
	// Found out here, a message that is too large leaves no half batch open
	// at the server.
	most := int(p.cfg.Conn.NATS().MaxPayload()) - batchHeaders
	for _, m := range msgs {
		if m.Size() > most {
			return 0, fmt.Errorf("write %s of %d bytes: %w", m.Subject, m.Size(), nats.ErrMaxPayload)
		}
	}
	var last uint64
	if len(msgs) == 1 {
		// One message is atomic by itself, and a batch of one costs ten
		// times as much.
		last, err = p.cfg.Conn.Publish(ctx, msgs[0])
	} else {
		var ack *jetstreamext.BatchAck
		if ack, err = jetstreamext.PublishMsgBatch(ctx, p.cfg.Conn.JS(), msgs); err == nil {
			last = ack.Sequence
		}
	}
	if err != nil {
		return 0, fmt.Errorf("write %d messages to %s: %w", len(msgs), subject.ShardStream(shard), err)
	}
	p.cfg.Conn.Worked()
	first = last - uint64(len(msgs)) + 1
	if first <= p.mirror.mem.reached[shard] {
		// Our batch stands where something else was delivered from: the
		// stream was cut back by a power cut.
		p.mirror.distrust()
		return 0, fmt.Errorf("batch landed at %d of %s, below what was seen: %w", first, subject.ShardStream(shard), errDistrusted)
	}
	return first, nil
}

// done tells everybody that a round has landed.
func (p *Planner) done(r *round, took time.Duration) {
	p.trouble("")
	if !r.empty() {
		p.mu.Lock()
		p.wrote = p.cfg.Now()
		p.mu.Unlock()
	}
	for _, i := range r.items {
		p.settled(i)
	}
	for _, rec := range r.record {
		if n, ok := rec.(*plan.Node); ok && (n.State == plan.Booting || n.State == plan.Joining || n.State == plan.Restarting) {
			p.observed.moved(n)
		}
	}
	if p.cfg.OnCommit != nil && !r.empty() {
		c := Commit{Shard: p.cfg.Shard, Events: r.events, Jobs: r.made, Messages: r.size(), Poison: r.poison, Took: took}
		for _, i := range r.items {
			c.Inputs = append(c.Inputs, i.input)
		}
		p.cfg.OnCommit(c)
	}
}

// settled lets go of an input that was decided or set aside.
func (p *Planner) settled(i *item) {
	p.release(i)
	i.ack(p.log)
	if i.poison == nil {
		return
	}
	p.log.Error("input cannot be decided and was set aside", "subject", i.input.ID, "sequence", i.sequence, "err", i.poison)
	if i.sequence == 0 {
		p.mu.Lock()
		p.skip[i.input.ID] = true
		p.mu.Unlock()
	}
}

// audit releases claims whose owner does not exist.
func (p *Planner) audit(ctx context.Context) {
	if !p.active() {
		return
	}
	p.mirror.mu.Lock()
	defer p.mirror.mu.Unlock()
	if !p.mirror.loaded || p.newerFormat() {
		return
	}
	mem := p.mirror.mem
	r := newRound(p.cfg.Shard, mem, p.now(mem), p.cfg.Instance)
	r.release = plan.Audit(mem.world, r.now)
	if len(r.release) > 0 {
		p.log.InfoContext(ctx, "claims without an owner are released", "count", len(r.release))
		p.releaseClaims(context.WithoutCancel(ctx), r)
	}
}
