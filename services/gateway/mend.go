package gateway

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// keysOf returns the keys of nodes that are all of one fleet.
func keysOf(fleet string, names []string) ([]string, error) {
	var keys []string
	for _, name := range names {
		key, ok := keyOf(fleet, name)
		if !ok {
			return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("node %q is not of fleet %q", name, fleet))
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// Mend skips, replaces or preserves nodes, or calls back what is under way
// for them.
func (g *Gateway) Mend(ctx context.Context, req *connect.Request[v1.MendRequest]) (*connect.Response[v1.CommandResponse], error) {
	m := req.Msg
	keys, err := keysOf(m.GetFleet(), m.GetNodes())
	if err != nil {
		return nil, err
	}
	if m.GetMend() == string(plan.MendCancel) && len(keys) == 0 {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("cancel: name the nodes; Pause with call_back is for whole fleets"))
	}
	return g.change(ctx, m.GetFleet(), m.GetCommandId(), plan.Command{Mend: &plan.MendNodes{
		Mend: plan.Mend(m.GetMend()), Nodes: keys, Reason: fault.Reason(m.GetReason()),
		MaxDestroyPercent: brakes(m.MaxDestroyPercent, nil).MaxDestroyPercent,
	}})
}

// Pause holds a fleet or the whole yard, or lets it go on.
func (g *Gateway) Pause(ctx context.Context, req *connect.Request[v1.PauseRequest]) (*connect.Response[v1.CommandResponse], error) {
	m := req.Msg
	pause := &plan.Pause{Paused: m.GetPaused(), CallBack: m.GetCallBack()}
	if m.GetFleet() != "" {
		return g.change(ctx, m.GetFleet(), m.GetCommandId(), plan.Command{Pause: pause})
	}
	if pause.CallBack {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("call_back: name a fleet; the jobs of all fleets are not called back at once"))
	}
	id, err := newID(m.GetCommandId())
	if err != nil {
		return nil, err
	}
	out, err := g.send(ctx, order{scope: plan.YardScope, command: &plan.Command{ID: id, Pause: pause}})
	if err != nil {
		return nil, err
	}
	out.Kind = "Yard" // there is one, without a name
	return connect.NewResponse(out), nil
}

// viewPaused says that a fleet is held and by whom, nil if it is not.
func viewPaused(w *plan.World, fleet string) *v1.PausedView {
	r := w.Paused(fleet)
	if r == nil {
		return nil
	}
	return &v1.PausedView{By: r.PausedBy, Since: stamp(r.PausedAt), Yard: r.Name == plan.YardScope}
}
