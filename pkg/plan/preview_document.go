package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"yardmaster.dev/pkg/fleet"
)

// DocumentPlan is what applying a Site or Network would do.
type DocumentPlan struct {
	// New means that there is none of the name yet.
	New    bool
	Causes []FieldChange
	// Effects say in words what it means for the nodes that exist.
	Effects []string
	// Code and Refusals say why it would be refused; empty if it would not.
	Code     string
	Refusals []string
}

// PreviewSite says what applying a Site would do now. It reads the World only.
func PreviewSite(w *World, doc *fleet.Site) DocumentPlan {
	old := w.Site(doc.Metadata.Name)
	if old == nil {
		return DocumentPlan{New: true}
	}
	p := DocumentPlan{Causes: Differences(&old.Document, doc)}
	count, fleets := w.inhabitants(doc.Metadata.Name)
	if len(p.Causes) == 0 || count == 0 {
		return p
	}
	p.Effects = []string{fmt.Sprintf("%s of fleet %s live here; no machine changes", nodes(count), strings.Join(fleets, ", "))}
	if p.touches("spec.vsphere.url", "spec.vsphere.datacenter") {
		p.Effects = append(p.Effects, "if this is another vCenter: nodes whose VM is not there count as lost and are made anew there")
	}
	if p.touches("spec.phoneHome") {
		p.Effects = append(p.Effects, "only nodes whose config is rendered from here on report to the other address")
	}
	return p
}

// inhabitants counts the nodes of a site and names their fleets.
func (w *World) inhabitants(site string) (count int, fleets []string) {
	for _, name := range slices.Sorted(maps.Keys(w.fleets)) {
		before := count
		for n := range w.Nodes(name) {
			if n.Site == site && n.State != Deleted {
				count++
			}
		}
		if count > before {
			fleets = append(fleets, name)
		}
	}
	return count, fleets
}

// PreviewNetwork says what applying a Network would do now. It reads the
// World only.
func PreviewNetwork(w *World, doc *fleet.Network) DocumentPlan {
	old := w.Network(doc.Metadata.Name)
	if old == nil {
		return DocumentPlan{New: true}
	}
	p := DocumentPlan{Causes: Differences(&old.Document, doc)}
	if len(p.Causes) == 0 {
		return p
	}
	if refusal := w.outOfSubnet(doc); refusal != nil {
		p.Code, p.Refusals = refusal.Code, refusal.Refusal
	}
	n := w.networks[doc.Metadata.Name]
	if p.touches("spec.range", "spec.exclude", "spec.gateway") {
		p.Effects = n.resized(doc)
	}
	if n.inUse() > 0 && p.touches("spec.subnet", "spec.gateway", "spec.dns", "spec.portgroup") {
		p.Effects = append(p.Effects, fmt.Sprintf(
			"%s that hold an address keep what they were given; those made or replaced from here on get the new values", nodes(n.inUse())))
	}
	return p
}

// resized says what another range does to the addresses.
func (n *network) resized(doc *fleet.Network) []string {
	next := &network{name: n.name, held: n.held}
	next.setRecord(&Network{Document: *doc})
	out := []string{fmt.Sprintf("addresses free: %d -> %d", n.free.count, next.free.count)}
	outside := 0
	for a, c := range n.held.all {
		if c.Fleet == Aside {
			continue
		}
		if a < next.base || a-next.base >= uint32(next.size) || next.never(a) { //nolint:gosec // the size of a range
			outside++
		}
	}
	if outside > 0 {
		out = append(out, fmt.Sprintf("held by nodes and no longer to be given out: %d; the nodes keep them until they go", outside))
	}
	return out
}

// touches reports whether a field, or one below it, changes.
func (p *DocumentPlan) touches(paths ...string) bool {
	return slices.ContainsFunc(p.Causes, func(c FieldChange) bool {
		return slices.ContainsFunc(paths, func(path string) bool { return strings.HasPrefix(c.Path, path) })
	})
}
