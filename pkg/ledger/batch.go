package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/nats-io/nats.go"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// batch is a round as messages: events, jobs, steps, and records last, so
// that the newest message of a stream is one that every mirror sees.
type batch struct {
	msgs []*nats.Msg
	// entries is what the memory must note of the records once they are
	// written, by subject; their sequences are filled in then.
	entries map[string]entry
}

// story is the chain of one node's, or fleet's, events.
type story struct {
	record string // subject
	events []*plan.Event
}

// batch encodes the round.
func (r *round) batch() (*batch, error) {
	b := &batch{entries: map[string]entry{}}
	bodies := make(map[string]wire.Message, len(r.records))
	for _, of := range r.records {
		m, err := wire.Record(r.record[of], r.mem.entries[of].kept)
		if err != nil {
			return nil, err
		}
		bodies[of] = m
	}
	stories, err := r.stories()
	if err != nil {
		return nil, err
	}
	chains := make(map[string]string, len(stories))
	for _, s := range stories {
		if chains[s.record], err = b.addStory(r.shard, s, r.mem.entries[s.record].chain, bodies[s.record].Body); err != nil {
			return nil, err
		}
	}
	for _, of := range r.jobs {
		b.addJob(of, r.job[of])
	}
	for _, fleet := range slices.Sorted(maps.Keys(r.steps)) {
		m, err := wire.Step(r.by)
		if err != nil {
			return nil, err
		}
		b.msgs = append(b.msgs, bus.TTL(bus.NewMsg(subject.Step(r.shard, fleet), m), subject.InputTTL))
	}
	for _, of := range r.records {
		b.addRecord(of, bodies[of], r.mem.entries[of], chains[of])
	}
	return b, nil
}

// stories groups the events by the record that they tell of, in order.
func (r *round) stories() ([]*story, error) {
	var out []*story
	index := map[string]*story{}
	for _, e := range r.events {
		of := subject.Node(r.shard, e.Fleet, e.Node)
		if e.Node == plan.FleetEvents {
			of = subject.Fleet(r.shard, e.Fleet)
		}
		s := index[of]
		if s == nil {
			if _, ok := r.record[of]; !ok {
				return nil, fmt.Errorf("event %d of %s/%s comes without its record", e.Number, e.Fleet, e.Node)
			}
			s = &story{record: of}
			index[of] = s
			out = append(out, s)
		}
		s.events = append(s.events, e)
	}
	return out, nil
}

// addStory adds the events of one record and returns the new end of its
// chain. Only the last event can hold the record's hash: what the record was
// in between is not stored.
func (b *batch) addStory(shard int, s *story, chain string, record []byte) (string, error) {
	for i, e := range s.events {
		var hash []byte
		if i == len(s.events)-1 {
			sum := sha256.Sum256(record)
			hash = sum[:]
		}
		m, err := wire.EncodeEvent(e, []byte(chain), hash)
		if err != nil {
			return "", err
		}
		sum := sha256.Sum256(m.Body)
		chain = string(sum[:])
		of := subject.Event(shard, e.Fleet, e.Node, e.Number)
		b.msgs = append(b.msgs, bus.TTL(bus.Expect(bus.NewMsg(of, m), 0), subject.EventTTL))
	}
	return chain, nil
}

// addJob adds a job, which must be new, or withdraws one by overwriting it
// empty; the withdrawal lives at least as long as the job would have.
func (b *batch) addJob(of string, m wire.Message) {
	msg := bus.TTL(bus.NewMsg(of, m), subject.JobTTL)
	if len(m.Body) == 0 {
		b.msgs = append(b.msgs, bus.Rollup(msg))
		return
	}
	b.msgs = append(b.msgs, bus.Expect(msg, 0))
}

// addRecord adds a record by compare-and-set. chain is the end of its story,
// empty if no event of this batch tells of it.
func (b *batch) addRecord(of string, m wire.Message, old entry, chain string) {
	msg := bus.Expect(bus.NewMsg(of, m), old.sequence)
	if chain == "" && old.chain != "" {
		chain = old.chain
		msg.Header[wire.HeaderAmended] = []string{"1"}
	}
	if chain != "" {
		msg.Header[wire.HeaderChain] = []string{hex.EncodeToString([]byte(chain))}
	}
	if m.Type == wire.TypeReceipt {
		b.msgs = append(b.msgs, bus.TTL(msg, subject.ReceiptTTL))
	} else {
		b.msgs = append(b.msgs, bus.Rollup(msg))
	}
	b.entries[of] = entry{chain: chain, kept: old.kept}
}

// landed notes the versions of the records: the sequences of a batch are
// contiguous.
func (b *batch) landed(mem *memory, first uint64) {
	for i, msg := range b.msgs {
		if e, ok := b.entries[msg.Subject]; ok {
			e.sequence = first + uint64(i)
			mem.entries[msg.Subject] = e
		}
	}
}
