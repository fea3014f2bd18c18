package simulator

import (
	"context"
	"fmt"
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
	"golang.org/x/sync/errgroup"
)

// TestViewsBesideClones is govc find while an executor works.
func TestViewsBesideClones(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	c := &crowd{running: r, folder: r.folder(t), gateway: newGateway(t).URL, each: 60}
	c.templates = []*object.VirtualMachine{r.template(t, "flatcar-4593.2.5")}
	stop, done := context.WithCancel(t.Context())
	var group errgroup.Group
	listed := 0
	group.Go(func() error {
		for stop.Err() == nil {
			if err := r.listAll(t.Context()); err != nil {
				return fmt.Errorf("list %d: %w", listed, err)
			}
			listed++
		}
		return nil
	})
	if err := c.make(t.Context(), 8); err != nil {
		t.Error(err)
	}
	done()
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d lists", listed)
}

func (r *running) listAll(ctx context.Context) error {
	v, err := view.NewManager(r.client.Client).CreateContainerView(ctx, r.client.ServiceContent.RootFolder, []string{"VirtualMachine"}, true)
	if err != nil {
		return err
	}
	var vms []mo.VirtualMachine
	if err := v.Retrieve(ctx, []string{"VirtualMachine"}, []string{"name", "runtime.powerState", "config.instanceUuid"}, &vms); err != nil {
		return err
	}
	return v.Destroy(ctx)
}
