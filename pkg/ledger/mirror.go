package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// Stamp is a position in a shard's stream. Another epoch is another stream.
type Stamp struct {
	Shard    int
	Epoch    time.Time
	Sequence uint64
}

// Change is something that the mirror took in: a record or an event. After
// a reload everything may have changed: Reset is set, and nothing else.
type Change struct {
	Stamp  Stamp
	Time   time.Time
	Record plan.Record
	Event  *plan.Event
	// Commit means that a transition is complete with this change: what was
	// written together was delivered in parts before it.
	Commit bool
	Reset  bool
}

// MirrorConfig says what to mirror.
type MirrorConfig struct {
	Conn   *bus.Conn
	Shards []int
	// World makes an empty World; a reload fills another one.
	World func() *plan.World
	// Events has OnChange told of events too.
	Events bool
	// OnChange, if not nil, is called in the order of each shard's stream,
	// with the mirror locked: it must return soon and not call the mirror.
	OnChange func(Change)
	Log      *slog.Logger
}

// Mirror is a memory of shard streams that is kept up to date. After every
// reconnect it is thrown away and loaded anew, since what was delivered may
// have been undone by a power cut; readers see the old one meanwhile.
type Mirror struct {
	cfg MirrorConfig

	mu  sync.RWMutex
	mem *memory
	// loaded is false while mem is old.
	loaded bool
	// waiters are those who wait, with what each waits for.
	waiters map[chan struct{}]condition
	reload  chan struct{}
	// epochs are those of the first load: a stream with another creation
	// time is another stream, from a backup perhaps.
	epochs map[int]time.Time
}

// ErrOtherStream means that a stream was replaced under our feet.
var ErrOtherStream = errors.New("the stream is not the one that this process began with")

// NewMirror returns a mirror that knows nothing until Run has loaded it.
func NewMirror(cfg MirrorConfig) *Mirror {
	return &Mirror{
		cfg: cfg, mem: newMemory(cfg.World()), waiters: map[chan struct{}]condition{}, reload: make(chan struct{}, 1),
		epochs: map[int]time.Time{},
	}
}

const reloadWait = 200 * time.Millisecond

// Run keeps the mirror up to date until ctx ends.
func (m *Mirror) Run(ctx context.Context) error {
	wait := reloadWait
	for ctx.Err() == nil {
		started := time.Now()
		err := m.generation(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // ctx has ended: that is how we stop
		}
		if errors.Is(err, ErrOtherStream) {
			return err
		}
		m.cfg.Log.WarnContext(ctx, "mirror is loaded anew", "err", err)
		if time.Since(started) > time.Minute {
			wait = reloadWait
		}
		pause(ctx, wait)
		wait = min(2*wait, 2*time.Second)
	}
	return nil
}

var (
	errReconnected = errors.New("the connection was made anew")
	errDistrusted  = errors.New("the memory is not to be trusted")
)

// generation loads and follows until the connection changes.
func (m *Mirror) generation(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	_, changed := m.cfg.Conn.Generation()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		select {
		case <-changed:
			return errReconnected
		case <-m.reload:
			return errDistrusted
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	group.Go(func() error {
		mem, err := m.load(ctx)
		if err != nil {
			m.cfg.Conn.Struggled()
			return err
		}
		m.swap(mem)
		for _, shard := range m.cfg.Shards {
			group.Go(func() error { return m.feed(shard).follow(ctx, mem.noted[shard], m.apply(shard)) })
		}
		return nil
	})
	err := group.Wait()
	m.mu.Lock()
	m.loaded = false
	m.wake()
	m.mu.Unlock()
	return err
}

func (m *Mirror) feed(shard int) *feed {
	return &feed{conn: m.cfg.Conn, shard: shard, events: m.cfg.Events}
}

type loadedMemory struct {
	*memory
	noted map[int]uint64
}

func (m *Mirror) load(ctx context.Context) (*loadedMemory, error) {
	out := &loadedMemory{memory: newMemory(m.cfg.World()), noted: map[int]uint64{}}
	for _, shard := range m.cfg.Shards {
		noted, created, err := m.feed(shard).load(ctx, func(msg *bus.Message) error {
			d, err := decode(msg)
			if err != nil {
				return err
			}
			out.take(d)
			return nil
		})
		if err != nil {
			return nil, err
		}
		if first, ok := m.epochs[shard]; ok && !first.Equal(created) {
			return nil, fmt.Errorf("shard %d was made at %s, and was at %s before: %w; restart this service once the yard is known to be whole",
				shard, created.Format(time.RFC3339), first.Format(time.RFC3339), ErrOtherStream)
		}
		m.epochs[shard] = created
		out.epochs[shard] = created
		out.noted[shard] = noted
		out.saw(shard, noted, time.Time{})
	}
	return out, nil
}

func (m *Mirror) swap(mem *loadedMemory) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mem, m.loaded = mem.memory, true
	if m.cfg.OnChange != nil {
		m.cfg.OnChange(Change{Reset: true})
	}
	m.wake()
}

// apply takes in what a shard delivers.
func (m *Mirror) apply(shard int) func(*bus.Message) error {
	return func(msg *bus.Message) error {
		var d *decoded
		var event *plan.Event
		var err error
		switch {
		case isRecord(msg.Subject):
			if m.knows(msg) {
				break // our own batch
			}
			if d, err = decode(msg); err != nil {
				return err
			}
		case m.cfg.Events:
			event = m.event(msg)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.mem.saw(shard, msg.Sequence, msg.Time)
		change := Change{Stamp: m.stamp(shard, msg.Sequence), Time: msg.Time, Event: event, Commit: ends(msg)}
		if d != nil && m.mem.take(d) {
			change.Record = d.record
		}
		if m.cfg.OnChange != nil && (change.Record != nil || change.Event != nil) {
			m.cfg.OnChange(change)
		}
		m.wake()
		return nil
	}
}

func (m *Mirror) event(msg *bus.Message) *plan.Event {
	name, err := subject.Parse(msg.Subject)
	if err != nil || name.Kind != subject.KindEvent {
		return nil
	}
	e, err := wire.DecodeEvent(msg.Type(), msg.Version(), msg.Data)
	if err != nil {
		m.cfg.Log.Error("event cannot be read", "subject", msg.Subject, "err", err)
		return nil
	}
	return &e.Event
}

// ends reports whether a message is the last of what was written with it.
func ends(msg *bus.Message) bool {
	return msg.Header.Get("Nats-Batch-Id") == "" || msg.Header.Get("Nats-Batch-Commit") != ""
}

func (m *Mirror) knows(msg *bus.Message) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.mem.entries[msg.Subject].sequence >= msg.Sequence
}

func (m *Mirror) stamp(shard int, sequence uint64) Stamp {
	return Stamp{Shard: shard, Epoch: m.mem.epochs[shard], Sequence: sequence}
}

// wake lets those go on whose condition is met; the lock is held. It looks in
// their stead: a waiter that were woken by each of a batch's messages would
// cost the planner more than its decisions.
func (m *Mirror) wake() {
	for w, met := range m.waiters {
		if ok, err := met(); ok || err != nil {
			delete(m.waiters, w)
			close(w)
		}
	}
}

// distrust has the memory loaded anew.
func (m *Mirror) distrust() {
	select {
	case m.reload <- struct{}{}:
	default:
	}
}

// Loaded reports whether the memory is whole and followed.
func (m *Mirror) Loaded() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.loaded
}

// View lets f read the World, which must not outlive the call; the records
// in it may.
func (m *Mirror) View(f func(w *plan.World)) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	f(m.mem.world)
}

// Alone lets f work on the World with nobody beside it, for what changes the
// World and changes it back, such as plan.Preview.
func (m *Mirror) Alone(f func(w *plan.World)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m.mem.world)
}

// Stamps says how new the memory is, one stamp per shard, and the newest
// stream time that it has seen.
func (m *Mirror) Stamps() ([]Stamp, time.Time) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []Stamp
	for _, shard := range m.cfg.Shards {
		out = append(out, m.stamp(shard, m.mem.reached[shard]))
	}
	return out, m.mem.latest
}

// Wait returns once the memory is loaded and has reached the stamp. A zero
// epoch stands for whatever stream there is.
func (m *Mirror) Wait(ctx context.Context, s Stamp) error {
	return m.until(ctx, func() (bool, error) {
		if !m.loaded {
			return false, nil
		}
		if epoch := m.mem.epochs[s.Shard]; !s.Epoch.IsZero() && !s.Epoch.Equal(epoch) {
			return false, fmt.Errorf("wait for shard %d: %w", s.Shard, ErrOtherStream)
		}
		return m.mem.reached[s.Shard] >= s.Sequence, nil
	})
}

// condition is looked at under the lock.
type condition func() (met bool, err error)

// until waits for a condition.
func (m *Mirror) until(ctx context.Context, met condition) error {
	for {
		m.mu.Lock()
		ok, err := met()
		w := make(chan struct{})
		if !ok && err == nil {
			m.waiters[w] = met
		}
		m.mu.Unlock()
		if ok || err != nil {
			return err
		}
		select {
		case <-w:
		case <-ctx.Done():
			m.mu.Lock()
			delete(m.waiters, w)
			m.mu.Unlock()
			return ctx.Err()
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
