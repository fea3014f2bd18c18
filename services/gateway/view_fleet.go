package gateway

import (
	"strings"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// viewFleet shows a fleet and counts its nodes.
func viewFleet(w *plan.World, f *plan.Fleet) *v1.FleetView {
	view := &v1.FleetView{
		Name: f.Name, Uid: f.UID, Revision: int32(f.Revision), Settled: int32(f.Settled),
		Deleting: f.Deleting, Created: stamp(f.Created), Paused: viewPaused(w, f.Name),
	}
	if shard, ok := shardOf(w, f.Name); ok {
		view.Shard = uint32(shard)
	}
	if rev := w.Revision(f.Name, f.Revision); rev != nil {
		view.Labels = rev.Document.Metadata.Labels
	}
	for _, p := range w.Pools(f.Name) {
		view.Desired += int32(p.Target)
		view.Ready += int32(p.Ready)
		view.Failed += int32(p.Failed)
		view.Skipped += int32(p.Skipped)
		view.Preserved += int32(p.Preserved)
		view.Nodes += int32(p.Present + p.Leaving + p.Preserved)
	}
	return view
}

// viewPools shows a fleet's pools, those that are on their way out too.
func viewPools(w *plan.World, f *plan.Fleet) []*v1.PoolView {
	spec := w.Spec(f.Name)
	states := map[string]map[string]int32{}
	for n := range w.Nodes(f.Name) {
		if n.State == plan.Deleted {
			continue
		}
		if states[n.Pool] == nil {
			states[n.Pool] = map[string]int32{}
		}
		states[n.Pool][string(n.State)]++
	}
	var out []*v1.PoolView
	for _, p := range w.Pools(f.Name) {
		view := &v1.PoolView{
			Fleet: f.Name, Name: p.Pool, Desired: int32(p.Target), Outdated: int32(p.Outdated),
			States: states[p.Pool], Disrupted: int32(f.Disrupted[p.Pool]), Surged: int32(f.Surged[p.Pool]),
		}
		if spec != nil {
			describePool(view, spec)
		}
		out = append(out, view)
	}
	return out
}

// describePool adds what the spec says; nothing for a pool that left it.
func describePool(view *v1.PoolView, spec *fleet.Fleet) {
	p, ok := spec.Pool(view.GetName())
	if !ok {
		return
	}
	view.SpecReplicas = int32(p.Replicas)
	if p.VSphere != nil {
		view.Backend, view.Site = string(fleet.BackendVSphere), strings.Join(p.Sites(), ",")
	}
}

// viewNetwork shows a Network and how full it is.
func viewNetwork(w *plan.World, n *plan.Network) *v1.NetworkView {
	spec := n.Document.Spec
	total := spec.Size()
	return &v1.NetworkView{
		Name: n.Document.Metadata.Name, Subnet: spec.Subnet, Range: spec.Range, Gateway: spec.Gateway,
		Dns: spec.DNS, Portgroup: spec.Portgroup,
		Total: int32(total), Used: int32(max(0, total-w.FreeAddresses(n.Document.Metadata.Name))),
	}
}

// viewSites shows the Sites and how many nodes live at each.
func viewSites(w *plan.World) []*v1.SiteView {
	nodes := map[string]int32{}
	for _, f := range w.Fleets() {
		for n := range w.Nodes(f.Name) {
			if n.State != plan.Deleted {
				nodes[n.Site]++
			}
		}
	}
	var out []*v1.SiteView
	for _, s := range w.Sites() {
		if s.Deleted {
			continue
		}
		view := &v1.SiteView{Name: s.Document.Metadata.Name, Nodes: nodes[s.Document.Metadata.Name]}
		if v := s.Document.Spec.VSphere; v != nil {
			view.Url = v.URL
		}
		out = append(out, view)
	}
	return out
}
