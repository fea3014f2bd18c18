package gateway

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

func TestRoom(t *testing.T) {
	t.Parallel()
	stores := map[string][]wire.Datastore{
		"dc1": {{Name: "ds1", Free: 50, Capacity: 100, Usable: true}, {Name: "ds2", Free: 9, Capacity: 100}},
		"dc2": {{Name: "only", Free: 7, Capacity: 8, Usable: true}},
	}
	need := func(site, store string) plan.Plan {
		return plan.Plan{Disks: []plan.DiskNeed{{Site: site, Datastore: store, Bytes: 10, Unsized: 2}}}
	}
	for name, c := range map[string]struct {
		plan plan.Plan
		want *v1.Room
	}{
		"enough":     {need("dc1", "ds1"), &v1.Room{Of: "datastore ds1 of site dc1", Unit: "bytes", Free: 50, Needs: 10, Unsized: 2}},
		"not enough": {need("dc2", ""), &v1.Room{Of: "the datastore of site dc2", Unit: "bytes", Free: 7, Needs: 10, Unsized: 2, Short: true}},
		"which one":  {need("dc1", ""), &v1.Room{Of: "the datastore of site dc1", Unit: "bytes", Free: 9, Needs: 10, Unsized: 2, Unknown: "site dc1 shows 2 of them"}},
		"out of use": {need("dc1", "ds2"), &v1.Room{Of: "datastore ds2 of site dc1", Unit: "bytes", Free: 9, Needs: 10, Unsized: 2, Unknown: "it is not accessible, or in maintenance"}},
		"not there":  {need("dc1", "ds3"), &v1.Room{Of: "datastore ds3 of site dc1", Unit: "bytes", Needs: 10, Unsized: 2, Unknown: "site dc1 shows no datastore ds3"}},
		"silent":     {need("dc3", "ds1"), &v1.Room{Of: "datastore ds1 of site dc3", Unit: "bytes", Needs: 10, Unsized: 2, Unknown: "no executor of site dc3 has told of its datastores"}},
		"addresses": {
			plan.Plan{Addresses: []plan.AddressNeed{{Network: "dmz", Free: 1, Needs: 2}}},
			&v1.Room{Of: "Network dmz", Unit: "addresses", Free: 1, Needs: 2, Short: true},
		},
	} {
		got := viewRoom(c.plan, stores)
		if diff := cmp.Diff([]*v1.Room{c.want}, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
