package discover

import (
	"context"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

type ref = types.ManagedObjectReference

// Inventory is what a vCenter holds, as far as it matters to a yard.
type Inventory struct {
	Product     string
	ESXi        bool
	Datacenters []Datacenter
}

// Datacenter is one of a vCenter's.
type Datacenter struct {
	Name       string
	Clusters   []Cluster
	Datastores []Datastore
	Pods       []string
	Folders    []string
	Networks   []Network
	Templates  []Template
}

// Cluster is where machines run: a cluster, or a host that is in none.
type Cluster struct {
	Name  string
	Hosts int
	Lone  bool
	DRS   bool
	// Pools are the paths of resource pools below its own.
	Pools []string
}

// Datastore is where disks lie.
type Datastore struct {
	Name, Type     string
	Free, Capacity int64
	Usable         bool
}

// Template is what machines may be cloned from.
type Template struct {
	Name string
	// Snapshot means that linked clones can be made.
	Snapshot bool
}

// Look logs in, reads the inventory, and logs out.
func (s *Server) Look(ctx context.Context, user, password string) (*Inventory, error) {
	vim, logout, err := s.login(ctx, user, password)
	if err != nil {
		return nil, err
	}
	defer logout()
	about := vim.ServiceContent.About
	out := &Inventory{Product: fmt.Sprintf("%s, API %s", about.FullName, about.ApiVersion), ESXi: about.ApiType == "HostAgent"}
	r := &reader{ctx: ctx, vim: vim}
	var centers []mo.Datacenter
	r.all(vim.ServiceContent.RootFolder, "Datacenter", []string{"name", "vmFolder", "hostFolder", "datastoreFolder", "networkFolder"}, &centers)
	for i := range centers {
		out.Datacenters = append(out.Datacenters, r.datacenter(&centers[i]))
	}
	slices.SortFunc(out.Datacenters, func(a, b Datacenter) int { return compare(a.Name, b.Name) })
	return out, r.err
}

// reader reads parts of an inventory; after the first error it reads nothing.
type reader struct {
	ctx context.Context //nolint:containedctx // it lives for one look
	vim *vim25.Client
	err error
}

// all reads properties of every object of a kind below a container.
func (r *reader) all(in ref, kind string, properties []string, into any) {
	if r.err != nil {
		return
	}
	v, err := view.NewManager(r.vim).CreateContainerView(r.ctx, in, []string{kind}, true)
	if err == nil {
		err = v.Retrieve(r.ctx, []string{kind}, properties, into)
		_ = v.Destroy(context.WithoutCancel(r.ctx)) // it goes with the session anyway
	}
	if err != nil {
		r.err = fmt.Errorf("read every %s: %w", kind, err)
	}
}

func (r *reader) datacenter(dc *mo.Datacenter) Datacenter {
	out := Datacenter{Name: dc.Name, Clusters: r.clusters(dc.HostFolder)}
	var stores []mo.Datastore
	r.all(dc.DatastoreFolder, "Datastore", []string{"name", "summary"}, &stores)
	for i := range stores {
		s := stores[i].Summary
		upkeep := s.MaintenanceMode
		out.Datastores = append(out.Datastores, Datastore{
			Name: stores[i].Name, Type: s.Type, Free: s.FreeSpace, Capacity: s.Capacity,
			Usable: s.Accessible && (upkeep == "" || upkeep == string(types.DatastoreSummaryMaintenanceModeStateNormal)),
		})
	}
	if r.vim.IsVC() {
		var pods []mo.StoragePod
		r.all(dc.DatastoreFolder, "StoragePod", []string{"name"}, &pods)
		for i := range pods {
			out.Pods = append(out.Pods, pods[i].Name)
		}
	}
	out.Folders = r.folders(dc.VmFolder)
	out.Templates, out.Networks = r.machines(dc)
	slices.SortFunc(out.Datastores, func(a, b Datastore) int { return compare(a.Name, b.Name) })
	slices.Sort(out.Pods)
	return out
}

func (r *reader) clusters(in ref) []Cluster {
	var all []mo.ComputeResource
	r.all(in, "ComputeResource", []string{"name", "host", "resourcePool"}, &all)
	drs := map[ref]bool{}
	if r.vim.IsVC() {
		var clusters []mo.ClusterComputeResource
		r.all(in, "ClusterComputeResource", []string{"configuration.drsConfig.enabled"}, &clusters)
		for i := range clusters {
			on := clusters[i].Configuration.DrsConfig.Enabled
			drs[clusters[i].Self] = on != nil && *on
		}
	}
	var pools []mo.ResourcePool
	r.all(in, "ResourcePool", []string{"name", "parent", "owner"}, &pools)
	tree := tree{}
	for i := range pools {
		tree.add(pools[i].Self, pools[i].Name, pools[i].Parent)
	}
	out := make([]Cluster, 0, len(all))
	for i := range all {
		c := Cluster{Name: all[i].Name, Hosts: len(all[i].Host), Lone: all[i].Self.Type == "ComputeResource", DRS: drs[all[i].Self]}
		if root := all[i].ResourcePool; root != nil {
			c.Pools = tree.below(*root)
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Cluster) int { return compare(a.Name, b.Name) })
	return out
}

func (r *reader) folders(in ref) []string {
	var all []mo.Folder
	r.all(in, "Folder", []string{"name", "parent"}, &all)
	tree := tree{}
	for i := range all {
		tree.add(all[i].Self, all[i].Name, all[i].Parent)
	}
	return tree.below(in)
}

// machines reads the templates, and the networks with what the guests in them
// say of their addresses.
func (r *reader) machines(dc *mo.Datacenter) ([]Template, []Network) {
	var vms []mo.VirtualMachine
	r.all(dc.VmFolder, "VirtualMachine", []string{"name", "config.template", "snapshot", "guest.net", "guest.ipStack"}, &vms)
	var templates []Template
	seen := sightings{}
	for i := range vms {
		if c := vms[i].Config; c != nil && c.Template {
			templates = append(templates, Template{vms[i].Name, vms[i].Snapshot != nil && vms[i].Snapshot.CurrentSnapshot != nil})
			continue
		}
		if g := vms[i].Guest; g != nil {
			seen.note(g)
		}
	}
	slices.SortFunc(templates, func(a, b Template) int { return compare(a.Name, b.Name) })
	return templates, r.networks(dc.NetworkFolder, seen)
}

// tree makes paths of names.
type tree map[ref]branch

type branch struct {
	name   string
	parent ref
}

func (t tree) add(self ref, name string, parent *ref) {
	if parent != nil {
		t[self] = branch{name, *parent}
	}
}

// below are the paths of all that is below an object, sorted.
func (t tree) below(root ref) []string {
	var out []string
	for self := range t {
		path, ok := t.path(self, root)
		if ok {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out
}

func (t tree) path(self, root ref) (string, bool) {
	path := ""
	for range len(t) + 1 { // a ring ends too
		if self == root {
			return path, path != ""
		}
		b, ok := t[self]
		if !ok {
			return "", false
		}
		if path != "" {
			path = "/" + path
		}
		path, self = b.name+path, b.parent
	}
	return "", false
}
