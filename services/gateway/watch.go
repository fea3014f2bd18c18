package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// writeWait bounds one write to a watcher: who stopped reading without
// hanging up is cut.
const writeWait = 15 * time.Second

var (
	errSlow     = errors.New("this watch was cut: its reader is too far behind; watch again to get the present state")
	errStopping = errors.New("this gateway stops; watch again")
)

// Watch sends the present fleets and nodes, then a marker, then every change
// and event. After the gateway had to read the ledger anew, the present
// state and the marker come again.
func (g *Gateway) Watch(ctx context.Context, req *connect.Request[v1.WatchRequest], stream *connect.ServerStream[v1.WatchResponse]) error {
	if !g.model.loaded() {
		return unavailable(errLoading)
	}
	w := g.hub.join(req.Msg.GetFleet())
	if w == nil {
		return unavailable(errStopping)
	}
	defer g.hub.leave(w)
	send := func(m *v1.WatchResponse) error {
		if control, ok := ctx.Value(deadlinesKey{}).(*http.ResponseController); ok {
			_ = control.SetWriteDeadline(time.Now().Add(writeWait))
		}
		return stream.Send(m)
	}
	// The watcher joined first: a change that came in between is sent twice
	// rather than never.
	if err := g.sendPresent(w.fleet, send); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.resync:
			if err := g.sendPresent(w.fleet, send); err != nil {
				return err
			}
		case m, ok := <-w.changes:
			if !ok {
				return g.ended(w)
			}
			if err := send(m); err != nil {
				return err
			}
		}
	}
}

func (g *Gateway) ended(w *watcher) error {
	if g.hub.wasSlow(w) {
		return connect.NewError(connect.CodeResourceExhausted, errSlow)
	}
	return unavailable(errStopping)
}

// sendPresent sends how things stand.
func (g *Gateway) sendPresent(fleet string, send func(*v1.WatchResponse) error) error {
	var fleets []*v1.FleetView
	var nodes []nodeSpec
	if _, err := g.model.read(func(w *plan.World) error {
		fleets, nodes = presentOf(w, fleet)
		return nil
	}); err != nil {
		return err
	}
	for _, f := range fleets {
		if err := send(changedFleet(f)); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		if err := send(changedNode(n)); err != nil {
			return err
		}
	}
	return send(&v1.WatchResponse{Change: &v1.WatchResponse_Synced{Synced: true}})
}

func presentOf(w *plan.World, fleet string) (fleets []*v1.FleetView, nodes []nodeSpec) {
	look := newSpecs(w)
	for _, f := range fleetsOf(w, fleet) {
		fleets = append(fleets, viewFleet(w, f))
		for n := range w.Nodes(f.Name) {
			if n.State != plan.Deleted {
				nodes = append(nodes, look.node(n))
			}
		}
	}
	return fleets, nodes
}

func changedFleet(f *v1.FleetView) *v1.WatchResponse {
	return &v1.WatchResponse{Change: &v1.WatchResponse_Fleet{Fleet: f}}
}

func changedNode(n nodeSpec) *v1.WatchResponse {
	return &v1.WatchResponse{Change: &v1.WatchResponse_Node{Node: n.view()}}
}

// changedRecord tells the watchers of a record.
func (g *Gateway) changedRecord(w *plan.World, r plan.Record) {
	switch r := r.(type) {
	case *plan.Node:
		g.hub.tell(r.Fleet, func() *v1.WatchResponse { return changedNode(newSpecs(w).node(r)) })
	case *plan.Fleet:
		g.hub.tell(r.Name, func() *v1.WatchResponse { return changedFleet(viewFleet(w, r)) })
	}
}
