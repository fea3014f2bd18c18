package simulator

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// free makes the simulator take no lock for an object before it calls its
// method: our methods take the gate first, then the lock. The other way round
// two calls could wait for each other.
type free struct{}

// Lock does nothing.
func (free) Lock() {}

// Unlock does nothing.
func (free) Unlock() {}

// machineCall, folderCall, searchCall and poolCall stand between a client and an object
// of the simulator. The simulator finds their methods by name; what they do
// not have is the object's own.
type (
	machineCall struct {
		free
		*simulator.VirtualMachine
		w *World
	}
	folderCall struct {
		free
		*simulator.Folder
		w *World
	}
	searchCall struct {
		free
		*simulator.SearchIndex
		w *World
	}
	poolCall struct {
		free
		*simulator.ResourcePool
		w *World
	}
)

// diverted is the name of no object. The simulator prefers an object that it
// finds by the call's reference to the one that a handler gives it, so that a
// diverted call must carry a reference that leads nowhere.
var diverted = types.ManagedObjectReference{Type: "Simulated", Value: "diverted"}

// route sees every call before the simulator does.
func (w *World) route(ctx *simulator.Context, m *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	if ctx.Session == nil {
		return nil, nil
	}
	w.meter.called(m)
	target := w.reg.Get(m.This)
	if w.faults.spoilsCalls() {
		if fault := w.spoil(ctx, m, target); fault != nil {
			return nil, fault
		}
	}
	if w.cfg.ESXi && needsVCenter[m.Name] {
		return nil, &types.NotSupported{}
	}
	if m.Name == "HttpNfcLeaseComplete" {
		w.filled(ctx, m.This)
	}
	if fault := w.forbids(ctx, m); fault != nil {
		return nil, fault
	}
	stand := w.stand(m, target)
	if stand != nil {
		m.This = diverted
	}
	return stand, nil
}

// stand is what takes a call in the place of its target, if anything does.
func (w *World) stand(m *simulator.Method, target mo.Reference) mo.Reference {
	switch x := target.(type) {
	case *simulator.VirtualMachine:
		switch m.Name {
		case "CloneVM_Task", "PowerOnVM_Task", "PowerOffVM_Task", "ResetVM_Task", "ReconfigVM_Task",
			"Rename_Task", "Destroy_Task", "UnregisterVM", "MarkAsTemplate", "MarkAsVirtualMachine":
			return &machineCall{VirtualMachine: x, w: w}
		}
	case *simulator.Folder:
		switch m.Name {
		case "CreateFolder", "CreateVM_Task", "Rename_Task", "Destroy_Task":
			return &folderCall{Folder: x, w: w}
		}
	case *simulator.SearchIndex:
		return &searchCall{SearchIndex: x, w: w}
	case *simulator.AuthorizationManager:
		if m.Name == "HasUserPrivilegeOnEntities" {
			return &rightsCall{AuthorizationManager: x, w: w}
		}
	case *simulator.ResourcePool:
		if m.Name == "ImportVApp" {
			return &poolCall{ResourcePool: x, w: w}
		}
	}
	return nil
}

// spoil applies the rules that name a method of the API.
func (w *World) spoil(ctx *simulator.Context, m *simulator.Method, target mo.Reference) types.BaseMethodFault {
	name := ""
	if vm, ok := target.(*simulator.VirtualMachine); ok {
		ctx.WithLock(vm, func() { name = vm.Name })
	}
	if clone, ok := m.Body.(*types.CloneVM_Task); ok {
		name = clone.Name
	}
	r := w.faults.strike(Verb(m.Name), name)
	if !w.sleep(r.Delay.Duration) {
		return &types.RequestCanceled{}
	}
	return r.fault()
}

// CloneVMTask checks the references that would crash the simulator while it
// holds the template's lock.
func (c *machineCall) CloneVMTask(ctx *simulator.Context, req *types.CloneVM_Task) soap.HasFault {
	refuse := func(f types.BaseMethodFault) soap.HasFault {
		return &methods.CloneVM_TaskBody{Fault_: simulator.Fault("", f)}
	}
	loc := req.Spec.Location
	for _, ref := range []*types.ManagedObjectReference{&req.Folder, loc.Datastore, loc.Pool, loc.Host} {
		if ref != nil && c.w.reg.Get(*ref) == nil {
			return refuse(&types.ManagedObjectNotFound{Obj: *ref})
		}
	}
	op := operation{verb: OnClone, vm: req.Name, clone: req, takes: c.w.cfg.CloneDelay, alone: true}
	if linked(req) {
		if snap := req.Spec.Snapshot; snap == nil || c.w.reg.Get(*snap) == nil {
			op.refuse = &types.InvalidArgument{InvalidProperty: "spec.snapshot"}
		}
	}
	c.w.reg.WithLock(ctx, c.VirtualMachine, func() {
		var fault types.BaseMethodFault
		if op.disks, fault = takeDiskEdits(req, &c.VirtualMachine.VirtualMachine); fault != nil {
			op.refuse = fault
		}
		op.needs = cloneNeeds(req, &c.VirtualMachine.VirtualMachine, op.disks)
	})
	return c.w.dispatch(ctx, c.VirtualMachine, op, func() soap.HasFault { return c.VirtualMachine.CloneVMTask(ctx, req) })
}

func linked(req *types.CloneVM_Task) bool {
	return req.Spec.Location.DiskMoveType == string(types.VirtualMachineRelocateDiskMoveOptionsCreateNewChildDiskBacking)
}

// PowerOnVMTask goes through dispatch.
func (c *machineCall) PowerOnVMTask(ctx *simulator.Context, req *types.PowerOnVM_Task) soap.HasFault {
	op := operation{verb: OnPowerOn, takes: c.w.cfg.PowerDelay}
	c.w.reg.WithLock(ctx, c.VirtualMachine, func() {
		if c.w.filling.has(c.Name) {
			op.refuse = &types.InvalidState{}
		}
	})
	return c.w.dispatch(ctx, c.VirtualMachine, op, func() soap.HasFault { return c.VirtualMachine.PowerOnVMTask(ctx, req) })
}

// PowerOffVMTask goes through dispatch.
func (c *machineCall) PowerOffVMTask(ctx *simulator.Context, req *types.PowerOffVM_Task) soap.HasFault {
	op := operation{verb: OnPowerOff, takes: c.w.cfg.PowerDelay}
	return c.w.dispatch(ctx, c.VirtualMachine, op, func() soap.HasFault { return c.VirtualMachine.PowerOffVMTask(ctx, req) })
}

// ResetVMTask goes through dispatch.
func (c *machineCall) ResetVMTask(ctx *simulator.Context, req *types.ResetVM_Task) soap.HasFault {
	op := operation{verb: OnReset, takes: c.w.cfg.PowerDelay}
	return c.w.dispatch(ctx, c.VirtualMachine, op, func() soap.HasFault { return c.VirtualMachine.ResetVMTask(ctx, req) })
}

// ReconfigVMTask goes through dispatch.
func (c *machineCall) ReconfigVMTask(ctx *simulator.Context, req *types.ReconfigVM_Task) soap.HasFault {
	op := operation{verb: OnReconfigure}
	c.w.reg.WithLock(ctx, c.VirtualMachine, func() {
		vm := &c.VirtualMachine.VirtualMachine
		op.needs = changeNeeds(req.Spec.DeviceChange, vm)
		if seen := req.Spec.ChangeVersion; seen != "" && seen != vm.Config.ChangeVersion {
			op.refuse = &types.ConcurrentAccess{}
			return
		}
		op.refuse = notWhileRunning(vm, &req.Spec)
	})
	return c.w.dispatch(ctx, c.VirtualMachine, op, func() soap.HasFault { return c.VirtualMachine.ReconfigVMTask(ctx, req) })
}

// notWhileRunning refuses what a vCenter refuses of a machine that is on and
// the simulator accepts: a change of CPUs or memory without hot-add, and any
// reduction.
func notWhileRunning(vm *mo.VirtualMachine, spec *types.VirtualMachineConfigSpec) types.BaseMethodFault {
	if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		return nil
	}
	have := vm.Config.Hardware
	if n := spec.NumCPUs; n != 0 && n != have.NumCPU && (n < have.NumCPU || !yes(vm.Config.CpuHotAddEnabled)) {
		return &types.CpuHotPlugNotSupported{}
	}
	if n := spec.MemoryMB; n != 0 && n != int64(have.MemoryMB) && (n < int64(have.MemoryMB) || !yes(vm.Config.MemoryHotAddEnabled)) {
		return &types.MemoryHotPlugNotSupported{}
	}
	if yesOrNo(spec.CpuHotAddEnabled, vm.Config.CpuHotAddEnabled) || yesOrNo(spec.MemoryHotAddEnabled, vm.Config.MemoryHotAddEnabled) {
		return &types.InvalidPowerState{
			RequestedState: types.VirtualMachinePowerStatePoweredOff, ExistingState: types.VirtualMachinePowerStatePoweredOn,
		}
	}
	return nil
}

// yesOrNo reports whether a wish changes a flag.
func yesOrNo(wish, has *bool) bool { return wish != nil && *wish != yes(has) }

// RenameTask goes through dispatch, alone: it looks for the name in the
// folder.
func (c *machineCall) RenameTask(ctx *simulator.Context, req *types.Rename_Task) soap.HasFault {
	op := operation{verb: OnRename, alone: true}
	return c.w.dispatch(ctx, c.VirtualMachine, op, func() soap.HasFault { return c.VirtualMachine.RenameTask(ctx, req) })
}

// DestroyTask goes through dispatch, alone: it changes the folder.
func (c *machineCall) DestroyTask(ctx *simulator.Context, req *types.Destroy_Task) soap.HasFault {
	op := operation{verb: OnDestroy, alone: true}
	return c.w.dispatch(ctx, c.VirtualMachine, op, func() soap.HasFault { return c.VirtualMachine.DestroyTask(ctx, req) })
}

// UnregisterVM is no task; it changes the folder all the same.
func (c *machineCall) UnregisterVM(ctx *simulator.Context, req *types.UnregisterVM) soap.HasFault {
	c.w.gate.Lock()
	defer c.w.gate.Unlock()
	defer c.w.reg.AcquireLock(ctx, c.VirtualMachine)()
	return c.VirtualMachine.UnregisterVM(ctx, req)
}

// MarkAsTemplate journals what it changed.
func (c *machineCall) MarkAsTemplate(ctx *simulator.Context, req *types.MarkAsTemplate) soap.HasFault {
	defer c.w.reg.AcquireLock(ctx, c.VirtualMachine)()
	res := c.VirtualMachine.MarkAsTemplate(req)
	if res.Fault() == nil {
		c.w.save(&c.VirtualMachine.VirtualMachine)
	}
	return res
}

// MarkAsVirtualMachine journals what it changed.
func (c *machineCall) MarkAsVirtualMachine(ctx *simulator.Context, req *types.MarkAsVirtualMachine) soap.HasFault {
	defer c.w.reg.AcquireLock(ctx, c.VirtualMachine)()
	res := c.VirtualMachine.MarkAsVirtualMachine(req)
	if res.Fault() == nil {
		c.w.save(&c.VirtualMachine.VirtualMachine)
	}
	return res
}

// CreateFolder looks for the name in the folder, which must not be changed
// by a clone meanwhile.
func (c *folderCall) CreateFolder(ctx *simulator.Context, req *types.CreateFolder) soap.HasFault {
	c.w.gate.RLock()
	defer c.w.gate.RUnlock()
	defer c.w.reg.AcquireLock(ctx, c.Folder)()
	return c.Folder.CreateFolder(ctx, req)
}

// CreateVMTask is the client's own call; a clone's inner one does not come
// this way.
func (c *folderCall) CreateVMTask(ctx *simulator.Context, req *types.CreateVM_Task) soap.HasFault {
	// The simulator would make a second VM of the same name.
	op := operation{verb: OnCreate, vm: req.Config.Name, takes: c.w.cfg.CloneDelay, alone: true}
	op.needs = changeNeeds(req.Config.DeviceChange, nil)
	c.w.gate.RLock()
	defer c.w.gate.RUnlock()
	return c.w.dispatch(ctx, c.Folder, op, func() soap.HasFault {
		if other := c.w.reg.FindByName(req.Config.Name, c.ChildEntity); other != nil {
			f := &types.DuplicateName{Name: req.Config.Name, Object: other.Reference()}
			return &methods.CreateVM_TaskBody{Fault_: simulator.Fault("", f)}
		}
		return c.Folder.CreateVMTask(ctx, req)
	})
}

// ImportVApp makes a VM that its client then fills: it runs alone, as a clone
// does. It is no verb that a rule can spoil, because the client would wait for
// the lease of a task that failed; a rule may name the call itself.
func (c *poolCall) ImportVApp(ctx *simulator.Context, req *types.ImportVApp) soap.HasFault {
	refuse := func(f types.BaseMethodFault) soap.HasFault {
		return &methods.ImportVAppBody{Fault_: simulator.Fault("", f)}
	}
	folder := c.w.inv.vmFolder
	if req.Folder != nil {
		named, ok := c.w.reg.Get(*req.Folder).(*simulator.Folder)
		if !ok {
			return refuse(&types.ManagedObjectNotFound{Obj: *req.Folder})
		}
		folder = named
	}
	if req.Host != nil && c.w.reg.Get(*req.Host) == nil {
		return refuse(&types.ManagedObjectNotFound{Obj: *req.Host})
	}
	name, needs := "", int64(0)
	if spec, ok := req.Spec.(*types.VirtualMachineImportSpec); ok {
		name, needs = spec.ConfigSpec.Name, changeNeeds(spec.ConfigSpec.DeviceChange, nil)
		// Flatcar's descriptor says so, and the simulator does not read it.
		spec.ConfigSpec.CpuHotAddEnabled, spec.ConfigSpec.MemoryHotAddEnabled = new(true), new(true)
	}
	if f := c.w.full(operation{vm: name, needs: needs}); f != nil {
		return refuse(f)
	}
	c.w.gate.RLock()
	defer c.w.gate.RUnlock()
	if other := c.w.reg.FindByName(name, folder.ChildEntity); other != nil {
		return refuse(&types.DuplicateName{Name: name, Object: other.Reference()})
	}
	op := operation{vm: name, takes: c.w.cfg.CloneDelay, alone: true}
	return c.w.dispatch(ctx, c.ResourcePool, op, func() soap.HasFault {
		c.w.filling.begin(name)
		return c.ResourcePool.ImportVApp(ctx, req)
	})
}

// RenameTask goes through dispatch, alone.
func (c *folderCall) RenameTask(ctx *simulator.Context, req *types.Rename_Task) soap.HasFault {
	op := operation{verb: OnRename, alone: true}
	return c.w.dispatch(ctx, c.Folder, op, func() soap.HasFault { return c.Folder.RenameTask(ctx, req) })
}

// DestroyTask goes through dispatch, alone. A vCenter destroys what is in the
// folder too; the simulator would lose it, so that we refuse.
func (c *folderCall) DestroyTask(ctx *simulator.Context, req *types.Destroy_Task) soap.HasFault {
	op := operation{verb: OnDestroy, alone: true}
	c.w.reg.WithLock(ctx, c.Folder, func() {
		if len(c.ChildEntity) > 0 {
			op.refuse = &types.ResourceInUse{Type: "Folder", Name: c.Name}
		}
	})
	return c.w.dispatch(ctx, c.Folder, op, func() soap.HasFault { return c.Folder.DestroyTask(ctx, req) })
}

// FindChild panics in the simulator while a clone is half made.
func (c *searchCall) FindChild(ctx *simulator.Context, req *types.FindChild) soap.HasFault {
	c.w.gate.RLock()
	defer c.w.gate.RUnlock()
	return c.SearchIndex.FindChild(ctx, req)
}

// FindByInventoryPath is FindChild for each element of the path.
func (c *searchCall) FindByInventoryPath(ctx *simulator.Context, req *types.FindByInventoryPath) soap.HasFault {
	c.w.gate.RLock()
	defer c.w.gate.RUnlock()
	return c.SearchIndex.FindByInventoryPath(ctx, req)
}

// FindByUuid reads a config that a clone may be writing.
//
//nolint:revive // the simulator finds the method by the API's name
func (c *searchCall) FindByUuid(ctx *simulator.Context, req *types.FindByUuid) soap.HasFault {
	c.w.gate.RLock()
	defer c.w.gate.RUnlock()
	return c.SearchIndex.FindByUuid(ctx, req)
}

// FindAllByUuid reads a config that a clone may be writing.
//
//nolint:revive // the simulator finds the method by the API's name
func (c *searchCall) FindAllByUuid(ctx *simulator.Context, req *types.FindAllByUuid) soap.HasFault {
	c.w.gate.RLock()
	defer c.w.gate.RUnlock()
	return c.SearchIndex.FindAllByUuid(ctx, req)
}
