package vcenter

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"yardmaster.dev/pkg/wire"
)

// datastoresTold is how many datastores are told of at most.
const datastoresTold = 64

const (
	pathFree       = "summary.freeSpace"
	pathCapacity   = "summary.capacity"
	pathAccessible = "summary.accessible"
	pathUpkeep     = "summary.maintenanceMode"
	// noUpkeep is what vCenter says of a datastore that is in service; the
	// simulator says nothing.
	noUpkeep = "normal"
)

// Datastores says how full the site's datastores were at the last look, those
// that machines are made on first.
func (b *Backend) Datastores() []wire.Datastore {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stores
}

// measure looks at the datastores and sets the metrics of those in use.
func (c *connection) measure(ctx context.Context, m *Metrics) ([]wire.Datastore, error) {
	objects, err := below(ctx, c.vim, c.vim.ServiceContent.RootFolder, []string{"Datastore"},
		"name", pathFree, pathCapacity, pathAccessible, pathUpkeep)
	if err != nil {
		return nil, fmt.Errorf("read the datastores: %w", err)
	}
	used := c.names.stores()
	out := make([]wire.Datastore, 0, len(objects))
	first := map[string]bool{}
	for _, o := range objects {
		upkeep := value[string](o, pathUpkeep)
		d := wire.Datastore{
			Name: value[string](o, "name"), Free: value[int64](o, pathFree), Capacity: value[int64](o, pathCapacity),
			Usable: value[bool](o, pathAccessible) && (upkeep == "" || upkeep == noUpkeep),
		}
		out = append(out, d)
		if in, ok := used[o.Obj]; ok {
			first[d.Name] = true
			m.free.WithLabelValues(in.datacenter, in.datastore).Set(float64(d.Free))
			m.capacity.WithLabelValues(in.datacenter, in.datastore).Set(float64(d.Capacity))
		}
	}
	slices.SortFunc(out, func(a, b wire.Datastore) int {
		if first[a.Name] != first[b.Name] {
			return map[bool]int{true: -1, false: 1}[first[a.Name]]
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return out[:min(len(out), datastoresTold)], nil
}
