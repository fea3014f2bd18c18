package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// What a plan does to a document that is no fleet.
const (
	actionCreate = "create"
	actionChange = "change"
	actionKeep   = "keep"
)

// Plan says what Apply would do, by the planner's own function.
func (g *Gateway) Plan(_ context.Context, req *connect.Request[v1.PlanRequest]) (*connect.Response[v1.PlanResponse], error) {
	docs, problems := readSources(req.Msg.GetSources(), g.stock.fits)
	if len(problems) > 0 {
		return connect.NewResponse(&v1.PlanResponse{Problems: problems}), nil
	}
	out := &v1.PlanResponse{}
	now := time.Now()
	stores := g.presence.datastores(now)
	look := g.model.read
	if len(docs.fleets()) < len(docs) {
		look = g.model.alone
	}
	read, err := look(func(w *plan.World) error {
		for _, d := range docs {
			if _, ok := d.(*fleet.Fleet); !ok {
				out.Documents = append(out.Documents, planDocument(w, d))
			}
		}
		defer suppose(w, docs, now)()
		for _, f := range docs.fleets() {
			p := preview(w, f, req.Msg, now)
			view := viewPlan(p)
			steps, notes := g.imageSteps(w, f, &p)
			view.Images, view.Notes = steps, append(view.Notes, notes...)
			view.Notes = append(view.Notes, g.deaf(w, &p, now)...)
			view.Room = viewRoom(p, stores)
			out.Fleets = append(out.Fleets, view)
		}
		return nil
	})
	out.Read = read
	return answer(out, err)
}

// deaf says of guests that are to run their next config by order that they
// have not been heard lately: who asks for nothing gets no order.
func (g *Gateway) deaf(w *plan.World, p *plan.Plan, now time.Time) []string {
	var names []string
	for i := range p.Changes {
		c := &p.Changes[i]
		if c.Action != plan.ChangeRerun {
			continue
		}
		n := w.Node(p.Fleet, c.Key)
		if s, heard := g.guests.of(n); !heard || g.guests.silent(n, s, now) {
			names = append(names, n.Name())
		}
	}
	if len(names) == 0 {
		return nil
	}
	const most = 5
	words := strings.Join(names[:min(most, len(names))], ", ")
	if len(names) > most {
		words += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return []string{fmt.Sprintf("not heard lately: %s; a guest that does not ask gets no order, and fails", words)}
}

func preview(w *plan.World, f *fleet.Fleet, req *v1.PlanRequest, now time.Time) plan.Plan {
	return plan.PreviewWith(w, f, plan.Terms{
		Brakes: brakes(req.MaxDestroyPercent, req.MaxCreate), KeepTargets: req.GetKeepTargets(),
	}, now)
}

// brakes are those that a request overrides.
func brakes(destroyPercent, create *int32) plan.Brakes {
	var b plan.Brakes
	if destroyPercent != nil {
		b.MaxDestroyPercent = new(int(*destroyPercent))
	}
	if create != nil {
		b.MaxCreate = new(int(*create))
	}
	return b
}

// planDocument says what happens to a Site or Network.
func planDocument(w *plan.World, d fleet.Document) *v1.DocumentPlan {
	out := &v1.DocumentPlan{Kind: string(d.DocumentKind()), Name: d.DocumentName(), Action: actionChange}
	var p plan.DocumentPlan
	switch d := d.(type) {
	case *fleet.Site:
		p = plan.PreviewSite(w, d)
	case *fleet.Network:
		p = plan.PreviewNetwork(w, d)
	}
	switch {
	case p.New:
		out.Action = actionCreate
	case len(p.Causes) == 0:
		out.Action = actionKeep
	}
	for _, c := range p.Causes {
		out.Causes = append(out.Causes, c.String())
	}
	out.Effects, out.Code, out.Refusals = p.Effects, p.Code, p.Refusals
	return out
}

// viewPlan shows what would become of a fleet.
func viewPlan(p plan.Plan) *v1.FleetPlan {
	out := &v1.FleetPlan{
		Fleet: p.Fleet, RevisionFrom: int32(p.From), RevisionTo: int32(p.To), Id: p.ID, Basis: p.Basis,
		MaxUnavailable: int32(p.MaxUnavailable), MaxSurge: int32(p.MaxSurge),
		Destroys: int32(p.Destroys), DestroyPercent: p.DestroyPercent(), DestroyLimitPercent: int32(p.DestroyLimit),
		Code: p.Code, Refusals: p.Refusals, Notes: p.Notes,
		Keep: int32(p.Keep), Present: int32(p.Present), Summary: p.Summary(),
		Resizes: int32(p.Resizes), Restarts: int32(p.Restarts),
		Creates: int32(p.Creates), CreateLimit: int32(p.CreateLimit),
	}
	if p.Forecast.Samples > 0 {
		out.Takes, out.Median = durationpb.New(p.Forecast.Total), durationpb.New(p.Forecast.Median)
		out.Samples = int32(p.Forecast.Samples)
	}
	for i := range p.Changes {
		c := &p.Changes[i]
		n := &v1.NodePlan{Node: p.Fleet + "-" + c.Key, Action: string(c.Action), Causes: c.Causes, Hot: c.Hot, Site: c.Site, FailureDomain: c.Domain}
		for _, a := range c.Addresses {
			n.Addresses = append(n.Addresses, a.Addr)
		}
		out.Nodes = append(out.Nodes, n)
	}
	return out
}

// suppose puts the Sites and Networks of a request into the World, as if
// they had been applied already, and returns what takes them out.
func suppose(w *plan.World, docs documents, now time.Time) (undo func()) {
	var undos []func()
	for _, d := range docs {
		switch d := d.(type) {
		case *fleet.Site:
			undos = append(undos, w.Put(&plan.Site{Document: *d, At: now}))
		case *fleet.Network:
			undos = append(undos, w.Put(&plan.Network{Document: *d, At: now}))
		}
	}
	return func() {
		for _, f := range slices.Backward(undos) {
			f()
		}
	}
}
