package gateway

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

const (
	defaultEvents = 100
	maxEvents     = 1000
	// storyEvents bounds the story of DescribeNode.
	storyEvents = 200
)

// ListEvents returns the newest events of a node, a fleet or the yard.
func (g *Gateway) ListEvents(ctx context.Context, req *connect.Request[v1.ListEventsRequest]) (*connect.Response[v1.ListEventsResponse], error) {
	limit := int(req.Msg.GetLimit())
	if limit <= 0 {
		limit = defaultEvents
	}
	limit = min(limit, maxEvents)
	var node *plan.Node
	var where []tail
	read, err := g.model.read(func(w *plan.World) (err error) {
		if name := req.Msg.GetNode(); name != "" {
			if node = findNode(w, name); node == nil {
				return notFound("node", name, "nodes")
			}
		}
		where, err = tails(w, req.Msg.GetFleet(), node)
		return err
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	out := &v1.ListEventsResponse{Read: read}
	if out.Events, err = g.newest(ctx, where, node, limit); err != nil {
		return nil, unavailable(fmt.Errorf("read events: %w", err))
	}
	return connect.NewResponse(out), nil
}

// tail is a part of a shard whose newest events are asked for.
type tail struct {
	shard  int
	filter string
}

// tails says where the events lie.
func tails(w *plan.World, fleetName string, node *plan.Node) ([]tail, error) {
	if node != nil {
		shard, _ := shardOf(w, node.Fleet)
		return []tail{{shard: shard}}, nil
	}
	if fleetName == "" {
		var all []tail
		for k := range shardCount(w) {
			all = append(all, tail{k, subject.KindFilter(k, subject.KindEvent)})
		}
		return all, nil
	}
	shard, ok := shardOf(w, fleetName)
	if !ok {
		return nil, notFound("fleet", fleetName, "fleets")
	}
	return []tail{{shard, subject.FleetEvents(shard, fleetName)}}, nil
}

func (g *Gateway) newest(ctx context.Context, where []tail, node *plan.Node, limit int) ([]*v1.EventView, error) {
	if node != nil {
		return g.story(ctx, where[0].shard, teller{node.Fleet, node.Key(), node.Event}, limit)
	}
	var out []*v1.EventView
	for _, t := range where {
		part, err := g.tail(ctx, t, limit)
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	slices.SortStableFunc(out, func(a, b *v1.EventView) int {
		return a.GetAt().AsTime().Compare(b.GetAt().AsTime())
	})
	return out[max(0, len(out)-limit):], nil
}

// teller is a node, or a fleet, that has events, and the newest one's number.
type teller struct {
	fleet, key string
	event      int64
}

// story returns a teller's newest events, oldest first. They are numbered, so
// that their subjects are known and one request brings them all; those that
// have expired are left out.
func (g *Gateway) story(ctx context.Context, shard int, t teller, limit int) ([]*v1.EventView, error) {
	var subjects []string
	for i := max(1, t.event-int64(limit)+1); i <= t.event; i++ {
		subjects = append(subjects, subject.Event(shard, t.fleet, t.key, i))
	}
	if len(subjects) == 0 {
		return nil, nil
	}
	conn, err := g.model.conn()
	if err != nil {
		return nil, err
	}
	found, err := jetstreamext.GetLastMsgsFor(ctx, conn.JS(), subject.ShardStream(shard), subjects)
	if err != nil {
		return nil, err
	}
	out, _, err := decodeEvents(found)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b *v1.EventView) int { return int(a.GetNumber() - b.GetNumber()) })
	return out, nil
}

// tail returns the newest events of a part of a shard.
func (g *Gateway) tail(ctx context.Context, t tail, limit int) ([]*v1.EventView, error) {
	conn, err := g.model.conn()
	if err != nil {
		return nil, err
	}
	name := subject.ShardStream(t.shard)
	stream, err := conn.JS().Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	state := stream.CachedInfo().State
	from, err := newestFrom(state.FirstSeq, state.LastSeq, limit, func(from uint64) (int, error) {
		return countFrom(ctx, conn, t, from)
	})
	if err != nil || from == 0 {
		return nil, err
	}
	var out []*v1.EventView
	for {
		part, last, err := readFrom(ctx, conn, t, from)
		if err != nil || len(part) == 0 {
			return out, err
		}
		out = append(out, part...)
		out = out[max(0, len(out)-limit):]
		from = last + 1
	}
}

const (
	// firstWindow is how far back from a shard's end the newest events are
	// looked for at first.
	firstWindow = 1024
	// surplus is how many times the wanted number may be read in vain.
	surplus = 4
)

// newestFrom returns a sequence from which on there are at least limit
// messages, and not many more: JetStream reads forward only, but it counts
// from anywhere without reading. It returns 0 when there is none at all.
func newestFrom(first, last uint64, limit int, count func(from uint64) (int, error)) (uint64, error) {
	if last == 0 {
		return 0, nil
	}
	tooFew := last + 1
	for window := uint64(firstWindow); ; window *= 4 {
		from := first
		if last > first+window {
			from = last - window
		}
		n, err := count(from)
		if err != nil {
			return 0, err
		}
		if n >= limit || from == first {
			return narrow(from, tooFew, limit, count)
		}
		tooFew = from
	}
}

// narrow moves from towards tooFew while there are far more than limit.
func narrow(from, tooFew uint64, limit int, count func(uint64) (int, error)) (uint64, error) {
	for tooFew-from > 1 {
		n, err := count(from)
		if err != nil || n <= surplus*limit {
			return from, err
		}
		mid := from + (tooFew-from)/2
		n, err = count(mid)
		if err != nil {
			return 0, err
		}
		if n >= limit {
			from = mid
		} else {
			tooFew = mid
		}
	}
	return from, nil
}

// countFrom counts the messages of a part of a shard from a sequence on.
func countFrom(ctx context.Context, conn *bus.Conn, t tail, from uint64) (int, error) {
	found, err := jetstreamext.GetBatch(ctx, conn.JS(), subject.ShardStream(t.shard), 1,
		jetstreamext.GetBatchSeq(max(1, from)), jetstreamext.GetBatchSubject(t.filter))
	if err != nil {
		return 0, err
	}
	for m, err := range found {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		rest, err := strconv.Atoi(m.Header.Get("Nats-Num-Pending"))
		return rest + 1, err
	}
	return 0, nil
}

// readFrom reads up to maxEvents events and returns the last one's sequence.
func readFrom(ctx context.Context, conn *bus.Conn, t tail, from uint64) ([]*v1.EventView, uint64, error) {
	found, err := jetstreamext.GetBatch(ctx, conn.JS(), subject.ShardStream(t.shard), maxEvents,
		jetstreamext.GetBatchSeq(max(1, from)), jetstreamext.GetBatchSubject(t.filter))
	if err != nil {
		return nil, 0, err
	}
	return decodeEvents(found)
}

// decodeEvents reads what a batch brought.
func decodeEvents(found iter.Seq2[*jetstream.RawStreamMsg, error]) (out []*v1.EventView, last uint64, err error) {
	for m, err := range found {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		e, err := wire.DecodeEvent(m.Header.Get(wire.HeaderType), m.Header.Get(wire.HeaderVersion), m.Data)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", m.Subject, err)
		}
		out, last = append(out, viewEvent(&e.Event)), m.Sequence
	}
	return out, last, nil
}
