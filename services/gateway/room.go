package gateway

import (
	"fmt"
	"time"

	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// The units of room.
const (
	unitAddresses = "addresses"
	unitBytes     = "bytes"
)

// datastores are what the active executors said last of their sites'.
func (p *presence) datastores(now time.Time) map[string][]wire.Datastore {
	out := map[string][]wire.Datastore{}
	for _, s := range p.services(now) {
		if s.Service != serviceExecutor || now.Sub(s.stored) > silence {
			continue
		}
		for _, scope := range s.Scopes {
			if scope.Active && len(scope.Datastores) > 0 {
				out[scope.Name] = scope.Datastores
			}
		}
	}
	return out
}

// viewRoom says what a plan needs and how much of it there is.
func viewRoom(p plan.Plan, stores map[string][]wire.Datastore) []*v1.Room {
	var out []*v1.Room
	for _, d := range p.Disks {
		r := &v1.Room{
			Of: "datastore " + d.Datastore + " of site " + d.Site, Unit: unitBytes, Needs: d.Bytes, Unsized: int32(d.Unsized),
		}
		if d.Datastore == "" {
			r.Of = "the datastore of site " + d.Site
		}
		store, why := findStore(stores[d.Site], d)
		r.Free, r.Unknown = store.Free, why
		r.Short = why == "" && store.Free < d.Bytes
		out = append(out, r)
	}
	for _, a := range p.Addresses {
		out = append(out, &v1.Room{
			Of: "Network " + a.Network, Unit: unitAddresses, Free: int64(a.Free), Needs: int64(a.Needs), Short: a.Free < a.Needs,
		})
	}
	return out
}

// findStore finds a datastore among those that an executor told of, or says
// why there is none.
func findStore(stores []wire.Datastore, d plan.DiskNeed) (found wire.Datastore, why string) {
	if len(stores) == 0 {
		return found, "no executor of site " + d.Site + " has told of its datastores"
	}
	count := 0
	for _, s := range stores {
		if d.Datastore == "" || s.Name == d.Datastore {
			found, count = s, count+1
		}
	}
	switch {
	case count == 0:
		return found, "site " + d.Site + " shows no datastore " + d.Datastore
	case count > 1:
		return found, fmt.Sprintf("site %s shows %d of them", d.Site, count)
	case !found.Usable:
		return found, "it is not accessible, or in maintenance"
	}
	return found, ""
}
