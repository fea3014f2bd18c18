package vcenter

import (
	"maps"
	"slices"

	"yardmaster.dev/pkg/plan"
)

// stocked says which images the executor keeps for a lone host.
func (p *placing) stocked() {
	names := slices.Collect(maps.Keys(p.c.stock.states()))
	switch {
	case len(names) > 0:
		p.ok("images", "a lone ESXi has no templates; the executor keeps %s", some(names))
	case p.site.Images != nil:
		p.ok("images", "a lone ESXi has no templates; the images that fleets name by version are fetched")
	default:
		p.warn("images", "yardctl image import brings one, or set spec.vsphere.images of the Site", "a lone ESXi has no templates, and the executor keeps no image")
	}
}

// kept looks for the image of a lone host's pools, and for what they ask of it
// that needs a vCenter.
func (p *placing) kept(job *plan.Job) {
	if err := hostCan(job); err != nil {
		p.fail("pool", err)
	}
	name, importable := plan.Template(job.OSVersion, job.VSphere)
	what := "image " + name
	_, ready := p.c.stock.state(name)
	switch {
	case ready:
		p.ok(what, "it is there, and checked")
	case importable && p.site.Images != nil:
		p.ok(what, "not there yet: the first node that needs it has it fetched")
	default:
		p.wrong(what, "yardctl image import brings it", "the executor does not keep it")
	}
}
