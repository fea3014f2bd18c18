package simulator

import (
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// A running machine takes more CPUs and memory only where hot-add is enabled,
// and never fewer; the simulator by itself takes anything.
func TestRunningMachineRefusesWhatItCannotTake(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	vm, err := r.clone(t.Context(), r.template(t, "flatcar-4593.2.5"), cloneSpec{name: "x", folder: r.folder(t)})
	if err != nil {
		t.Fatal(err)
	}
	set := func(spec types.VirtualMachineConfigSpec) error {
		_, err := r.wait(t.Context(), must(vm.Reconfigure(t.Context(), spec)))
		return err
	}
	cpus := func(n int32) types.VirtualMachineConfigSpec { return types.VirtualMachineConfigSpec{NumCPUs: n} }
	memory := func(n int64) types.VirtualMachineConfigSpec { return types.VirtualMachineConfigSpec{MemoryMB: n} }
	flags := func(on bool) types.VirtualMachineConfigSpec {
		return types.VirtualMachineConfigSpec{CpuHotAddEnabled: &on, MemoryHotAddEnabled: &on}
	}
	if err := r.powerOn(t.Context(), vm); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		spec   types.VirtualMachineConfigSpec
		wanted func(error) bool
	}{
		{cpus(4), fine},
		{memory(16384), fine},
		{cpus(2), isFault[*types.CpuHotPlugNotSupported]},
		{memory(2048), isFault[*types.MemoryHotPlugNotSupported]},
		{flags(false), isFault[*types.InvalidPowerState]},
	} {
		if err := set(c.spec); !c.wanted(err) {
			t.Errorf("change %d while it runs = %v", i, err)
		}
	}
	r.off(t, vm)
	if err := set(flags(false)); err != nil {
		t.Fatal(err)
	}
	if err := r.powerOn(t.Context(), vm); err != nil {
		t.Fatal(err)
	}
	if err := set(cpus(8)); !isFault[*types.CpuHotPlugNotSupported](err) {
		t.Errorf("more CPUs without hot-add = %v; want CpuHotPlugNotSupported", err)
	}
	if err := set(memory(32768)); !isFault[*types.MemoryHotPlugNotSupported](err) {
		t.Errorf("more memory without hot-add = %v; want MemoryHotPlugNotSupported", err)
	}
	if err := set(cpus(4)); err != nil {
		t.Errorf("no change at all = %v", err)
	}
}

func (r *running) off(t *testing.T, vm *object.VirtualMachine) {
	t.Helper()
	if _, err := r.wait(t.Context(), must(vm.PowerOff(t.Context()))); err != nil {
		t.Fatal(err)
	}
}

func fine(err error) bool { return err == nil }

// must is for calls that only fail when the simulator is broken.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
