package gateway

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// codeNotSent stands in the result of a document that was not sent, because
// one before it was refused or our own trouble came between.
const codeNotSent = "not_sent"

// Validate checks documents by themselves.
func (g *Gateway) Validate(_ context.Context, req *connect.Request[v1.ValidateRequest]) (*connect.Response[v1.ValidateResponse], error) {
	_, problems := readSources(req.Msg.GetSources())
	return connect.NewResponse(&v1.ValidateResponse{Problems: problems}), nil
}

// Apply submits documents, those first that others refer to. It stops at the
// first that is refused: what follows may depend on it.
func (g *Gateway) Apply(ctx context.Context, req *connect.Request[v1.ApplyRequest]) (*connect.Response[v1.ApplyResponse], error) {
	docs, problems := readSources(req.Msg.GetSources(), g.stock.fits)
	if len(problems) > 0 {
		return connect.NewResponse(&v1.ApplyResponse{Problems: problems}), nil
	}
	ids, err := commandIDs(req.Msg.GetCommandId(), len(docs))
	if err != nil {
		return nil, err
	}
	out := &v1.ApplyResponse{}
	stopped := "" // why what follows is not sent
	for i, d := range docs {
		result := notSent(ids[i], stopped)
		if stopped == "" {
			result, err = g.applyDocument(ctx, ids[i], d, req.Msg)
			if err != nil && i == 0 {
				return nil, err // nothing was sent
			}
			if err != nil {
				result = notSent(ids[i], reasonOf(err))
			}
			if !result.GetAccepted() && !result.GetPending() {
				stopped = fmt.Sprintf("%s %s was not accepted", d.DocumentKind(), d.DocumentName())
			}
		}
		result.Kind, result.Name = string(d.DocumentKind()), d.DocumentName()
		out.Results = append(out.Results, result)
	}
	return connect.NewResponse(out), nil
}

// commandIDs returns an id for each document, derived from the client's.
func commandIDs(asked string, documents int) ([]string, error) {
	id, err := newID(asked)
	if err != nil || documents == 1 {
		return []string{id}, err
	}
	if len(id) > maxID-maxSuffix {
		return nil, connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("command_id: at most %d characters when there are several documents", maxID-maxSuffix))
	}
	var out []string
	for i := range documents {
		out = append(out, fmt.Sprintf("%s-%d", id, i+1))
	}
	return out, nil
}

// notSent is the result of a document that was not sent.
func notSent(id, why string) *v1.CommandResponse {
	return &v1.CommandResponse{Code: codeNotSent, Refusal: []string{"not sent: " + why}, CommandId: id}
}

// reasonOf is an error's text without connect's code.
func reasonOf(err error) string {
	if c, ok := errors.AsType[*connect.Error](err); ok {
		return c.Message()
	}
	return err.Error()
}

func (g *Gateway) applyDocument(ctx context.Context, id string, d fleet.Document, req *v1.ApplyRequest) (*v1.CommandResponse, error) {
	c := &plan.Command{ID: id}
	switch d := d.(type) {
	case *fleet.Fleet:
		c.ApplyFleet = &plan.ApplyFleet{
			Document: *d, PlanBasis: req.GetPlanBasis()[d.Metadata.Name], Brakes: brakes(req.MaxDestroyPercent, req.MaxCreate),
			KeepTargets: req.GetKeepTargets(),
		}
		return g.applyFleet(ctx, d.Metadata.Name, c)
	case *fleet.Network:
		c.ApplyNetwork = d
	case *fleet.Site:
		c.ApplySite = d
	}
	return g.send(ctx, order{scope: plan.YardScope, command: c})
}

// applyFleet sends a fleet to its shard; a fleet without one is placed
// first.
func (g *Gateway) applyFleet(ctx context.Context, name string, c *plan.Command) (*v1.CommandResponse, error) {
	if shard, ok := g.model.place(name); ok {
		return g.send(ctx, order{shard: shard, scope: name, command: c})
	}
	placed, err := g.send(ctx, order{scope: plan.YardScope, command: &plan.Command{
		ID: placeID(c.ID, name), Place: &plan.PlaceFleet{Name: name},
	}})
	if err != nil {
		return nil, err
	}
	if shard, ok := g.model.place(name); ok {
		return g.send(ctx, order{shard: shard, scope: name, command: c})
	}
	if g.model.shards() == 1 && placed.GetPending() {
		// There is but one place, and the planner decides in order.
		return g.send(ctx, order{scope: name, command: c})
	}
	if placed.GetPending() {
		return &v1.CommandResponse{
			Code: codeNotSent, CommandId: c.ID,
			Refusal: []string{"no planner has given the fleet a shard yet; apply again, it is harmless"},
		}, nil
	}
	placed.CommandId = c.ID
	return placed, nil
}
