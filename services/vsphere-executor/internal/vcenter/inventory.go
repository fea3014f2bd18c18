package vcenter

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
)

type ref = types.ManagedObjectReference

// pageSize bounds one answer about many objects.
const pageSize = 500

// retrieve reads properties of several objects in one call. Objects that do
// not exist are left out of the answer instead of failing it.
func retrieve(ctx context.Context, vim *vim25.Client, refs []ref, paths ...string) ([]types.ObjectContent, error) {
	kinds := map[string]bool{}
	spec := types.PropertyFilterSpec{ReportMissingObjectsInResults: new(true)}
	for _, r := range refs {
		spec.ObjectSet = append(spec.ObjectSet, types.ObjectSpec{Obj: r})
		if !kinds[r.Type] {
			kinds[r.Type] = true
			spec.PropSet = append(spec.PropSet, types.PropertySpec{Type: r.Type, PathSet: paths})
		}
	}
	answer, err := property.DefaultCollector(vim).RetrieveProperties(ctx, types.RetrieveProperties{SpecSet: []types.PropertyFilterSpec{spec}})
	if err != nil {
		return nil, err
	}
	return answer.Returnval, nil
}

// below reads properties of all objects of some kinds in a container, page by
// page: folders and resource pools right below it, all else at any depth.
func below(ctx context.Context, vim *vim25.Client, in ref, kinds []string, paths ...string) ([]types.ObjectContent, error) {
	v, err := view.NewManager(vim).CreateContainerView(ctx, in, kinds, kinds[0] != "Folder" && kinds[0] != "ResourcePool")
	if err != nil {
		return nil, fmt.Errorf("view the inventory: %w", err)
	}
	defer func() { _ = v.Destroy(context.WithoutCancel(ctx)) }() // it goes with the session anyway
	spec := types.PropertyFilterSpec{
		ReportMissingObjectsInResults: new(true),
		ObjectSet: []types.ObjectSpec{{
			Obj: v.Reference(), Skip: new(true), SelectSet: []types.BaseSelectionSpec{v.TraversalSpec()},
		}},
	}
	for _, kind := range kinds {
		spec.PropSet = append(spec.PropSet, types.PropertySpec{Type: kind, PathSet: paths})
	}
	answer, err := property.DefaultCollector(vim).RetrieveProperties(ctx, types.RetrieveProperties{SpecSet: []types.PropertyFilterSpec{spec}}, pageSize)
	if err != nil {
		return nil, fmt.Errorf("read the inventory: %w", err)
	}
	return answer.Returnval, nil
}

// value returns the property of that path, the zero value if it is missing.
func value[T any](o types.ObjectContent, path string) T {
	for _, p := range o.PropSet {
		if p.Name == path {
			v, _ := p.Val.(T)
			return v
		}
	}
	var none T
	return none
}
