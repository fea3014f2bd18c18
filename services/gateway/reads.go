package gateway

import (
	"context"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/specfile"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// ListFleets returns the fleets that exist.
func (g *Gateway) ListFleets(_ context.Context, _ *connect.Request[v1.ListFleetsRequest]) (*connect.Response[v1.ListFleetsResponse], error) {
	out := &v1.ListFleetsResponse{}
	read, err := g.model.read(func(w *plan.World) error {
		for _, f := range fleetsOf(w, "") {
			out.Fleets = append(out.Fleets, viewFleet(w, f))
		}
		return nil
	})
	out.Read = read
	return answer(out, err)
}

// answer is a response or an error.
func answer[T any](out *T, err error) (*connect.Response[T], error) {
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(out), nil
}

// eachFleet calls see for the fleet of that name, which must exist, or for
// every one.
func eachFleet(w *plan.World, name string, see func(*plan.Fleet)) error {
	fleets := fleetsOf(w, name)
	if name != "" && len(fleets) == 0 {
		return notFound("fleet", name, "fleets")
	}
	for _, f := range fleets {
		see(f)
	}
	return nil
}

// ListPools returns the pools of a fleet, or of all.
func (g *Gateway) ListPools(_ context.Context, req *connect.Request[v1.ListPoolsRequest]) (*connect.Response[v1.ListPoolsResponse], error) {
	out := &v1.ListPoolsResponse{}
	read, err := g.model.read(func(w *plan.World) error {
		return eachFleet(w, req.Msg.GetFleet(), func(f *plan.Fleet) {
			out.Pools = append(out.Pools, viewPools(w, f)...)
		})
	})
	out.Read = read
	return answer(out, err)
}

// ListNodes returns the nodes that the request's filters let through.
func (g *Gateway) ListNodes(_ context.Context, req *connect.Request[v1.ListNodesRequest]) (*connect.Response[v1.ListNodesResponse], error) {
	var found []nodeSpec
	read, err := g.model.read(func(w *plan.World) error {
		look := newSpecs(w)
		return eachFleet(w, req.Msg.GetFleet(), func(f *plan.Fleet) {
			for n := range w.Nodes(f.Name) {
				if wanted(req.Msg, n) {
					found = append(found, look.node(n))
				}
			}
		})
	})
	// Records never change, so that the views can be made without holding
	// up the mirror.
	out := &v1.ListNodesResponse{Read: read, Nodes: make([]*v1.NodeView, 0, len(found))}
	now := time.Now()
	for _, n := range found {
		out.Nodes = append(out.Nodes, g.view(n, now))
	}
	return answer(out, err)
}

// wanted is the filter of ListNodes.
func wanted(req *v1.ListNodesRequest, n *plan.Node) bool {
	deleted := n.State == plan.Deleted
	return (req.GetPool() == "" || req.GetPool() == n.Pool) &&
		(req.GetState() == "" || req.GetState() == string(n.State)) &&
		(!deleted || req.GetDeleted() || req.GetState() == string(plan.Deleted))
}

// ListJobs returns the open jobs.
func (g *Gateway) ListJobs(_ context.Context, req *connect.Request[v1.ListJobsRequest]) (*connect.Response[v1.ListJobsResponse], error) {
	out := &v1.ListJobsResponse{}
	read, err := g.model.read(func(w *plan.World) error {
		return eachFleet(w, req.Msg.GetFleet(), func(f *plan.Fleet) {
			for n := range w.Nodes(f.Name) {
				if n.Job != nil {
					out.Jobs = append(out.Jobs, viewJob(n))
				}
			}
		})
	})
	out.Read = read
	return answer(out, err)
}

// ListNetworks returns the Networks and how full they are.
func (g *Gateway) ListNetworks(_ context.Context, _ *connect.Request[v1.ListNetworksRequest]) (*connect.Response[v1.ListNetworksResponse], error) {
	out := &v1.ListNetworksResponse{}
	read, err := g.model.read(func(w *plan.World) error {
		for _, n := range w.Networks() {
			if !n.Deleted {
				out.Networks = append(out.Networks, viewNetwork(w, n))
			}
		}
		return nil
	})
	out.Read = read
	return answer(out, err)
}

// ListSites returns the Sites, who holds their seats and how their breakers
// stand.
func (g *Gateway) ListSites(ctx context.Context, _ *connect.Request[v1.ListSitesRequest]) (*connect.Response[v1.ListSitesResponse], error) {
	out := &v1.ListSitesResponse{}
	read, err := g.model.read(func(w *plan.World) error {
		out.Sites = viewSites(w)
		return nil
	})
	out.Read = read
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, storeWait)
		defer cancel()
		g.seats(ctx, out.GetSites())
	}
	return answer(out, err)
}

// ListFailed returns the dead-letter list.
func (g *Gateway) ListFailed(_ context.Context, req *connect.Request[v1.ListFailedRequest]) (*connect.Response[v1.ListFailedResponse], error) {
	out := &v1.ListFailedResponse{}
	read, err := g.model.read(func(w *plan.World) error {
		for _, d := range w.DeadLetters() {
			if req.Msg.GetFleet() == "" || req.Msg.GetFleet() == d.Fleet {
				view := viewFailed(w, d)
				if n := w.Node(d.Fleet, d.Node); n != nil && len(d.Log) == 0 {
					view.Log = g.guests.lastWords(n)
				}
				out.Failed = append(out.Failed, view)
			}
		}
		return nil
	})
	out.Read = read
	return answer(out, err)
}

// GetDocument returns a document as YAML that applies. Live targets stay
// out of it: the document is what its author wants, not how things stand.
func (g *Gateway) GetDocument(_ context.Context, req *connect.Request[v1.GetDocumentRequest]) (*connect.Response[v1.GetDocumentResponse], error) {
	var doc fleet.Document
	read, err := g.model.read(func(w *plan.World) (err error) {
		if number := int(req.Msg.GetRevision()); number > 0 {
			rev, err := findRevision(w, req.Msg.GetName(), number)
			if err == nil {
				doc = &rev.Document
			}
			return err
		}
		doc, err = findDocument(w, req.Msg.GetKind(), req.Msg.GetName())
		return err
	})
	if err != nil {
		return nil, err
	}
	text, err := specfile.Marshal(doc)
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, fmt.Errorf("write %s %s as YAML: %w", doc.DocumentKind(), doc.DocumentName(), err))
	}
	return connect.NewResponse(&v1.GetDocumentResponse{Yaml: string(text), Read: read}), nil
}

// documentKind reads a kind as people write it: Fleet, fleet or fleets.
func documentKind(text string) (fleet.Kind, error) {
	word := strings.TrimSuffix(strings.ToLower(text), "s")
	for _, kind := range []fleet.Kind{fleet.KindFleet, fleet.KindNetwork, fleet.KindSite} {
		if word == strings.ToLower(string(kind)) {
			return kind, nil
		}
	}
	return "", connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("kind %q: write Fleet, Network or Site", text))
}

func findDocument(w *plan.World, kindText, name string) (fleet.Document, error) {
	kind, err := documentKind(kindText)
	if err != nil {
		return nil, err
	}
	switch kind {
	case fleet.KindFleet:
		if f := w.Fleet(name); f != nil && !f.Deleted {
			if rev := w.Revision(name, f.Revision); rev != nil {
				return &rev.Document, nil
			}
		}
	case fleet.KindNetwork:
		if n := w.Network(name); n != nil {
			return &n.Document, nil
		}
	case fleet.KindSite:
		if s := w.Site(name); s != nil {
			return &s.Document, nil
		}
	}
	return nil, notFound(string(kind), name, strings.ToLower(string(kind))+"s")
}
