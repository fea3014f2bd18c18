package vcenter

import (
	"context"
	"errors"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
)

// Offer implements executor.Backend.
func (b *Backend) Offer(ctx context.Context, t *executor.Task) error {
	if t.Config == nil {
		return fault.New(fault.Permanent, fault.SpecUnsupported, errors.New("the job lacks its config"))
	}
	return b.with(ctx, func(c *connection) error { return c.offer(ctx, t) })
}

// offer writes the config into the guestinfo of a VM that runs. vCenter forgets
// that when the VM is switched off, but a guest that reboots still finds it;
// and one that is to run it looks first whether it is there.
func (c *connection) offer(ctx context.Context, t *executor.Task) error {
	m, err := c.search(ctx, t)
	if err != nil {
		return err
	}
	if m == nil {
		return fault.Newf(fault.Permanent, fault.MachineLost, "VM %s does not exist any more", name(t))
	}
	if err := c.own(ctx, t, m); err != nil {
		return err
	}
	spec := types.VirtualMachineConfigSpec{ExtraConfig: extraConfig(t)}
	_, err = c.do(ctx, t, "reconfigure", func(ctx context.Context) (*object.Task, error) {
		return object.NewVirtualMachine(c.vim, m.ref).Reconfigure(ctx, spec)
	})
	return err
}
