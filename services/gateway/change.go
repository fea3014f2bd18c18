package gateway

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// Scale sets a pool's live target.
func (g *Gateway) Scale(ctx context.Context, req *connect.Request[v1.ScaleRequest]) (*connect.Response[v1.CommandResponse], error) {
	m := req.Msg
	if m.GetTarget() < 0 {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("target %d: write 0 or more", m.GetTarget()))
	}
	scale := &plan.Scale{Pool: m.GetPool(), Target: int(m.GetTarget()), Brakes: brakes(m.MaxDestroyPercent, m.MaxCreate)}
	if m.Basis != nil {
		scale.Basis = new(int(m.GetBasis()))
	}
	return g.change(ctx, m.GetFleet(), m.GetCommandId(), plan.Command{Scale: scale})
}

// Retry takes failed nodes out of the dead-letter list.
func (g *Gateway) Retry(ctx context.Context, req *connect.Request[v1.RetryRequest]) (*connect.Response[v1.CommandResponse], error) {
	m := req.Msg
	keys, err := keysOf(m.GetFleet(), m.GetNodes())
	if err != nil {
		return nil, err
	}
	return g.change(ctx, m.GetFleet(), m.GetCommandId(), plan.Command{Retry: &plan.RetryNodes{
		Nodes: keys, Reason: fault.Reason(m.GetReason()), Altogether: int(m.GetAltogether()),
		MaxDestroyPercent: brakes(m.MaxDestroyPercent, nil).MaxDestroyPercent,
	}})
}

// Delete removes a fleet, a Network or a Site.
func (g *Gateway) Delete(ctx context.Context, req *connect.Request[v1.DeleteRequest]) (*connect.Response[v1.CommandResponse], error) {
	kind, err := documentKind(req.Msg.GetKind())
	if err != nil {
		return nil, err
	}
	name := req.Msg.GetName()
	if kind == fleet.KindFleet {
		return g.change(ctx, name, req.Msg.GetCommandId(), plan.Command{DeleteFleet: &plan.DeleteFleet{Name: name}})
	}
	id, err := newID(req.Msg.GetCommandId())
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, connect.NewError(connect.CodeInvalidArgument, errNoName)
	}
	out, err := g.send(ctx, order{scope: plan.YardScope, command: &plan.Command{
		ID: id, Delete: &plan.DeleteDocument{Kind: kind, Name: name},
	}})
	if err != nil {
		return nil, err
	}
	out.Kind, out.Name = string(kind), name
	return connect.NewResponse(out), nil
}

var errNoName = errors.New("name is missing")

// change sends a command about an existing fleet to its shard.
func (g *Gateway) change(ctx context.Context, fleetName, asked string, c plan.Command) (*connect.Response[v1.CommandResponse], error) {
	id, err := newID(asked)
	if err != nil {
		return nil, err
	}
	if fleetName == "" {
		return nil, connect.NewError(connect.CodeInvalidArgument, errNoName)
	}
	shard, ok := g.model.place(fleetName)
	if !ok {
		if !g.model.current() {
			return nil, unavailable(errBusAway) // it may exist all the same
		}
		return nil, notFound("fleet", fleetName, "fleets")
	}
	c.ID = id
	out, err := g.send(ctx, order{shard: shard, scope: fleetName, command: &c})
	if err != nil {
		return nil, err
	}
	out.Kind, out.Name = string(fleet.KindFleet), fleetName
	return connect.NewResponse(out), nil
}
