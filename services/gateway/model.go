package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/ledger"
	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// What reads are marked with when something is away.
const (
	warnBus    = "the bus does not answer"
	warnStale  = "the ledger is being read anew"
	warnLonely = "no planner is running"
)

// model is the read model: a mirror of every shard, what lives beside it,
// and how far both are to be trusted.
type model struct {
	bus      *bus.Conn
	mirror   *ledger.Mirror
	presence *presence
	answers  *answers
	// mirrored is the number of shards that the mirror follows.
	mirrored int
	// making is the World that the mirror fills, world the one that it
	// shows; both are only touched with the mirror locked.
	making, world *plan.World
	// everLoaded is set by the first load; asOf is when the mirror was last
	// known to follow the bus, in Unix nanoseconds.
	everLoaded atomic.Bool
	asOf       atomic.Int64
}

// newModel returns a model of the yard's shards; tell is called with every
// change, with the World locked, and reset when the World is another one.
func newModel(conn *bus.Conn, shards int, log *slog.Logger, tell func(*plan.World, ledger.Change)) *model {
	m := &model{bus: conn, presence: &presence{}, answers: newAnswers(), mirrored: shards}
	cfg := ledger.MirrorConfig{
		Conn: conn, Events: true, Log: log,
		World: func() *plan.World {
			m.making = plan.NewWorld(plan.EveryShard)
			return m.making
		},
		OnChange: func(c ledger.Change) {
			if c.Reset {
				m.reset()
			} else {
				m.answers.change(c)
			}
			tell(m.world, c)
		},
	}
	for k := range shards {
		cfg.Shards = append(cfg.Shards, k)
	}
	m.mirror = ledger.NewMirror(cfg)
	return m
}

// reset takes over a World that was loaded anew and answers what it knows.
func (m *model) reset() {
	m.world = m.making
	m.everLoaded.Store(true)
	m.asOf.Store(time.Now().UnixNano())
	for _, w := range m.answers.keys() {
		scope, id, _ := strings.Cut(w.key, "/")
		if r := m.world.Receipt(scope, id); r != nil {
			shard, _ := shardOf(m.world, scope)
			m.answers.found(r, ledger.Stamp{Shard: shard})
		}
	}
}

// loaded reports whether there is anything to read.
func (m *model) loaded() bool { return m.everLoaded.Load() }

// current reports whether the model follows the bus at this moment.
func (m *model) current() bool { return m.loaded() && m.bus.NATS().IsConnected() && m.mirror.Loaded() }

// lonely reports that no planner lives, as far as is known.
func (m *model) lonely() bool { return m.presence.lonely(time.Now()) }

// conn is the connection, if it stands.
func (m *model) conn() (*bus.Conn, error) {
	if !m.bus.NATS().IsConnected() {
		return nil, errBusAway
	}
	return m.bus, nil
}

// errGrown means that the yard has more shards than the mirror follows.
var errGrown = errors.New("the yard has grown")

// watch notes until ctx ends how long the model was current; it ends with
// errGrown when there is more to mirror.
func (m *model) watch(ctx context.Context, note func()) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if m.current() {
			m.asOf.Store(time.Now().UnixNano())
		}
		note()
		if m.shards() > m.mirrored {
			return errGrown
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// read lets see look at the World and says how new it is. The stamps are
// taken first, so that the answer is at least as new as they say.
func (m *model) read(see func(w *plan.World) error) (*v1.ReadStatus, error) {
	return m.look(m.mirror.View, see)
}

// alone is read for what changes the World and changes it back.
func (m *model) alone(see func(w *plan.World) error) (*v1.ReadStatus, error) {
	return m.look(m.mirror.Alone, see)
}

func (m *model) look(lock func(func(*plan.World)), see func(w *plan.World) error) (*v1.ReadStatus, error) {
	if !m.loaded() {
		return nil, unavailable(errLoading)
	}
	status := m.status()
	var err error
	lock(func(w *plan.World) { err = see(w) })
	if err != nil {
		return nil, err
	}
	return status, nil
}

func (m *model) status() *v1.ReadStatus {
	out := &v1.ReadStatus{Warning: m.warning(), AsOf: timestamppb.Now()}
	if !m.current() {
		out.AsOf = timestamppb.New(time.Unix(0, m.asOf.Load()))
	}
	stamps, _ := m.mirror.Stamps()
	for _, s := range stamps {
		out.Stamps = append(out.Stamps, viewStamp(s))
	}
	return out
}

func (m *model) warning() string {
	switch {
	case !m.bus.NATS().IsConnected():
		return warnBus
	case !m.mirror.Loaded():
		return warnStale
	case m.lonely():
		return warnLonely
	}
	return ""
}

// receipt registers somebody who waits for a command's receipt; it may be
// there already, when the command is repeated.
func (m *model) receipt(scope, id string) *awaited {
	w := m.answers.expect(scope, id)
	stamps, _ := m.mirror.Stamps()
	m.mirror.View(func(world *plan.World) {
		r := world.Receipt(scope, id)
		if r == nil {
			return
		}
		shard := 0
		if scope != plan.YardScope {
			shard, _ = shardOf(world, scope)
		}
		for _, s := range stamps {
			if s.Shard == shard {
				m.answers.found(r, s)
			}
		}
	})
	return w
}

// place returns where a fleet lives, false if it was never placed.
func (m *model) place(fleet string) (shard int, ok bool) {
	m.mirror.View(func(w *plan.World) { shard, ok = shardOf(w, fleet) })
	return shard, ok
}

// shards is the number of shards.
func (m *model) shards() (n int) {
	m.mirror.View(func(w *plan.World) { n = shardCount(w) })
	return n
}

func shardCount(w *plan.World) int {
	if y := w.Yard(); y != nil {
		return y.Shards
	}
	return 1
}

// lag is how many messages the model is behind a shard's end. Messages that
// a mirror does not read count while they are the newest ones.
func (m *model) lag(shard int, last uint64) uint64 {
	stamps, _ := m.mirror.Stamps()
	for _, s := range stamps {
		if s.Shard == shard && s.Sequence < last {
			return last - s.Sequence
		}
	}
	return 0
}

// position is the stamp of something that was stored in a shard.
func (m *model) position(shard int, sequence uint64) *v1.Stamp {
	stamps, _ := m.mirror.Stamps()
	for _, s := range stamps {
		if s.Shard == shard {
			s.Sequence = sequence
			return viewStamp(s)
		}
	}
	return nil
}

func viewStamp(s ledger.Stamp) *v1.Stamp {
	out := &v1.Stamp{Shard: uint32(s.Shard), Sequence: s.Sequence}
	if !s.Epoch.IsZero() {
		out.Epoch = s.Epoch.UnixNano()
	}
	return out
}

// errStamp is what a client may have got wrong in HeaderAfter.
var errStamp = errors.New("write shard/epoch/sequence, as in a stamp, several with commas")

// parseStamps reads the value of HeaderAfter.
func parseStamps(text string) ([]ledger.Stamp, error) {
	var out []ledger.Stamp
	for part := range strings.SplitSeq(text, ",") {
		fields := strings.Split(strings.TrimSpace(part), "/")
		if len(fields) != 3 {
			return nil, fmt.Errorf("%q: %w", part, errStamp)
		}
		shard, err1 := strconv.Atoi(fields[0])
		epoch, err2 := strconv.ParseInt(fields[1], 10, 64)
		sequence, err3 := strconv.ParseUint(fields[2], 10, 64)
		if err := errors.Join(err1, err2, err3); err != nil || shard < 0 {
			return nil, fmt.Errorf("%q: %w", part, errStamp)
		}
		s := ledger.Stamp{Shard: shard, Sequence: sequence}
		if epoch != 0 {
			s.Epoch = time.Unix(0, epoch)
		}
		out = append(out, s)
	}
	return out, nil
}
