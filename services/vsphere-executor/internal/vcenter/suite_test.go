package vcenter

import (
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/executor/executortest"
)

func TestBackend(t *testing.T) {
	t.Parallel()
	executortest.Run(t, func(t *testing.T) executortest.World {
		t.Helper()
		w := newWorld(t)
		return w.suite(t, w.backend(t))
	})
}

// suite lets the suite of all backends look behind one.
func (w *world) suite(t *testing.T, b *Backend) executortest.World {
	t.Helper()
	vm := func(o executor.Owner) *object.VirtualMachine { return w.vm(t, "web-"+o.Node) }
	b.sweepEvery = b.sweepEvery / 100
	return executortest.World{
		Backend: b, Task: jobOf,
		Machines: func() map[string]executortest.Machine {
			all := map[string]executortest.Machine{}
			for _, vm := range w.all(t) {
				values := extra(vm)
				all[values[keyOwner]] = executortest.Machine{
					On: isOn(vm), Config: values["guestinfo.ignition.config.data"] != "",
					CPUs: int(vm.Config.Hardware.NumCPU), Boots: w.tasks.count(vm.Self),
				}
			}
			return all
		},
		Give: func(o executor.Owner, address string) {
			done(t)(vm(o).Reconfigure(t.Context(), types.VirtualMachineConfigSpec{
				ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "SET.guest.ipAddress", Value: address}},
			}))
		},
		Cool: func(o executor.Owner) {
			done(t)(vm(o).Reconfigure(t.Context(), types.VirtualMachineConfigSpec{
				CpuHotAddEnabled: new(false), MemoryHotAddEnabled: new(false),
			}))
		},
		Vanish: func(o executor.Owner) {
			done(t)(vm(o).PowerOff(t.Context()))
			done(t)(vm(o).Destroy(t.Context()))
		},
	}
}
