package simulator

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// cloneLarger clones as an executor does: one spec with the template's own
// devices, edited.
func (r *running) cloneLarger(ctx context.Context, c cloneSpec, size int64) (*object.VirtualMachine, error) {
	template := r.vm(r.inv.templates[0].Self)
	spec, err := r.cloneRequest(ctx, template, c)
	if err != nil {
		return nil, err
	}
	devices, err := template.Device(ctx)
	if err != nil {
		return nil, err
	}
	disk := devices.SelectByType((*types.VirtualDisk)(nil))[0].(*types.VirtualDisk)
	disk.CapacityInBytes, disk.CapacityInKB = size, size>>10
	spec.Config.DeviceChange = append(spec.Location.DeviceChange, &types.VirtualDeviceConfigSpec{
		Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: disk,
	})
	spec.Location.DeviceChange = nil
	task, err := template.Clone(ctx, c.folder, c.name, spec)
	if err != nil {
		return nil, err
	}
	ref, err := r.wait(ctx, task)
	return r.vm(ref), err
}

// TestDestroyedCloneLeavesTheTemplate clones with a larger disk again and
// again: govmomi's simulator would have removed the template's disk with the
// first clone, and made the next ones without.
func TestDestroyedCloneLeavesTheTemplate(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	folder := r.folder(t)
	const mac = "02:00:00:00:00:01"
	var first seen
	for i := range 3 {
		vm, err := r.cloneLarger(t.Context(), cloneSpec{name: "x", folder: folder, mac: mac}, 20<<30)
		if err != nil {
			t.Fatal(err)
		}
		got := r.see(t, vm)
		if len(got.Disks) != 1 || len(got.MACs) != 1 || got.MACs[0] != mac || diskSize(new(r.properties(t, vm)), diskKey(t, r.properties(t, vm).Config)) != 20<<30 {
			t.Errorf("clone %d has MACs %v and disks %v; want one of each, as asked for", i, got.MACs, got.Disks)
		}
		if i == 0 {
			first = got
		}
		if d := cmp.Diff(first.Disks, got.Disks); d != "" {
			t.Errorf("clone %d differs from the first (-first +got):\n%s", i, d)
		}
		r.reconfigure(t, vm)
		r.destroy(t, vm)
	}
	if _, err := r.cloneLarger(t.Context(), cloneSpec{name: "x", folder: folder}, 1<<30); !isFault[*types.InvalidDeviceOperation](err) {
		t.Errorf("clone with a smaller disk = %v; want InvalidDeviceOperation", err)
	}
}

func diskKey(t *testing.T, config *types.VirtualMachineConfigInfo) int32 {
	t.Helper()
	disks := object.VirtualDeviceList(config.Hardware.Device).SelectByType((*types.VirtualDisk)(nil))
	if len(disks) != 1 {
		t.Fatalf("%d disks; want 1", len(disks))
	}
	return disks[0].GetVirtualDevice().Key
}

// TestPanicIsAFault asks for a network that is not there, of which the
// simulator takes no notice until it looks into it.
func TestPanicIsAFault(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	vm, err := r.clone(t.Context(), r.template(t, "flatcar-4593.2.5"), cloneSpec{name: "x", folder: r.folder(t)})
	if err != nil {
		t.Fatal(err)
	}
	devices, err := vm.Device(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := r.see(t, vm)
	card := devices.SelectByType((*types.VirtualVmxnet3)(nil))[0]
	card.GetVirtualDevice().Backing = &types.VirtualEthernetCardNetworkBackingInfo{
		VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: "none of ours"},
	}
	task, err := vm.Reconfigure(t.Context(), types.VirtualMachineConfigSpec{
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: card,
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.wait(t.Context(), task); !isFault[*types.SystemError](err) {
		t.Errorf("reconfigure onto a missing network = %v; want SystemError", err)
	}
	if d := cmp.Diff(before, r.see(t, vm)); d != "" {
		t.Errorf("the VM changed all the same (-before +after):\n%s", d)
	}
	if err := r.powerOn(t.Context(), vm); err != nil {
		t.Errorf("power on afterwards: %v: the VM hangs", err)
	}
}
