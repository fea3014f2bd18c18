package vcenter

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	vfault "github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
)

// names turns the names of a pool's spec into vCenter's references, once:
// resolving lists whole inventories (up to seconds among thousands of VMs),
// using a reference costs nothing. What was not found is not remembered, so
// that a template made later heals by a retry.
type names struct {
	vim        *vim25.Client
	datacenter string // the Site's default
	host       bool   // it is a lone host

	mu     sync.Mutex // held while resolving
	places map[wish]*place
	found  map[search]ref
	// attributes are the keys of vCenter's custom attributes, tagIDs those of
	// its tags.
	attributes map[string]int32
	tagIDs     map[string]string
	// ruled are the names of the clusters' rules of ours.
	ruled map[ref][]string
	// datastores are those in use, for the metrics.
	datastores map[ref]datastoreName
	// since is when this memory began.
	since time.Time
}

// rememberFor bounds how long a name keeps its meaning: a new template may
// take the name of one that still exists.
const rememberFor = 5 * time.Minute

// wish is what a pool says about the place of its VMs.
type wish struct {
	datacenter, cluster, host, resourcePool, datastore, datastoreCluster, folder, template string
	// portgroups of the network cards; empty leaves the template's.
	portgroups [fleet.MaxCards]string
	linked     bool
}

// search is one look-up by name.
type search struct {
	in   ref
	kind string
	name string
}

type datastoreName struct{ datacenter, datastore string }

// place is where and from what a VM is cloned.
type place struct {
	folder ref
	pool   ref
	host   *ref // nil: vCenter's choice
	// compute is the cluster or lone host.
	compute ref
	// reaches is what a host must see to run the VM, as far as the pool names
	// it.
	reaches []ref
	store   *ref // nil: the template's
	// pod is a datastore cluster, of which vCenter chooses a store for each VM.
	pod      *ref
	networks [fleet.MaxCards]types.BaseVirtualDeviceBackingInfo // by card; nil: the template's
	template *template
	// network is what a lone host maps the networks of an image to.
	network *ref
}

func newNames(vim *vim25.Client, datacenter string) *names {
	n := &names{vim: vim, datacenter: datacenter, host: isHost(vim)}
	n.forget()
	return n
}

// forget drops everything that was resolved: references change when objects
// are registered anew.
func (n *names) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.begin()
}

// begin starts with an empty memory; the caller holds the lock.
func (n *names) begin() {
	n.places = map[wish]*place{}
	n.found = map[search]ref{}
	n.datastores = map[ref]datastoreName{}
	n.attributes, n.tagIDs = nil, map[string]string{}
	n.ruled = map[ref][]string{}
	n.since = time.Now()
}

func wishOf(j *plan.Job) wish {
	v := j.VSphere
	if v == nil {
		v = &fleet.VSphere{} // a deletion whose pool is no longer known
	}
	w := wish{
		datacenter: v.Datacenter, cluster: v.Cluster, host: v.Host, resourcePool: v.ResourcePool,
		datastore: v.Datastore, datastoreCluster: v.DatastoreCluster,
		folder: v.Folder, template: v.Source.Template, linked: linked(v),
	}
	if w.folder == "" {
		w.folder = j.Fleet
	}
	w.portgroups[0] = v.Network
	for _, n := range j.Networks {
		if n.Card < len(w.portgroups) && w.portgroups[n.Card] == "" {
			w.portgroups[n.Card] = n.Portgroup
		}
	}
	return w
}

// place resolves all that a clone needs, and makes the folder if it is
// missing.
func (n *names) place(ctx context.Context, j *plan.Job) (*place, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Since(n.since) > rememberFor {
		n.begin()
	}
	w := wishOf(j)
	if n.host {
		w.template = "" // it has none
	}
	if p := n.places[w]; p != nil {
		return p, nil
	}
	p, err := n.resolve(ctx, w)
	if err != nil {
		return nil, err
	}
	n.places[w] = p
	return p, nil
}

func (n *names) resolve(ctx context.Context, w wish) (*place, error) {
	dc, err := n.datacenterOf(ctx, w)
	if err != nil {
		return nil, err
	}
	if n.host {
		return n.placeOnHost(ctx, dc, w)
	}
	p := &place{}
	if p.template, err = n.templateOf(ctx, dc, w); err != nil {
		return nil, err
	}
	if err := n.computeOf(ctx, dc, w, p); err != nil {
		return nil, err
	}
	if err := n.storageOf(ctx, dc, w, p); err != nil {
		return nil, err
	}
	if store := cmp.Or(p.store, p.template.store); store != nil && p.pod == nil {
		p.reaches = append(p.reaches, *store)
	}
	if err := n.portgroups(ctx, dc, w, p); err != nil {
		return nil, err
	}
	p.folder, err = n.walk(ctx, search{dc.VmFolder, "Folder", w.folder}, (*names).makeFolder)
	return p, err
}

// portgroups resolves what the network cards are connected to.
func (n *names) portgroups(ctx context.Context, dc *mo.Datacenter, w wish, p *place) (err error) {
	for i, portgroup := range w.portgroups {
		if portgroup == "" {
			continue
		}
		if p.networks[i], err = n.networkOf(ctx, dc, portgroup); err != nil {
			return err
		}
		p.reaches = append(p.reaches, n.found[search{dc.NetworkFolder, "Network", portgroup}])
	}
	return nil
}

// folder finds the folder of a job's VMs without making it; false means that
// it does not exist.
func (n *names) folder(ctx context.Context, j *plan.Job) (ref, bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := wishOf(j)
	if p := n.places[w]; p != nil {
		return p.folder, true, nil
	}
	dc, err := n.datacenterOf(ctx, w)
	if err == nil && n.host {
		return dc.VmFolder, true, nil
	}
	if err == nil {
		var folder ref
		folder, err = n.walk(ctx, search{dc.VmFolder, "Folder", w.folder}, nil)
		if err == nil {
			return folder, true, nil
		}
	}
	if fault.Of(err).Reason == fault.NotFound {
		return ref{}, false, nil
	}
	return ref{}, false, err
}

// compute finds the cluster or lone host of a job's VM.
func (n *names) compute(ctx context.Context, j *plan.Job) (ref, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := wishOf(j)
	if p := n.places[w]; p != nil {
		return p.compute, nil
	}
	dc, err := n.datacenterOf(ctx, w)
	if err != nil {
		return ref{}, err
	}
	var p place
	err = n.computeOf(ctx, dc, w, &p)
	return p.compute, err
}

func (n *names) datacenterOf(ctx context.Context, w wish) (*mo.Datacenter, error) {
	name := w.datacenter
	if name == "" {
		name = n.datacenter
	}
	dc, err := n.one(ctx, search{n.vim.ServiceContent.RootFolder, "Datacenter", name})
	if err != nil {
		return nil, err
	}
	var props mo.Datacenter
	err = object.NewCommon(n.vim, dc).Properties(ctx, dc, []string{"name", "vmFolder", "hostFolder", "datastoreFolder", "networkFolder"}, &props)
	return &props, err
}

func (n *names) networkOf(ctx context.Context, dc *mo.Datacenter, name string) (types.BaseVirtualDeviceBackingInfo, error) {
	found, err := n.one(ctx, search{dc.NetworkFolder, "Network", name})
	if err != nil {
		return nil, err
	}
	network, ok := object.NewReference(n.vim, found).(object.NetworkReference)
	if !ok {
		return nil, fault.Newf(fault.Permanent, fault.SpecUnsupported, "network %s is a %s, which a VM cannot be connected to", name, found.Type)
	}
	return network.EthernetCardBackingInfo(ctx)
}

// walk follows a path of objects of one kind; missing says what to do about
// one that is not there, if anything.
func (n *names) walk(ctx context.Context, path search, missing func(*names, context.Context, search) (ref, error)) (ref, error) {
	at := path.in
	for part := range strings.SplitSeq(strings.Trim(path.name, "/"), "/") {
		s := search{at, path.kind, part}
		next, err := n.one(ctx, s)
		if err != nil && missing != nil && fault.Of(err).Reason == fault.NotFound {
			next, err = missing(n, ctx, s)
		}
		if err != nil {
			return ref{}, err
		}
		at = next
	}
	return at, nil
}

func (n *names) makeFolder(ctx context.Context, s search) (ref, error) {
	f, err := object.NewFolder(n.vim, s.in).CreateFolder(ctx, s.name)
	if err == nil {
		n.found[s] = f.Reference()
		return f.Reference(), nil
	}
	var taken *types.DuplicateName
	if _, ok := vfault.As(err, &taken); ok && taken.Object.Type == "Folder" {
		return taken.Object, nil // somebody was faster
	}
	return ref{}, fmt.Errorf("make folder %s: %w", s.name, err)
}

// one finds the object of a name, or the only one if no name is given.
func (n *names) one(ctx context.Context, s search) (ref, error) {
	if r, ok := n.found[s]; ok {
		return r, nil
	}
	all, err := n.list(ctx, s.in, s.kind)
	if err != nil {
		return ref{}, fmt.Errorf("look for %s %s: %w", s.kind, s.name, err)
	}
	var hits []ref
	var others []string
	for r, name := range all {
		if s.name == "" || name == s.name {
			hits = append(hits, r)
		}
		others = append(others, name)
	}
	if len(hits) != 1 {
		return ref{}, notOne(s, len(hits), others)
	}
	n.found[s] = hits[0]
	return hits[0], nil
}

// fields says where a pool names an object of each kind.
var fields = map[string]struct{ what, field string }{
	"Datacenter":      {"datacenter", "datacenter"},
	"ComputeResource": {"cluster", "cluster"},
	"Datastore":       {"datastore", "datastore"},
	"Network":         {"network", "network"},
	"Folder":          {"folder", "folder"},
	"HostSystem":      {"host", "host"},
	"ResourcePool":    {"resource pool", "resourcePool"},
	"StoragePod":      {"datastore cluster", "datastoreCluster"},
}

// fieldOf is the field that names an object of that kind; false if no field of
// a pool does.
func fieldOf(kind string) (f struct{ what, field string }, ok bool) {
	if kind == "VirtualMachine" {
		f.what, f.field = "template", "source.template"
		return f, true
	}
	for asked, may := range kindsOf {
		if slices.Contains(may, kind) {
			kind = asked
		}
	}
	f, ok = fields[kind]
	return f, ok
}

func notOne(s search, hits int, others []string) error {
	f := fields[s.kind]
	slices.Sort(others)
	exist := "there is none"
	if len(others) > 0 {
		exist = "there are " + strings.Join(others[:min(len(others), 10)], ", ")
	}
	var err error
	switch {
	case hits == 0:
		err = fmt.Errorf("%s %q does not exist in vCenter; %s", f.what, s.name, exist)
	case s.name == "":
		err = fmt.Errorf("vCenter has %d %ss and the pool names none; %s", hits, f.what, exist)
	default:
		err = fmt.Errorf("vCenter has %d %ss of the name %q", hits, f.what, s.name)
	}
	return fault.WithHint(fault.New(fault.Permanent, fault.NotFound, err),
		fmt.Sprintf("correct vsphere.%s of the pool, then yardctl retry", f.field))
}

// list returns the names of all objects of a kind.
func (n *names) list(ctx context.Context, in ref, kind string) (map[ref]string, error) {
	objects, err := below(ctx, n.vim, in, append([]string{kind}, kindsOf[kind]...), "name")
	all := make(map[ref]string, len(objects))
	for _, o := range objects {
		all[o.Obj] = value[string](o, "name")
	}
	return all, err
}

// kindsOf are the kinds that may stand where another is asked for.
var kindsOf = map[string][]string{
	"ComputeResource": {"ClusterComputeResource"},
	"Network":         {"DistributedVirtualPortgroup", "OpaqueNetwork"},
	"ResourcePool":    {"VirtualApp"},
}

// isTemplate reports whether r is a template that clones are made from.
func (n *names) isTemplate(r ref) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.places {
		if p.template != nil && p.template.ref == r {
			return true
		}
	}
	return false
}

// stores returns the datastores in use.
func (n *names) stores() map[ref]datastoreName {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.datastores)
}
