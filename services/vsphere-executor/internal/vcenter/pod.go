package vcenter

import (
	"context"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
)

// podTries is how many datastores of a cluster are tried for one VM.
const podTries = 3

// recommend asks vCenter for datastores of a cluster, the best first. The
// answer is not applied but put into the clone: applying it would make a task
// of its own.
func (c *connection) recommend(ctx context.Context, t *executor.Task, p *place, spec types.VirtualMachineCloneSpec) ([]*ref, error) {
	answer, err := object.NewStorageResourceManager(c.vim).RecommendDatastores(ctx, types.StoragePlacementSpec{
		Type: string(types.StoragePlacementSpecPlacementTypeClone),
		Vm:   &p.template.ref, CloneName: name(t), CloneSpec: &spec, Folder: &p.folder, ResourcePool: &p.pool, Host: spec.Location.Host,
		PodSelectionSpec: types.StorageDrsPodSelectionSpec{
			StoragePod: p.pod, InitialVmConfig: []types.VmPodConfigForPlacement{{StoragePod: *p.pod}},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("ask for a datastore of cluster %s: %w", t.Job.VSphere.DatastoreCluster, err)
	}
	var stores []*ref
	for _, r := range answer.Recommendations {
		for _, a := range r.Action {
			placed, ok := a.(*types.StoragePlacementAction)
			if ok && len(stores) < podTries && !slices.ContainsFunc(stores, func(s *ref) bool { return *s == placed.Destination }) {
				stores = append(stores, &placed.Destination)
			}
		}
	}
	if len(stores) > 0 {
		return stores, nil
	}
	return nil, fault.WithHint(fault.Newf(fault.Transient, fault.NoSpace, "vCenter recommends no datastore of cluster %s", t.Job.VSphere.DatastoreCluster),
		"free some of its datastores, or name another in the pool")
}
