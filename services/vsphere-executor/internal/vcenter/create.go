package vcenter

import (
	"cmp"
	"context"
	"fmt"

	vfault "github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
)

// create makes the job's VM and switches it on, or finishes what an earlier
// try began. It looks by UUID only: a VM of the same name shows when vCenter
// refuses the clone, which it does before it does anything, and that saves a
// look in the usual case.
func (c *connection) create(ctx context.Context, t *executor.Task) (executor.Machine, error) {
	defer c.berths.leave(t.Owner)
	if c.host {
		return c.createOnHost(ctx, t)
	}
	m, err := c.search(ctx, t)
	if err != nil {
		return executor.Machine{}, err
	}
	if m == nil {
		if err := c.vacant(ctx, t); err != nil {
			return executor.Machine{}, err
		}
		made, err := c.clone(ctx, t)
		if err == nil {
			return made, c.start(ctx, t, ref{Type: "VirtualMachine", Value: made.ID})
		}
		if m, err = c.afterClone(ctx, t, err); err != nil {
			return executor.Machine{}, err
		}
	}
	if err := c.own(ctx, t, m); err != nil {
		return executor.Machine{}, err
	}
	adopted := machineOf(t, m.ref)
	adopted.Adopted, adopted.Hot = true, m.hot
	return adopted, c.adopt(ctx, t, m)
}

func machineOf(t *executor.Task, r ref) executor.Machine {
	return executor.Machine{ID: r.Value, UUID: t.Job.MachineUUID}
}

// clone makes the job's VM, on another datastore of the pool's cluster if one
// is full.
func (c *connection) clone(ctx context.Context, t *executor.Task) (executor.Machine, error) {
	if begun := c.tasks.cloning(name(t)); len(begun) > 0 {
		return executor.Machine{}, c.await(ctx, t, begun)
	}
	p, err := c.names.place(ctx, t.Job)
	if err != nil {
		return executor.Machine{}, err
	}
	spec, err := cloneSpec(t, p)
	if err != nil {
		return executor.Machine{}, err
	}
	if spec.Location.Host, err = c.berth(ctx, t, p); err != nil {
		return executor.Machine{}, err
	}
	stores := []*ref{p.store}
	if p.pod != nil {
		if stores, err = c.recommend(ctx, t, p, spec); err != nil {
			return executor.Machine{}, err
		}
	}
	var made executor.Machine
	for _, spec.Location.Datastore = range stores {
		if made, err = c.cloneTo(ctx, t, p, spec); err == nil || !isFull(err) {
			break
		}
		if left := c.discard(ctx, t); left != nil {
			return made, left
		}
	}
	return made, err
}

// cloneTo makes the clone that spec asks for. If it cannot be known whether
// vCenter has begun, it waits for all that may be it: what is looked for
// afterwards is there or never will be.
func (c *connection) cloneTo(ctx context.Context, t *executor.Task, p *place, spec types.VirtualMachineCloneSpec) (executor.Machine, error) {
	result, err := c.do(ctx, t, opClone, func(ctx context.Context) (*object.Task, error) {
		return object.NewVirtualMachine(c.vim, p.template.ref).Clone(ctx, object.NewFolder(c.vim, p.folder), name(t), spec)
	}, c.limits.cloning(p.template.ref, cmp.Or(spec.Location.Datastore, p.template.store))...)
	if err != nil && unknownOutcome(err) && ctx.Err() == nil {
		return executor.Machine{}, cmp.Or(c.noneComing(ctx, t), err)
	}
	if err != nil {
		return executor.Machine{}, err
	}
	made, ok := result.(types.ManagedObjectReference)
	if !ok {
		return executor.Machine{}, fmt.Errorf("clone %s: the task ended without a VM: %w", name(t), errAgain)
	}
	out := machineOf(t, made)
	out.Hot = p.template.hot
	return out, nil
}

// discard removes what a clone for which there was no room left behind, if it
// surely is the job's: its disks may be incomplete.
func (c *connection) discard(ctx context.Context, t *executor.Task) error {
	m, err := c.search(ctx, t)
	if err != nil || m == nil || m.on || m.relation(t) != ours {
		return err
	}
	return c.destroy(ctx, t, m)
}

// afterClone looks for the VM that a failed clone may have left: the name was
// taken (by an earlier try of ours, perhaps), or vCenter reported a failure
// although it made the VM. If there is none, the failure stands.
func (c *connection) afterClone(ctx context.Context, t *executor.Task, failure error) (*machine, error) {
	if ctx.Err() != nil {
		return nil, failure
	}
	var taken *types.DuplicateName
	if _, ok := vfault.As(failure, &taken); ok {
		m, err := read(ctx, c.vim, taken.Object)
		if err == nil && m == nil {
			err = fmt.Errorf("%w: %w", errAgain, failure)
		}
		return m, err
	}
	m, err := c.search(ctx, t)
	if err != nil {
		return nil, err
	}
	if m == nil || m.relation(t) == halfMade {
		return nil, failure
	}
	return m, nil
}

// adopt finishes a VM of ours that an earlier try left behind.
func (c *connection) adopt(ctx context.Context, t *executor.Task, m *machine) error {
	if m.on {
		if m.config == t.Config.Digest {
			return nil
		}
		// It booted with a config that was rendered anew since; Ignition
		// runs once in the life of a disk, so the VM starts over.
		if err := c.destroy(ctx, t, m); err != nil {
			return err
		}
		return errAgain
	}
	if err := c.settle(ctx, t, m); err != nil {
		return err
	}
	return c.start(ctx, t, m.ref)
}

// start marks a VM that has all else and switches it on.
func (c *connection) start(ctx context.Context, t *executor.Task, vm ref) error {
	if err := c.mark(ctx, t, vm); err != nil {
		return err
	}
	if err := c.keepApart(ctx, t, vm); err != nil {
		return err
	}
	return c.powerOn(ctx, t, vm)
}

// settle gives a VM that is off all that its clone spec should have: who made
// it may have died in between, or had an older config.
func (c *connection) settle(ctx context.Context, t *executor.Task, m *machine) error {
	p, err := c.names.place(ctx, t.Job)
	if err != nil {
		return err
	}
	devices, err := object.NewVirtualMachine(c.vim, m.ref).Device(ctx)
	if err != nil {
		return fmt.Errorf("read the devices of %s: %w", m.name, err)
	}
	if c.host {
		p = settleOnHost(p, t, m, devices)
	}
	spec, err := configSpec(t, devices, p)
	if err != nil {
		return err
	}
	spec.InstanceUuid = "" // it has it
	if c.host {
		spec.VAppConfigRemoved = nil // it never had any
	}
	_, err = c.do(ctx, t, "reconfigure", func(ctx context.Context) (*object.Task, error) {
		return object.NewVirtualMachine(c.vim, m.ref).Reconfigure(ctx, *spec)
	})
	return err
}

// powerOn switches the VM on, explicitly: PowerOn in a clone spec makes a
// second task that nobody watches.
func (c *connection) powerOn(ctx context.Context, t *executor.Task, r ref) error {
	_, err := c.do(ctx, t, "power_on", func(ctx context.Context) (*object.Task, error) {
		return object.NewVirtualMachine(c.vim, r).PowerOn(ctx)
	})
	if inState(err, types.VirtualMachinePowerStatePoweredOn) {
		return nil
	}
	return err
}

// inState reports whether a power operation was refused because the VM is in
// the wanted state already.
func inState(err error, wanted types.VirtualMachinePowerState) bool {
	var f *types.InvalidPowerState
	_, ok := vfault.As(err, &f)
	return ok && f.ExistingState == wanted
}
