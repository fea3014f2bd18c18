package vcenter

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

const gibi = 1 << 30

// storage looks for where disks lie, whether there is room, and whether the
// hosts reach it.
func (p *placing) storage(ctx context.Context, dc *mo.Datacenter, w wish, from *template, hosts []host) {
	var at place
	if err := p.names.storageOf(ctx, dc, w, &at); err != nil {
		what := "datastore " + w.datastore
		if w.datastoreCluster != "" {
			what = "datastore cluster " + w.datastoreCluster
		}
		p.fail(what, err)
		return
	}
	var need int64
	if from != nil {
		if d := disk(from.devices); d != nil {
			need = max(d.CapacityInBytes, d.CapacityInKB*kibi)
		}
	}
	switch {
	case at.pod != nil:
		p.pod(ctx, w.datastoreCluster, *at.pod, hosts)
	case at.store != nil:
		p.store(ctx, *at.store, hosts, need)
	case from != nil:
		p.storeOf(ctx, from, hosts, need)
	}
}

// storeOf is store for a pool that names none: the template's is used.
func (p *placing) storeOf(ctx context.Context, from *template, hosts []host, need int64) {
	objects, err := retrieve(ctx, p.c.vim, []ref{from.ref}, "datastore")
	if err != nil {
		p.fail("datastore of template "+from.name, err)
		return
	}
	for _, o := range objects {
		for _, store := range value[types.ArrayOfManagedObjectReference](o, "datastore").ManagedObjectReference {
			p.store(ctx, store, hosts, need)
		}
	}
}

// store looks at one datastore; need is what one clone may take at least.
func (p *placing) store(ctx context.Context, store ref, hosts []host, need int64) {
	objects, err := retrieve(ctx, p.c.vim, []ref{store}, "name", pathFree, pathCapacity, pathAccessible, pathUpkeep)
	if err != nil || len(objects) == 0 {
		p.fail("datastore "+store.Value, fmt.Errorf("read it: %w", err))
		return
	}
	o := objects[0]
	what := "datastore " + value[string](o, "name")
	p.hold(store, what, rightsDatastore...)
	p.like(store, what, rightsConsole...)
	free, capacity, upkeep := value[int64](o, pathFree), value[int64](o, pathCapacity), value[string](o, pathUpkeep)
	room := fmt.Sprintf("%.1f GiB of %.1f GiB are free", float64(free)/gibi, float64(capacity)/gibi)
	if !p.reached(what, store, hosts) {
		return
	}
	switch {
	case !value[bool](o, pathAccessible):
		p.wrong(what, "look at its hosts and its storage in vCenter", "it is not accessible")
	case upkeep != "" && upkeep != noUpkeep:
		p.wrong(what, "end its maintenance in vCenter, or name another in the pool", "it is in maintenance (%s)", upkeep)
	case need > 0 && free < need:
		p.wrong(what, "make room, or name another in the pool", "%s: not enough for one more machine of %.1f GiB", room, float64(need)/gibi)
	case capacity > 0 && float64(free) < roomWarn*float64(capacity):
		p.warn(what, "make room, or name another in the pool", "%s", room)
	default:
		p.ok(what, "%s%s", room, everywhere(hosts))
	}
}

// pod looks at a datastore cluster.
func (p *placing) pod(ctx context.Context, name string, pod ref, hosts []host) {
	what := "datastore cluster " + name
	objects, err := retrieve(ctx, p.c.vim, []ref{pod}, "childEntity")
	if err != nil {
		p.fail(what, err)
		return
	}
	var members []ref
	for _, o := range objects {
		members = append(members, value[types.ArrayOfManagedObjectReference](o, "childEntity").ManagedObjectReference...)
	}
	if len(members) == 0 {
		p.wrong(what, "add datastores in vCenter, or name another in the pool", "it has no datastore")
		return
	}
	p.ok(what, "%d datastores; vCenter chooses one for each machine", len(members))
	for _, m := range members {
		p.store(ctx, m, hosts, 0)
	}
}
