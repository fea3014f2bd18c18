package vcenter

import (
	"context"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"

	"yardmaster.dev/pkg/fault"
)

// computeOf resolves where VMs run: a cluster, one of its hosts, one of its
// resource pools.
func (n *names) computeOf(ctx context.Context, dc *mo.Datacenter, w wish, p *place) error {
	in := search{dc.HostFolder, "ComputeResource", w.cluster}
	var compute ref
	var err error
	if w.host == "" {
		compute, err = n.one(ctx, in)
	} else {
		compute, err = n.hostOf(ctx, in, w.host, p)
	}
	if err != nil {
		return err
	}
	p.compute = compute
	if p.pool, err = n.poolOf(ctx, compute); err != nil || w.resourcePool == "" {
		return err
	}
	p.pool, err = n.walk(ctx, search{p.pool, "ResourcePool", w.resourcePool}, nil)
	return err
}

// hostOf resolves the one host that VMs are made on, in its cluster if one is
// named, and returns what it belongs to.
func (n *names) hostOf(ctx context.Context, cluster search, name string, p *place) (ref, error) {
	in := cluster.in
	if cluster.name != "" {
		var err error
		if in, err = n.one(ctx, cluster); err != nil {
			return ref{}, err
		}
	}
	host, err := n.one(ctx, search{in, "HostSystem", name})
	if err != nil {
		return ref{}, err
	}
	var props mo.HostSystem
	if err := object.NewCommon(n.vim, host).Properties(ctx, host, []string{"parent"}, &props); err != nil {
		return ref{}, err
	}
	if props.Parent == nil {
		return ref{}, fault.Newf(fault.Permanent, fault.NotFound, "host %s belongs to no cluster", name)
	}
	p.host = &host
	return *props.Parent, nil
}

// poolOf returns the root resource pool of a cluster (or lone host).
func (n *names) poolOf(ctx context.Context, compute ref) (ref, error) {
	var props mo.ComputeResource
	if err := object.NewCommon(n.vim, compute).Properties(ctx, compute, []string{"name", "resourcePool"}, &props); err != nil {
		return ref{}, err
	}
	if props.ResourcePool == nil {
		return ref{}, fault.Newf(fault.Permanent, fault.NotFound, "cluster %s has no resource pool", props.Name)
	}
	return *props.ResourcePool, nil
}

// storageOf resolves where the disks of VMs lie.
func (n *names) storageOf(ctx context.Context, dc *mo.Datacenter, w wish, p *place) error {
	if w.datastoreCluster != "" {
		pod, err := n.one(ctx, search{dc.DatastoreFolder, "StoragePod", w.datastoreCluster})
		p.pod = &pod
		return err
	}
	if w.datastore == "" {
		return nil
	}
	store, err := n.one(ctx, search{dc.DatastoreFolder, "Datastore", w.datastore})
	if err != nil {
		return err
	}
	p.store = &store
	n.datastores[store] = datastoreName{dc.Name, w.datastore}
	return nil
}
