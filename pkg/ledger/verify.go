package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// Audit is what [Verify] found.
type Audit struct {
	// Nodes and Fleets were compared with their histories.
	Nodes  int
	Fleets int
	Events int64
	// Breaks says, in words, where a history does not hold.
	Breaks []string
}

// Verify walks the events of every node and fleet from the oldest kept: each
// must name the hash of its predecessor and begin where that one ended, no
// number may be missing, and the walk must arrive at the record. Events that
// the shard keeps no more are looked for in the history stream. With a fleet's
// name only its own are walked. It may run beside a working planner.
func Verify(ctx context.Context, conn *bus.Conn, fleet string) (Audit, error) {
	yard, err := conn.Yard(ctx)
	if err != nil {
		return Audit{}, fmt.Errorf("verify: %w", err)
	}
	var out Audit
	for k := range yard.Shards {
		a := &auditor{feed: &feed{conn: conn, shard: k}, out: &out, tales: map[string]*tale{}, ends: map[string]*end{}}
		if fleet == "" {
			a.of = ">"
		} else {
			a.of = fleet + ".>"
		}
		if err := a.verify(ctx); err != nil {
			return out, fmt.Errorf("verify shard %d: %w", k, err)
		}
	}
	slices.Sort(out.Breaks)
	return out, nil
}

// auditor walks one shard.
type auditor struct {
	*feed
	of    string
	out   *Audit
	tales map[string]*tale
	ends  map[string]*end
}

// tale is how far the walk through one chain has come.
type tale struct {
	number int64
	hash   []byte
	to     plan.State
}

// end is what a record says of its newest event.
type end struct {
	name    string
	number  int64
	state   plan.State
	chain   []byte
	record  []byte
	amended bool
	met     bool
}

func (a *auditor) verify(ctx context.Context) error {
	// Records first: the events that are read afterwards then hold at least
	// what the records tell of.
	for _, kind := range []subject.Kind{subject.KindFleet, subject.KindNode} {
		if err := a.readAll(ctx, string(kind), a.of, a.note); err != nil {
			return err
		}
	}
	if err := a.readAll(ctx, string(subject.KindEvent), a.of, a.walk); err != nil {
		return err
	}
	for of, e := range a.ends {
		if e.number > 0 && !e.met {
			if err := a.old(ctx, of, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *auditor) readAll(ctx context.Context, kind, of string, take func(*bus.Message) error) error {
	filter := fmt.Sprintf("%s.%d.%s.%s", subject.Root, a.shard, kind, of)
	if of != ">" && kind == string(subject.KindFleet) {
		filter = strings.TrimSuffix(filter, ".>")
	}
	last, err := a.conn.LeaderLast(ctx, subject.ShardStream(a.shard), filter)
	if errors.Is(err, bus.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return a.readUntil(ctx, filter, last.Sequence, take)
}

func (a *auditor) broken(format string, args ...any) {
	a.out.Breaks = append(a.out.Breaks, fmt.Sprintf(format, args...))
}

func (a *auditor) note(msg *bus.Message) error {
	d, err := decode(msg)
	if err != nil {
		a.broken("%v", err)
		return nil
	}
	sum := sha256.Sum256(msg.Data)
	e := &end{chain: []byte(d.entry.chain), record: sum[:], amended: msg.Header.Get(wire.HeaderAmended) != ""}
	switch r := d.record.(type) {
	case *plan.Node:
		a.out.Nodes++
		e.name, e.number, e.state = r.Name(), r.Event, r.State
		a.ends[chainKey(r.Fleet, r.Key())] = e
	case *plan.Fleet:
		a.out.Fleets++
		e.name, e.number = "fleet "+r.Name, r.Event
		a.ends[chainKey(r.Name, plan.FleetEvents)] = e
	}
	return nil
}

func chainKey(fleet, node string) string { return fleet + "." + node }

func (a *auditor) walk(msg *bus.Message) error {
	a.out.Events++
	e, err := wire.DecodeEvent(msg.Type(), msg.Version(), msg.Data)
	if err != nil {
		a.broken("event %s at %d cannot be read: %v", msg.Subject, msg.Sequence, err)
		return nil
	}
	key := chainKey(e.Fleet, e.Node)
	name := fmt.Sprintf("%s event %d", key, e.Number)
	if want := subject.Event(a.shard, e.Fleet, e.Node, e.Number); want != msg.Subject {
		a.broken("%s is stored at %s", name, msg.Subject)
	}
	sum := sha256.Sum256(msg.Data)
	if t := a.tales[key]; t != nil {
		a.follows(name, t, e)
	}
	a.tales[key] = &tale{number: e.Number, hash: sum[:], to: e.To}
	if end := a.ends[key]; end != nil && end.number == e.Number {
		a.arrive(end, e, sum[:])
	}
	return nil
}

// follows checks that an event is the next one of its chain.
func (a *auditor) follows(name string, before *tale, e *wire.Event) {
	switch {
	case e.Number != before.number+1:
		a.broken("%s follows event %d: events are missing", name, before.number)
	case !bytes.Equal(e.Prev, before.hash):
		a.broken("%s does not hold the hash of its predecessor: one of the two was changed", name)
	case e.Node != plan.FleetEvents && e.From != "" && e.From != before.to:
		a.broken("%s begins in %s, its predecessor ended in %s", name, e.From, before.to)
	}
}

// arrive checks that the newest event tells of the record as it stands.
func (a *auditor) arrive(end *end, e *wire.Event, hash []byte) {
	end.met = true
	if !bytes.Equal(end.chain, hash) {
		a.broken("%s: its record names %s as the hash of event %d, which has %s",
			end.name, hex.EncodeToString(end.chain), e.Number, hex.EncodeToString(hash))
	}
	if !end.amended && !bytes.Equal(end.record, e.Record) {
		a.broken("%s: its record is not the one that event %d produced", end.name, e.Number)
	}
	if end.state != "" && end.state != e.To {
		a.broken("%s: its record says %s, event %d says %s", end.name, end.state, e.Number, e.To)
	}
}

// old looks for a record's newest event in the history stream: a node that
// has not moved for long outlives its events in the shard.
func (a *auditor) old(ctx context.Context, key string, e *end) error {
	fleet, node, _ := strings.Cut(key, ".")
	msg, err := a.conn.LeaderLast(ctx, subject.StreamHistory, subject.History(a.shard, fleet, node, e.number))
	if errors.Is(err, bus.ErrNotFound) {
		a.broken("%s: its record names event %d, which is nowhere", e.name, e.number)
		return nil
	}
	if err != nil {
		return err
	}
	event, err := wire.DecodeEvent(msg.Type(), msg.Version(), msg.Data)
	if err != nil {
		a.broken("%s: event %d cannot be read: %v", e.name, e.number, err)
		return nil
	}
	sum := sha256.Sum256(msg.Data)
	a.arrive(e, event, sum[:])
	return nil
}

// Events reads the newest events of a fleet's node, oldest first; an empty
// node means all of the fleet's, an empty fleet all of the shard's.
func Events(ctx context.Context, conn *bus.Conn, shard int, fleet, node string, limit int) ([]*plan.Event, error) { //nolint:revive // these are the tokens of a subject
	tokens := []string{">"}
	switch {
	case fleet != "" && node != "":
		tokens = []string{fleet, node, "*"}
	case fleet != "":
		tokens = []string{fleet, ">"}
	}
	filter := fmt.Sprintf("%s.%d.%s.%s", subject.Root, shard, subject.KindEvent, strings.Join(tokens, "."))
	f := &feed{conn: conn, shard: shard}
	last, err := conn.LeaderLast(ctx, subject.ShardStream(shard), filter)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	var out []*plan.Event
	err = f.readUntil(ctx, filter, last.Sequence, func(msg *bus.Message) error {
		e, err := wire.DecodeEvent(msg.Type(), msg.Version(), msg.Data)
		if err != nil {
			return err
		}
		if out = append(out, &e.Event); limit > 0 && len(out) > 2*limit {
			out = append(out[:0], out[len(out)-limit:]...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	if limit > 0 && len(out) > limit {
		out = out[len(out)-limit:]
	}
	return out, nil
}
