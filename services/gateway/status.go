package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// Status says how the yard itself is. What the bus does not tell in time
// stays empty: a status must come when things are bad.
func (g *Gateway) Status(ctx context.Context, _ *connect.Request[v1.StatusRequest]) (*connect.Response[v1.StatusResponse], error) {
	out := &v1.StatusResponse{}
	shards := 0
	read, err := g.model.read(func(w *plan.World) error {
		shards = shardCount(w)
		out.Sites = viewSites(w)
		out.Paused = viewPaused(w, plan.YardScope)
		for _, f := range w.Fleets() {
			countNodes(w, f.Name, out)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out.Read = read
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	live := g.presence.services(time.Now())
	for k := range shards {
		out.Shards = append(out.Shards, g.shard(ctx, k, live))
	}
	g.seats(ctx, out.GetSites())
	for _, s := range live {
		out.Services = append(out.Services, viewServices(s)...)
	}
	if conn, err := g.model.conn(); err == nil {
		out.NatsServer = conn.NATS().ConnectedServerVersion()
	}
	return connect.NewResponse(out), nil
}

func countNodes(w *plan.World, fleet string, out *v1.StatusResponse) {
	for n := range w.Nodes(fleet) {
		if n.State == plan.Deleted {
			continue
		}
		out.Nodes++
		switch n.State { //nolint:exhaustive // the others are only counted as nodes
		case plan.Ready:
			out.Ready++
		case plan.Failed:
			if !n.Skipped {
				out.Failed++
			}
		}
		if n.Job != nil {
			out.OpenJobs++
		}
	}
}

// shard says how full a shard is, what waits in it and who plans it.
func (g *Gateway) shard(ctx context.Context, k int, live []seen) *v1.ShardStatus {
	out := &v1.ShardStatus{Shard: uint32(k), Stream: subject.ShardStream(k)}
	scope := fmt.Sprintf("shard-%d", k)
	for _, s := range live {
		if s.Service != servicePlanner || time.Since(s.stored) > silence {
			continue
		}
		for _, part := range s.Scopes {
			if part.Name != scope {
				continue
			}
			out.Planners++
			if part.Active {
				out.ActivePlanner = s.Instance
			}
		}
	}
	conn, err := g.model.conn()
	if err != nil {
		return out
	}
	stream, err := conn.JS().Stream(ctx, out.GetStream())
	if err != nil {
		return out
	}
	info := stream.CachedInfo()
	out.Bytes, out.LimitBytes, out.Messages = info.State.Bytes, uint64(max(0, info.Config.MaxBytes)), info.State.Msgs
	out.MirrorLag = g.model.lag(k, info.State.LastSeq)
	if c, err := stream.Consumer(ctx, subject.ConsumerPlanner); err == nil {
		out.PendingInputs = c.CachedInfo().NumPending + uint64(max(0, c.CachedInfo().NumAckPending))
	}
	return out
}

// viewServices shows a service, a row for each shard or site that it serves.
func viewServices(s seen) []*v1.ServiceStatus {
	row := func(scope wire.ServiceScope) *v1.ServiceStatus {
		return &v1.ServiceStatus{
			Service: s.Service, Instance: s.Instance, Version: s.Version, Seen: stamp(s.stored),
			ClockOffset: durationpb.New(s.offset()), Scope: scope.Name, Active: scope.Active,
			Trouble: trouble(s.Trouble, scope),
		}
	}
	if len(s.Scopes) == 0 {
		return []*v1.ServiceStatus{row(wire.ServiceScope{})}
	}
	var out []*v1.ServiceStatus
	for _, scope := range s.Scopes {
		out = append(out, row(scope))
	}
	return out
}

// offset is the service's clock less the server's: its own word or, if it
// gave none, what the heartbeat's way through the bus shows.
func (s seen) offset() time.Duration {
	if s.ClockOffset != 0 {
		return s.ClockOffset
	}
	return s.At.Sub(s.stored).Round(time.Millisecond)
}

// breakerClosed is how a breaker stands when all is well.
const breakerClosed = "closed"

func trouble(own string, scope wire.ServiceScope) string {
	if own != "" || scope.Breaker == "" || scope.Breaker == breakerClosed {
		return own
	}
	return strings.TrimSuffix("breaker "+scope.Breaker+": "+scope.BreakerMessage, ": ")
}

// seats adds to Sites who holds their seats and how the holders' breakers
// stand.
func (g *Gateway) seats(ctx context.Context, sites []*v1.SiteView) {
	live := g.presence.services(time.Now())
	for _, site := range sites {
		for _, s := range live {
			i := slices.IndexFunc(s.Scopes, func(p wire.ServiceScope) bool { return p.Name == site.GetName() && p.Active })
			if s.Service == serviceExecutor && i >= 0 && time.Since(s.stored) < silence {
				site.Breaker, site.BreakerMessage = s.Scopes[i].Breaker, s.Scopes[i].BreakerMessage
			}
		}
		if seat, err := g.seat(ctx, site.GetName()); err == nil {
			site.SeatHolder, site.SeatEpoch, site.SeatUntil = seat.Holder, seat.Epoch, stamp(seat.Until)
		}
	}
}

func (g *Gateway) seat(ctx context.Context, site string) (wire.Seat, error) {
	conn, err := g.model.conn()
	if err != nil {
		return wire.Seat{}, err
	}
	m, err := conn.Last(ctx, subject.ShardStream(0), subject.Seat(site))
	if errors.Is(err, bus.ErrNotFound) {
		return wire.Seat{}, nil
	}
	if err != nil {
		return wire.Seat{}, err
	}
	return wire.DecodeSeat(m.Type(), m.Version(), m.Data)
}

// Version says what this gateway was built from.
func (g *Gateway) Version(_ context.Context, _ *connect.Request[v1.VersionRequest]) (*connect.Response[v1.VersionResponse], error) {
	b := service.Build()
	return connect.NewResponse(&v1.VersionResponse{Version: b.Version, Commit: b.Commit, GoVersion: b.Go, Format: wire.Format}), nil
}
