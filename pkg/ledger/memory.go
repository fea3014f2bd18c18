package ledger

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// memory is what was read of the streams since the last (re)connect. It has
// no lock; its holder has.
type memory struct {
	world *plan.World
	// entries holds the version of every record, by subject.
	entries map[string]entry
	// reached is the newest sequence that was delivered, per shard. A
	// planner's own writes do not count: the barrier is about deliveries.
	reached map[int]uint64
	// epochs are the creation times of the streams.
	epochs map[int]time.Time
	// latest is the newest stream time seen.
	latest time.Time
}

// entry is what must be remembered of a record beside its content.
type entry struct {
	sequence uint64
	// chain is the hash of the body of its newest event, as raw bytes.
	chain string
	kept  *wire.Kept
}

func newMemory(world *plan.World) *memory {
	return &memory{world: world, entries: map[string]entry{}, reached: map[int]uint64{}, epochs: map[int]time.Time{}}
}

// saw notes that a delivery passed by.
func (m *memory) saw(shard int, sequence uint64, at time.Time) {
	if sequence > m.reached[shard] {
		m.reached[shard] = sequence
	}
	if at.After(m.latest) {
		m.latest = at
	}
}

// isRecord reports whether a ledger subject holds a record.
func isRecord(of string) bool {
	_, rest, _ := strings.Cut(of, ".")
	_, rest, _ = strings.Cut(rest, ".")
	return strings.HasPrefix(rest, "st.")
}

// decoded is a record as it came off the stream.
type decoded struct {
	subject string
	entry   entry
	record  plan.Record
}

// decode reads a record's message. A seat gives a nil record.
func decode(msg *bus.Message) (*decoded, error) {
	name, err := subject.Parse(msg.Subject)
	if err != nil {
		return nil, err
	}
	if name.Kind == subject.KindSeat {
		// It is no planner's, and nothing that an executor writes there may
		// end our loading or come into the World.
		return &decoded{subject: msg.Subject}, nil
	}
	record, kept, err := wire.DecodeRecord(name, msg.Type(), msg.Version(), msg.Data)
	if err != nil {
		return nil, fmt.Errorf("record %s at %d: %w", msg.Subject, msg.Sequence, err)
	}
	chain, err := hex.DecodeString(msg.Header.Get(wire.HeaderChain))
	if err != nil {
		return nil, fmt.Errorf("record %s at %d: chain: %w", msg.Subject, msg.Sequence, err)
	}
	return &decoded{
		subject: msg.Subject, record: record,
		entry: entry{sequence: msg.Sequence, chain: string(chain), kept: kept},
	}, nil
}

// take puts a record into the memory, unless a newer one is there: own
// batches and deliveries may come in either order.
func (m *memory) take(d *decoded) bool {
	if d.record == nil || m.entries[d.subject].sequence >= d.entry.sequence {
		return false
	}
	m.entries[d.subject] = d.entry
	m.world.Put(d.record)
	return true
}
