package vcenter

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
)

// roomWarn is the share of a datastore below which clones are at risk.
const roomWarn = 0.05

// placing looks for what machines need of a vCenter.
type placing struct {
	*examination
	c     *connection
	names *names
	user  string
	site  *fleet.SiteVSphere
	held  []holding
	// templates are those that were looked for: it takes a look at every VM.
	templates map[templateKey]foundTemplate
}

// templateKey is a template and what it must be good for.
type templateKey struct {
	datacenter, name string
	linked           bool
}

type foundTemplate struct {
	*template
	err error
}

// inventory says what there is to choose from.
func (p *placing) inventory(ctx context.Context) {
	dc, err := p.names.datacenterOf(ctx, wish{})
	if fault.Of(err).Reason == fault.NotFound && p.site.Datacenter == "" {
		// Pools may name theirs.
		p.warn("datacenter", "set spec.vsphere.datacenter of the Site, or vsphere.datacenter of each pool", "%v", err)
		return
	}
	if err != nil {
		p.fail("datacenter", err)
		return
	}
	var found []string
	for _, s := range []struct {
		what string
		search
	}{
		{"clusters", search{in: dc.HostFolder, kind: "ComputeResource"}},
		{"datastores", search{in: dc.DatastoreFolder, kind: "Datastore"}},
		{"networks", search{in: dc.NetworkFolder, kind: "Network"}},
	} {
		all, err := p.names.list(ctx, s.in, s.kind)
		if err != nil {
			p.fail("inventory", err)
			return
		}
		var names []string
		for _, name := range all {
			names = append(names, name)
		}
		found = append(found, s.what+" "+some(names))
	}
	p.ok("inventory", "datacenter %s: %s", dc.Name, strings.Join(found, "; "))
	p.allTemplates(ctx, dc)
}

// allTemplates says which templates a datacenter has.
func (p *placing) allTemplates(ctx context.Context, dc *mo.Datacenter) {
	if p.c.host {
		p.stocked()
		return
	}
	objects, err := below(ctx, p.c.vim, dc.VmFolder, []string{"VirtualMachine"}, "name", "config.template")
	if err != nil {
		p.fail("templates", err)
		return
	}
	var names []string
	for _, o := range objects {
		if value[bool](o, "config.template") {
			names = append(names, value[string](o, "name"))
		}
	}
	switch {
	case len(names) > 0:
		p.ok("templates", "%s", some(names))
	case p.site.Images != nil:
		p.ok("templates", "none; those that fleets name by version are imported")
	default:
		p.warn("templates", "yardctl image import brings one, or set spec.vsphere.images of the Site", "there is none to clone from")
	}
}

// pool looks for all that machines of some pools need, which want the same.
func (p *placing) pool(ctx context.Context, jobs []*plan.Job) {
	job := jobs[0]
	if job.VSphere == nil {
		return
	}
	p.pools = poolNames(jobs)
	defer func() { p.pools = nil }()
	w := wishOf(job)
	dc, err := p.names.datacenterOf(ctx, w)
	if err != nil {
		p.fail("datacenter", err)
		return
	}
	from := p.source(ctx, dc, job)
	hosts := p.compute(ctx, dc, w)
	if job.VSphere.Apart() {
		p.rule(ctx, dc, w)
	}
	p.storage(ctx, dc, w, from, hosts)
	for _, portgroup := range slices.Compact(slices.Sorted(slices.Values(w.portgroups[:]))) {
		if portgroup != "" {
			p.network(ctx, dc, portgroup, hosts)
		}
	}
	if p.c.host { // it has one folder, and no tags
		p.hold(dc.VmFolder, "the host's folder", rightsHost...)
		return
	}
	p.folder(ctx, dc, w.folder, folderRights(job.VSphere))
	if len(job.VSphere.Tags) > 0 {
		p.hold(p.c.vim.ServiceContent.RootFolder, "the vCenter itself", rightsTagging...)
	}
}

// source looks at what machines are made from.
func (p *placing) source(ctx context.Context, dc *mo.Datacenter, job *plan.Job) *template {
	if p.c.host {
		p.kept(job)
		return nil
	}
	return p.template(ctx, dc, job)
}

// template looks at what is cloned, and whether it is good for the pool.
func (p *placing) template(ctx context.Context, dc *mo.Datacenter, job *plan.Job) *template {
	w, what := wishOf(job), "template "+job.VSphere.Source.Template
	t, err := p.templateOf(ctx, dc, w)
	_, importable := plan.Template(job.OSVersion, job.VSphere)
	if fault.Of(err).Reason == fault.TemplateMissing && importable && p.site.Images != nil {
		p.ok(what, "not there yet: the first node that needs it has it imported")
		return nil
	}
	if err != nil {
		p.fail(what, err)
		return nil
	}
	p.hold(t.ref, what, rightsTemplate...)
	_, growing := growDisk(job.VSphere, t.devices)
	_, adding := addDisks(job.VSphere, t.devices, t)
	switch {
	case disk(t.devices) == nil:
		p.wrong(what, "import the image again, or name another template", "it has no disk: its clones boot nothing")
	case growing != nil:
		p.fail(what, growing)
	case adding != nil:
		p.fail(what, adding)
	default:
		p.ok(what, "%s", strings.Join(virtues(t), ", "))
	}
	return t
}

// templateOf finds a template once.
func (p *placing) templateOf(ctx context.Context, dc *mo.Datacenter, w wish) (*template, error) {
	key := templateKey{dc.Name, w.template, w.linked}
	f, ok := p.templates[key]
	if !ok {
		f.template, f.err = p.names.templateOf(ctx, dc, w)
		p.templates[key] = f
	}
	return f.template, f.err
}

// virtues are what a template is good for.
func virtues(t *template) []string {
	d := disk(t.devices)
	out := []string{fmt.Sprintf("disk of %.1f GiB", float64(max(d.CapacityInBytes, d.CapacityInKB*kibi))/gibi)}
	if t.snapshot != nil {
		out = append(out, "a snapshot for linked clones")
	}
	switch {
	case t.hot.CPU && t.hot.Memory:
		out = append(out, "CPUs and memory grow while a clone runs")
	case !t.hot.CPU && !t.hot.Memory:
		out = append(out, "CPUs and memory grow with a restart only")
	case t.hot.CPU:
		out = append(out, "CPUs grow while a clone runs, memory with a restart only")
	default:
		out = append(out, "memory grows while a clone runs, CPUs with a restart only")
	}
	return out
}

// host is where machines may run, with its networks and datastores.
type host struct {
	ref
	reaches []ref
}

// compute looks for where machines run and returns its hosts.
func (p *placing) compute(ctx context.Context, dc *mo.Datacenter, w wish) []host {
	var at place
	what := computeName(w)
	if err := p.names.computeOf(ctx, dc, w, &at); err != nil {
		p.fail(what, err)
		return nil
	}
	p.hold(at.pool, "the resource pool of "+what, rightsPool...)
	refs := []ref{}
	if at.host != nil {
		refs = append(refs, *at.host)
	} else if err := p.hostsOf(ctx, at.pool, &refs); err != nil {
		p.fail(what, err)
		return nil
	}
	if len(refs) == 0 {
		p.wrong(what, "add a host in vCenter, or name another cluster", "it has no host")
		return nil
	}
	return p.usable(ctx, what, refs)
}

// rule looks at who keeps the machines of a pool apart.
func (p *placing) rule(ctx context.Context, dc *mo.Datacenter, w wish) {
	var at place
	if err := p.names.computeOf(ctx, dc, w, &at); err != nil {
		return // said already
	}
	what := "antiAffinity in " + computeName(w)
	n, err := p.c.cluster(ctx, at.compute)
	switch {
	case err != nil:
		p.fail(what, err)
	case n.ruling && at.host == nil:
		p.hold(at.compute, computeName(w), rightsCluster...)
		p.ok(what, "DRS keeps the machines apart by a rule")
	default:
		p.ok(what, "no DRS places machines here: each is made on the host with the fewest of its pool")
	}
}

func computeName(w wish) string {
	switch {
	case w.host != "":
		return "host " + w.host
	case w.cluster == "":
		return "the only cluster"
	case w.resourcePool != "":
		return "cluster " + w.cluster + ", pool " + w.resourcePool
	}
	return "cluster " + w.cluster
}

// hostsOf reads the hosts behind a resource pool.
func (p *placing) hostsOf(ctx context.Context, pool ref, out *[]ref) error {
	owner, err := retrieve(ctx, p.c.vim, []ref{pool}, "owner")
	if err != nil || len(owner) == 0 {
		return err
	}
	compute, err := retrieve(ctx, p.c.vim, []ref{value[ref](owner[0], "owner")}, "host")
	if err == nil && len(compute) > 0 {
		*out = value[types.ArrayOfManagedObjectReference](compute[0], "host").ManagedObjectReference
	}
	return err
}

// usable counts the hosts that take machines.
func (p *placing) usable(ctx context.Context, what string, refs []ref) []host {
	objects, err := retrieve(ctx, p.c.vim, refs, "name", "runtime.connectionState", "runtime.inMaintenanceMode", "network", "datastore")
	if err != nil {
		p.fail(what, err)
		return nil
	}
	var hosts []host
	var away []string
	for _, o := range objects {
		state := value[types.HostSystemConnectionState](o, "runtime.connectionState")
		switch {
		case state != types.HostSystemConnectionStateConnected:
			away = append(away, value[string](o, "name")+" is "+string(state))
		case value[bool](o, "runtime.inMaintenanceMode"):
			away = append(away, value[string](o, "name")+" is in maintenance")
		}
		hosts = append(hosts, host{o.Obj, reachedBy(o)})
	}
	switch left := len(objects) - len(away); {
	case left == 0:
		p.wrong(what, "take a host out of maintenance or connect it again", "none of its %d hosts takes machines: %s", len(objects), some(away))
	case len(away) > 0:
		p.warn(what, "", "%d of %d hosts take machines: %s", left, len(objects), some(away))
	default:
		p.ok(what, "%d of %d hosts take machines", left, len(objects))
	}
	return hosts
}

// network looks for a portgroup, and whether machines can be connected to it
// where they run.
func (p *placing) network(ctx context.Context, dc *mo.Datacenter, name string, hosts []host) {
	what := "network " + name
	if _, err := p.names.networkOf(ctx, dc, name); err != nil {
		p.fail(what, err)
		return
	}
	found, err := p.names.one(ctx, search{dc.NetworkFolder, "Network", name})
	if err != nil {
		p.fail(what, err)
		return
	}
	p.hold(found, what, rightsNetwork...)
	if p.reached(what, found, hosts) {
		p.ok(what, "it is there%s", everywhere(hosts))
	}
}

func everywhere(hosts []host) string {
	if len(hosts) == 0 {
		return ""
	}
	return fmt.Sprintf(", on all %d hosts", len(hosts))
}

// reached notes which of the hosts that machines run on lack a network or
// datastore; true means none.
func (p *placing) reached(what string, thing ref, hosts []host) bool {
	have := 0
	for _, h := range hosts {
		if slices.Contains(h.reaches, thing) {
			have++
		}
	}
	switch {
	case have == len(hosts):
		return true
	case have == 0:
		p.wrong(what, "connect the hosts to it in vCenter, or name another in the pool", "none of the %d hosts that machines would run on has it", len(hosts))
	default:
		p.warn(what, "connect them all, so that vCenter has a choice", "%d of the %d hosts that machines would run on have it", have, len(hosts))
	}
	return false
}

// folder looks for the folder of the machines; one that is missing is made.
func (p *placing) folder(ctx context.Context, dc *mo.Datacenter, path string, rights []string) {
	at, missing := dc.VmFolder, ""
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		next, err := p.names.one(ctx, search{at, "Folder", part})
		if fault.Of(err).Reason == fault.NotFound && err != nil {
			missing = part
			break
		}
		if err != nil {
			p.fail("folder "+path, err)
			return
		}
		at = next
	}
	if missing == "" {
		p.hold(at, "folder "+path, rights...)
		p.ok("folder "+path, "it is there")
		return
	}
	p.hold(at, "the folder that "+path+" is made in", append([]string{rightMakeFolder}, rights...)...)
	p.ok("folder "+path, "not there yet: it is made with the first node")
}

// images looks for the place that templates are imported to.
func (p *placing) images(ctx context.Context) {
	if p.c.host {
		return // they stay with the executor
	}
	p.contentLibrary(ctx)
	p.pools = []string{"imports"}
	defer func() { p.pools = nil }()
	where := p.site.Images.WithDefaults()
	dc, err := p.names.datacenterOf(ctx, wish{})
	if err != nil {
		p.fail("datacenter", err)
		return
	}
	var at place
	if err := p.names.computeOf(ctx, dc, wish{cluster: where.Cluster}, &at); err != nil {
		p.fail(computeName(wish{cluster: where.Cluster}), err)
		return
	}
	p.hold(at.pool, "the resource pool of "+computeName(wish{cluster: where.Cluster}), rightsImportPool...)
	store, err := p.names.one(ctx, search{dc.DatastoreFolder, "Datastore", where.Datastore})
	if err != nil {
		p.fail("datastore "+where.Datastore, err)
		return
	}
	p.store(ctx, store, nil, 0)
	p.hold(store, "the datastore of images", rightsImportDatastore...)
	p.folder(ctx, dc, where.Folder, rightsImportFolder)
	if where.Network != "" {
		p.network(ctx, dc, where.Network, nil)
	}
}
