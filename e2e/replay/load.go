// Package replay reads a whole ledger, tells its history again from the
// events alone, and compares what comes out with the records. It shares no
// code with the planner but the message types, so that a mistake there does
// not excuse itself here.
package replay

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"yardmaster.dev/proto/subject"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

// message is one stored message of a shard.
type message struct {
	name    subject.Name
	subject string
	seq     uint64
	header  nats.Header
	body    []byte
}

// Ledger is everything that the shards hold, in memory.
type Ledger struct {
	// messages in the order of their stream, per shard.
	shards [][]message

	Fleets   map[string]*ymv1.FleetRecord
	Nodes    map[string]*ymv1.NodeRecord // by node name
	Receipts map[string]*ymv1.ReceiptRecord
	commands map[string]message // by fleet/id
	events   map[string][]event // by node name, or fleet/_fleet
	ordered  [][]event          // per shard, in stream order
	heads    map[string]message // records that have a chain
	claims   map[string]*ymv1.ClaimRecord
	jobs     map[string]message // not withdrawn
	results  map[string]message
	dead     map[string]*ymv1.DeadLetterRecord
	// moved says that somebody wrote while the shards were read: what was
	// overwritten meanwhile is missing here.
	moved bool
}

type event struct {
	*ymv1.Event
	body  []byte
	batch string
}

// Load reads the shards.
func Load(ctx context.Context, nc *nats.Conn, shards int) (*Ledger, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	l := newLedger()
	for k := range shards {
		ms, moved, err := readAll(ctx, js, k)
		if err != nil {
			return nil, fmt.Errorf("shard %d: %w", k, err)
		}
		l.moved = l.moved || moved
		l.shards = append(l.shards, ms)
		l.ordered = append(l.ordered, nil)
		for i := range ms {
			if err := l.take(k, &ms[i]); err != nil {
				return nil, fmt.Errorf("%s: %w", ms[i].subject, err)
			}
		}
	}
	return l, nil
}

func newLedger() *Ledger {
	return &Ledger{
		Fleets: map[string]*ymv1.FleetRecord{}, Nodes: map[string]*ymv1.NodeRecord{},
		Receipts: map[string]*ymv1.ReceiptRecord{}, commands: map[string]message{},
		events: map[string][]event{}, heads: map[string]message{}, claims: map[string]*ymv1.ClaimRecord{},
		jobs: map[string]message{}, results: map[string]message{}, dead: map[string]*ymv1.DeadLetterRecord{},
	}
}

// readAll reads a shard up to its present end, and reports whether that has
// moved when it got there.
func readAll(ctx context.Context, js jetstream.JetStream, shard int) (ms []message, moved bool, err error) {
	s, err := js.Stream(ctx, subject.ShardStream(shard))
	if err != nil {
		return nil, false, err
	}
	end := s.CachedInfo().State.LastSeq
	if ms, err = readTo(ctx, s, end); err != nil {
		return nil, false, err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return nil, false, err
	}
	return ms, info.State.LastSeq != end, nil
}

func readTo(ctx context.Context, s jetstream.Stream, end uint64) ([]message, error) {
	if end == 0 {
		return nil, nil
	}
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject.Root + ".>"}})
	if err != nil {
		return nil, err
	}
	it, err := c.Messages(jetstream.PullMaxMessages(5000))
	if err != nil {
		return nil, err
	}
	defer it.Stop()
	var out []message
	for {
		m, err := it.Next(jetstream.NextMaxWait(20 * time.Second))
		if err != nil {
			return nil, err
		}
		meta, err := m.Metadata()
		if err != nil {
			return nil, err
		}
		name, err := subject.Parse(m.Subject())
		if err != nil {
			return nil, err
		}
		out = append(out, message{
			name: name, subject: m.Subject(), seq: meta.Sequence.Stream, header: m.Headers(), body: m.Data(),
		})
		if meta.Sequence.Stream >= end {
			return out, nil
		}
	}
}

func (l *Ledger) take(shard int, m *message) error {
	n := m.name
	switch n.Kind { //nolint:exhaustive // the other kinds have nothing to check
	case subject.KindFleet:
		l.heads[n.Fleet+"/_fleet"] = *m
		return decode(l.Fleets, n.Fleet, m, &ymv1.FleetRecord{})
	case subject.KindNode:
		l.heads[n.Fleet+"-"+n.Node] = *m
		return decode(l.Nodes, n.Fleet+"-"+n.Node, m, &ymv1.NodeRecord{})
	case subject.KindReceipt:
		return decode(l.Receipts, n.Fleet+"/"+n.ID, m, &ymv1.ReceiptRecord{})
	case subject.KindClaim:
		return decode(l.claims, n.ID+"/"+n.Thing, m, &ymv1.ClaimRecord{})
	case subject.KindDeadLetter:
		return decode(l.dead, n.Fleet+"/"+n.Node, m, &ymv1.DeadLetterRecord{})
	case subject.KindCommand:
		l.commands[n.Fleet+"/"+n.ID] = *m
	case subject.KindResult:
		l.results[m.subject] = *m
	case subject.KindJob:
		if len(m.body) > 0 {
			l.jobs[m.subject] = *m
		}
	case subject.KindEvent:
		return l.takeEvent(shard, m)
	}
	return nil
}

func (l *Ledger) takeEvent(shard int, m *message) error {
	e := event{Event: &ymv1.Event{}, body: m.body, batch: m.header.Get("Nats-Batch-Id")}
	if err := proto.Unmarshal(m.body, e.Event); err != nil {
		return err
	}
	key := m.name.Fleet + "-" + m.name.Node
	if m.name.Node == "_fleet" {
		key = m.name.Fleet + "/_fleet"
	}
	if e.GetNumber() != m.name.Number || e.GetNode() != m.name.Node {
		return fmt.Errorf("event says %s %d", e.GetNode(), e.GetNumber())
	}
	l.events[key] = append(l.events[key], e)
	l.ordered[shard] = append(l.ordered[shard], e)
	return nil
}

// decode keeps the last message of a subject; an empty one is a release.
func decode[T proto.Message](into map[string]T, key string, m *message, v T) error {
	if len(m.body) == 0 {
		delete(into, key)
		return nil
	}
	if err := proto.Unmarshal(m.body, v); err != nil {
		return err
	}
	into[key] = v
	return nil
}

// Events is how many events the ledger holds.
func (l *Ledger) Events() int {
	n := 0
	for _, es := range l.events {
		n += len(es)
	}
	return n
}

// EventsOf is how many events of a fleet and its nodes happened until then.
func (l *Ledger) EventsOf(fleet string, until time.Time) int {
	n := 0
	for _, es := range l.events {
		for _, e := range es {
			if e.GetFleet() == fleet && !e.GetAt().AsTime().After(until) {
				n++
			}
		}
	}
	return n
}
