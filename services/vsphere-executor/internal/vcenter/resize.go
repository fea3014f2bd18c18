package vcenter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
)

const (
	// shutdownFor is how long a guest may take to shut down before the VM is
	// switched off.
	shutdownFor = 90 * time.Second
	// shutdownLook is the pause between two looks whether it is off.
	shutdownLook = time.Second
)

// Resize implements executor.Backend.
func (b *Backend) Resize(ctx context.Context, t *executor.Task) (executor.Machine, error) {
	var out executor.Machine
	if t.Job.VSphere == nil {
		return out, fault.New(fault.Permanent, fault.SpecUnsupported, errors.New("the job lacks its vsphere section"))
	}
	err := b.with(ctx, func(c *connection) (err error) {
		out, err = c.resize(ctx, t)
		return err
	})
	if err == nil && t.Job.Restart {
		b.sightings.restarted(t.Owner) // its address is to be told anew
	}
	return out, err
}

// resize begins with a look at what is, so that it finishes what an earlier
// try began: a VM that has its size already is only switched on.
func (c *connection) resize(ctx context.Context, t *executor.Task) (executor.Machine, error) {
	m, err := c.search(ctx, t)
	if err != nil {
		return executor.Machine{}, err
	}
	if m == nil {
		return executor.Machine{}, fault.Newf(fault.Permanent, fault.MachineLost, "VM %s does not exist any more", name(t))
	}
	if err := c.own(ctx, t, m); err != nil {
		return executor.Machine{}, err
	}
	vm, err := c.hardware(ctx, m)
	if err != nil {
		return executor.Machine{}, err
	}
	out := machineOf(t, m.ref)
	out.Hot = hotOf(vm)
	change, err := resizeSpec(t, vm)
	if err != nil {
		return out, err
	}
	if change != nil {
		if err := c.giveSize(ctx, t, vm, change); err != nil {
			return out, err
		}
		if t.Job.Restart {
			m.on = false
		}
	}
	if err := c.mark(ctx, t, m.ref); err != nil {
		return out, err
	}
	if t.Job.Restart && !m.on {
		return out, c.powerOn(ctx, t, m.ref)
	}
	return out, nil
}

// hardware reads what a VM's size is and what it takes while it runs.
func (c *connection) hardware(ctx context.Context, m *machine) (*mo.VirtualMachine, error) {
	var vm mo.VirtualMachine
	paths := []string{"config.hardware", "config.cpuHotAddEnabled", "config.memoryHotAddEnabled", "config.annotation", "runtime.powerState"}
	if err := property.DefaultCollector(c.vim).RetrieveOne(ctx, m.ref, paths, &vm); err != nil {
		return nil, fmt.Errorf("read the hardware of %s: %w", m.name, err)
	}
	if vm.Config == nil {
		return nil, fault.Newf(fault.Transient, fault.MachineBusy, "vCenter cannot read the hardware of %s", m.name)
	}
	return &vm, nil
}

func hotOf(vm *mo.VirtualMachine) plan.Hot {
	yes := func(b *bool) bool { return b != nil && *b }
	return plan.Hot{CPU: yes(vm.Config.CpuHotAddEnabled), Memory: yes(vm.Config.MemoryHotAddEnabled)}
}

// sizeChange is what makes a VM as large as its pool wants it, with the note
// that it should bear.
type sizeChange struct {
	spec types.VirtualMachineConfigSpec
	// off says why the VM must be off for it; empty if it need not be.
	off string
}

// resizeSpec returns what is to be changed, nil if nothing is. What the pool
// leaves out stays as it is.
func resizeSpec(t *executor.Task, vm *mo.VirtualMachine) (*sizeChange, error) {
	v, have, hot := t.Job.VSphere, vm.Config.Hardware, hotOf(vm)
	memory, err := v.Memory.Bytes()
	if err != nil {
		return nil, fault.Newf(fault.Permanent, fault.SpecUnsupported, "vsphere.memory: %w", err)
	}
	out := &sizeChange{}
	changed := false
	if cpus := int32(v.CPUs); cpus != 0 && cpus != have.NumCPU { //nolint:gosec // bounded by the document's rules
		changed, out.spec.NumCPUs = true, cpus
		out.off = offFor("CPUs", cpus < have.NumCPU, hot.CPU)
	}
	if mb := (memory/mebi + memoryStep - 1) / memoryStep * memoryStep; mb != 0 && mb != int64(have.MemoryMB) {
		changed, out.spec.MemoryMB = true, mb
		if off := offFor("memory", mb < int64(have.MemoryMB), hot.Memory); off != "" {
			out.off = off
		}
	}
	edit, err := growDisk(v, object.VirtualDeviceList(have.Device))
	if err != nil {
		return nil, err
	}
	if edit != nil {
		changed, out.spec.DeviceChange = true, []types.BaseVirtualDeviceConfigSpec{edit}
		out.off = "a guest sees that its disk has grown when it boots"
	}
	if text := note(t.Job); text != vm.Config.Annotation {
		changed, out.spec.Annotation = true, text
	}
	if !changed {
		return nil, nil //nolint:nilnil // no change is an answer
	}
	return out, nil
}

// offFor says why a VM must be off to get more or less of something.
func offFor(what string, less, hot bool) string {
	switch {
	case less:
		return "a running VM takes no fewer " + what
	case !hot:
		return "the VM takes no more " + what + " while it runs: hot-add is not enabled"
	}
	return ""
}

// giveSize changes the VM, while it runs if the job allows nothing else.
func (c *connection) giveSize(ctx context.Context, t *executor.Task, vm *mo.VirtualMachine, change *sizeChange) error {
	on := vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
	machine := object.NewVirtualMachine(c.vim, vm.Self)
	switch {
	case on && t.Job.Restart:
		if err := c.shutDown(ctx, t, machine); err != nil {
			return err
		}
	case on && change.off != "":
		return fault.WithHint(fault.Newf(fault.Permanent, fault.HotRefused, "%s", change.off),
			"it is restarted for it if the pool's budget allows that")
	}
	if t.Job.Restart {
		// What was blanked while the VM ran may be there again.
		change.spec.ExtraConfig = blankConfig()
	}
	_, err := c.do(ctx, t, "reconfigure", func(ctx context.Context) (*object.Task, error) {
		return machine.Reconfigure(ctx, change.spec)
	})
	if is[*types.InvalidPowerState](err) && t.Job.Restart {
		return fmt.Errorf("%w: %w", errAgain, err) // somebody switched it on
	}
	return err
}

// shutDown has the guest shut down, and switches the VM off if it does not:
// without VMware tools nobody hears the wish.
func (c *connection) shutDown(ctx context.Context, t *executor.Task, vm *object.VirtualMachine) error {
	if err := t.Permit(ctx); err != nil {
		return err
	}
	err := vm.ShutdownGuest(ctx)
	if err == nil {
		err = c.awaitOff(ctx, vm)
	}
	if err == nil || ctx.Err() != nil || unknownOutcome(err) {
		return err // a cut line is no reason to pull the plug
	}
	_, err = c.do(ctx, t, "power_off", vm.PowerOff)
	if inState(err, types.VirtualMachinePowerStatePoweredOff) {
		return nil
	}
	return err
}

var errStillOn = errors.New("the guest does not shut down")

func (c *connection) awaitOff(ctx context.Context, vm *object.VirtualMachine) error {
	deadline, stop := context.WithTimeout(ctx, c.shutdownFor)
	defer stop()
	for {
		state, err := vm.PowerState(ctx)
		if err != nil {
			return err
		}
		if state == types.VirtualMachinePowerStatePoweredOff {
			return nil
		}
		select {
		case <-deadline.Done():
			return errStillOn
		case <-time.After(shutdownLook):
		}
	}
}
