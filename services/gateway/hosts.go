package gateway

import (
	"fmt"
	"slices"
	"time"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// view shows a node with what is known of it beside its record.
func (g *Gateway) view(n nodeSpec, now time.Time) *v1.NodeView {
	return g.guests.mark(g.stock.mark(n.view(), n), n.Node, now)
}

// isHost reports whether a site's executor said that it is a lone host.
func (s *stock) isHost(site string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sites[site].host
}

// lacks says that a site has not got what a pool's machines are made from.
func (s *stock) lacks(site, name string) string {
	if s.isHost(site) {
		return "Site " + site + " is a lone ESXi host, whose executor has no image " + name
	}
	return "Site " + site + " has no template " + name
}

// mark says how far a machine's disk is on its way to a lone host.
func (s *stock) mark(view *v1.NodeView, n nodeSpec) *v1.NodeView {
	j := n.Job
	if j == nil || j.Action != plan.ActionCreate || j.Withdrawn {
		return view
	}
	s.mu.Lock()
	last := s.sites[n.Site] // never changed, only replaced
	s.mu.Unlock()
	up, ok := last.uploads[view.GetName()]
	switch {
	case ok:
		view.WaitingFor = uploadWords(up)
	case last.host:
		view.WaitingFor = "making its machine on the host"
	}
	return view
}

func uploadWords(u wire.Upload) string {
	const mebi = 1 << 20
	words := "uploading " + u.Image + " to the host"
	if u.Total > 0 {
		words += fmt.Sprintf(", %d of %d MiB", u.Done/mebi, (u.Total+mebi-1)/mebi)
	}
	return words
}

// fits finds what the pools of a fleet ask of lone hosts that needs a vCenter,
// as far as the sites' executors have said what they are.
func (s *stock) fits(d fleet.Document) (problems []fleet.Problem) {
	f, ok := d.(*fleet.Fleet)
	if !ok {
		return nil
	}
	for i := range f.Spec.Pools {
		pool := &f.Spec.Pools[i]
		if pool.VSphere == nil {
			continue
		}
		own := pool.VSphere.NeedsVCenter(f.Metadata.Name)
		for j, place := range pool.Places() {
			if !s.isHost(place.VSphere.Site) {
				continue
			}
			for _, field := range place.VSphere.NeedsVCenter(f.Metadata.Name) {
				path := fmt.Sprintf("spec.pools[%d].vsphere.%s", i, field)
				if !slices.Contains(own, field) {
					path = fmt.Sprintf("spec.pools[%d].vsphere.failureDomains[%d].%s", i, j, field)
				}
				if slices.ContainsFunc(problems, func(p fleet.Problem) bool { return p.Path == path }) {
					continue
				}
				problems = append(problems, fleet.Problem{
					Path: path, Message: fmt.Sprintf("needs a vCenter, and Site %s is a lone ESXi host", place.VSphere.Site),
					Hint: "remove it, or name a site that has a vCenter",
				})
			}
		}
	}
	return problems
}
