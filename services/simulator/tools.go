package simulator

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// look captures a machine as its guest finds it.
func (w *World) look(ref string) (machine, bool) {
	vm, ok := w.reg.Get(reference("VirtualMachine", ref)).(*simulator.VirtualMachine)
	if !ok {
		return machine{}, false
	}
	var m machine
	w.reg.WithLock(w.context(), vm, func() { m = capture(&vm.VirtualMachine) })
	return m, true
}

// keep stores how a guest stands after a step, shows it in vCenter as VMware
// Tools would, and journals both in one record. It reports whether the guest
// is still in its turn.
func (w *World) keep(s step, now guest) bool {
	kept := false
	w.change(s.ref, func(ctx *simulator.Context, vm *mo.VirtualMachine) {
		was, ok := w.guests.current(s)
		if !ok || !w.guests.set(s, now) {
			return
		}
		kept = true
		if now.Disk.Ignited && !was.Disk.Ignited && !now.Disk.CloudInit {
			ctx.Update(vm, deleteConfig(vm))
		}
		if now.Phase == PhaseUp && was.Phase != PhaseUp {
			ctx.Update(vm, toolsUp(vm, now))
		}
		if now.Phase == PhaseBooting && was.Phase == PhaseUp {
			ctx.Update(vm, toolsDown(vm))
		}
		w.save(vm)
	})
	return kept
}

// showDown is what vCenter shows of a guest that is off.
func (w *World) showDown(s step) {
	w.change(s.ref, func(ctx *simulator.Context, vm *mo.VirtualMachine) {
		if _, ok := w.guests.current(s); ok {
			ctx.Update(vm, toolsDown(vm))
			// What a guest sets is lost when it is switched off.
			ctx.Update(vm, []types.PropertyChange{{Name: "config.extraConfig", Val: withWord(vm, "")}})
		}
	})
}

// change runs f under the lock of a VM that still exists.
func (w *World) change(ref string, f func(*simulator.Context, *mo.VirtualMachine)) {
	vm, ok := w.reg.Get(reference("VirtualMachine", ref)).(*simulator.VirtualMachine)
	if !ok {
		return
	}
	ctx := w.context()
	w.reg.WithLock(ctx, vm, func() {
		if w.reg.Get(vm.Self) != nil {
			f(ctx, &vm.VirtualMachine)
		}
	})
}

// deleteConfig is what ignition-delete-config.service writes over the config.
// It changes a copy: a reader may be sending the old list.
func deleteConfig(vm *mo.VirtualMachine) []types.PropertyChange {
	options := slices.Clone(vm.Config.ExtraConfig)
	for i, o := range options {
		v := o.GetOptionValue()
		switch {
		case v.Key == keyData && v.Value != "":
			options[i] = &types.OptionValue{Key: keyData, Value: deletedData}
		case v.Key == keyEncoding:
			options[i] = &types.OptionValue{Key: keyEncoding, Value: deletedEncoding}
		}
	}
	return []types.PropertyChange{{Name: "config.extraConfig", Val: options}}
}

func toolsUp(vm *mo.VirtualMachine, g guest) []types.PropertyChange {
	changes := []types.PropertyChange{
		{Name: "guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsOk},
		{Name: "guest.toolsVersionStatus2", Val: string(types.VirtualMachineToolsVersionStatusGuestToolsUnmanaged)},
		{Name: "guest.toolsRunningStatus", Val: string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)},
		{Name: "guest.guestState", Val: string(types.VirtualMachineGuestStateRunning)},
		{Name: "guest.hostName", Val: g.Hostname},
		{Name: "guest.ipAddress", Val: g.Address},
		{Name: "summary.guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsOk},
		{Name: "summary.guest.toolsRunningStatus", Val: string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)},
		{Name: "summary.guest.hostName", Val: g.Hostname},
		{Name: "summary.guest.ipAddress", Val: g.Address},
	}
	if len(vm.Guest.Net) > 0 {
		nets := slices.Clone(vm.Guest.Net)
		for i := range nets {
			nets[i].Connected = true
			for _, c := range g.Cards {
				if c.Key == nets[i].DeviceConfigId {
					nets[i].IpAddress = c.Addresses
				}
			}
		}
		changes = append(changes, types.PropertyChange{Name: "guest.net", Val: nets})
	}
	return changes
}

func toolsDown(vm *mo.VirtualMachine) []types.PropertyChange {
	nets := slices.Clone(vm.Guest.Net)
	for i := range nets {
		nets[i].IpAddress = nil
		nets[i].Connected = false
	}
	return []types.PropertyChange{
		{Name: "guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsNotRunning},
		{Name: "guest.toolsRunningStatus", Val: string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning)},
		{Name: "guest.guestState", Val: string(types.VirtualMachineGuestStateNotRunning)},
		{Name: "guest.ipAddress", Val: ""},
		{Name: "guest.net", Val: nets},
		{Name: "summary.guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsNotRunning},
		{Name: "summary.guest.toolsRunningStatus", Val: string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning)},
		{Name: "summary.guest.ipAddress", Val: ""},
	}
}
