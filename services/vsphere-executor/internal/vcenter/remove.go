package vcenter

import (
	"context"
	"fmt"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
)

// inFlightFor is how long a job waits for clones that may be its own and that
// this process does not wait for.
const inFlightFor = time.Minute

// blank empties the config in the VM's guestinfo. The keys stay set while the
// VM lives; Ignition itself overwrites them with "{}" at the first boot, which
// must never be taken for drift.
func (c *connection) blank(ctx context.Context, t *executor.Task) error {
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
	spec := types.VirtualMachineConfigSpec{ExtraConfig: blankConfig()}
	_, err = c.do(ctx, t, "reconfigure", func(ctx context.Context) (*object.Task, error) {
		return object.NewVirtualMachine(c.vim, m.ref).Reconfigure(ctx, spec)
	})
	return err
}

func blankConfig() []types.BaseOptionValue {
	return []types.BaseOptionValue{
		&types.OptionValue{Key: "guestinfo.ignition.config.data", Value: ""},
		&types.OptionValue{Key: "guestinfo.ignition.config.data.encoding", Value: ""},
	}
}

// remove destroys the job's VM and takes it out of its pool's rule.
func (c *connection) remove(ctx context.Context, t *executor.Task) error {
	if err := c.removeMachine(ctx, t); err != nil {
		return err
	}
	return c.leaveRule(ctx, t)
}

// removeMachine finds the job's VM by identity or by name. Nothing found is
// success only when no clone can be under way that would make it yet.
func (c *connection) removeMachine(ctx context.Context, t *executor.Task) error {
	m, err := c.search(ctx, t)
	if err != nil {
		return err
	}
	if m == nil {
		// vCenter may have changed the UUID when it cloned. A VM of the
		// name that is not ours means that ours is not there.
		m, err = c.namesake(ctx, t)
		if err != nil {
			return err
		}
	}
	if m == nil {
		return c.noneComing(ctx, t)
	}
	if err := c.own(ctx, t, m); err != nil {
		return err
	}
	return c.destroy(ctx, t, m)
}

// namesake finds the VM of the node's name if it is the job's.
func (c *connection) namesake(ctx context.Context, t *executor.Task) (*machine, error) {
	folder, ok, err := c.names.folder(ctx, t.Job)
	if err != nil || !ok {
		return nil, err
	}
	child, err := object.NewSearchIndex(c.vim).FindChild(ctx, folder, name(t))
	if err != nil {
		return nil, fmt.Errorf("look for VM %s by name: %w", name(t), err)
	}
	if child == nil || child.Reference().Type != "VirtualMachine" {
		return nil, nil //nolint:nilnil // no VM is an answer, not an error
	}
	m, err := read(ctx, c.vim, child.Reference())
	if err != nil || m == nil || m.relation(t) != ours {
		return nil, err
	}
	return m, nil
}

// noneComing returns nil when no clone runs whose VM may yet appear; else it
// waits for those that run and asks for another look.
func (c *connection) noneComing(ctx context.Context, t *executor.Task) error {
	running, err := c.clonesOfOthers(ctx)
	if err != nil || len(running) == 0 {
		return err
	}
	return c.await(ctx, t, running)
}

// await waits for clones that may be the job's and asks for another look.
func (c *connection) await(ctx context.Context, t *executor.Task, clones []ref) error {
	waitCtx, cancel := context.WithTimeout(ctx, inFlightFor)
	defer cancel()
	for _, task := range clones {
		// What came of it shows when we look.
		if _, err := c.tasks.join(waitCtx, task, opClone); waitCtx.Err() != nil {
			return fault.Newf(fault.Transient, fault.MachineBusy, "clones are under way that may yet make VM %s: %w", name(t), err)
		}
	}
	return errAgain
}

// destroy switches the VM off and removes it; the caller has the proof that
// it is the job's.
func (c *connection) destroy(ctx context.Context, t *executor.Task, m *machine) error {
	vm := object.NewVirtualMachine(c.vim, m.ref)
	if m.on {
		_, err := c.do(ctx, t, "power_off", vm.PowerOff)
		if err != nil && !inState(err, types.VirtualMachinePowerStatePoweredOff) {
			return ignoreGone(err)
		}
	}
	_, err := c.do(ctx, t, "destroy", vm.Destroy)
	if is[*types.InvalidPowerState](err) {
		return fmt.Errorf("%w: %w", errAgain, err) // somebody switched it on
	}
	return ignoreGone(err)
}

func ignoreGone(err error) error {
	if gone(err) {
		return nil
	}
	return err
}
