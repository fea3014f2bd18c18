package vcenter

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

func TestCreateMakesTheMachineAsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	made, err := b.Create(t.Context(), jobOf(7, 1))
	if err != nil {
		t.Fatal(err)
	}
	if made.Adopted {
		t.Error("a new machine was reported as adopted")
	}
	vm, ok := w.all(t)["web-edge-7"]
	if !ok || !isOn(vm) {
		t.Fatalf("web-edge-7 exists %v, on %v; want both", ok, ok && isOn(vm))
	}
	if vm.Self.Value != made.ID {
		t.Errorf("machine ID %s; want %s", made.ID, vm.Self.Value)
	}
	devices := object.VirtualDeviceList(vm.Config.Hardware.Device)
	nic := card(devices).GetVirtualEthernetCard()
	_, dvs := nic.Backing.(*types.VirtualEthernetCardDistributedVirtualPortBackingInfo)
	got := map[string]any{
		"uuid": vm.Config.InstanceUuid, "cpus": vm.Config.Hardware.NumCPU, "memory": vm.Config.Hardware.MemoryMB,
		"disk": disk(devices).CapacityInBytes, "diskKB": disk(devices).CapacityInKB,
		"mac": nic.MacAddress, "portgroup": dvs, "cards": len(devices.SelectByType((*types.VirtualEthernetCard)(nil))),
	}
	want := map[string]any{
		"uuid": "00000000-0000-4000-8000-000001000007", "cpus": int32(3), "memory": int32(2048),
		"disk": int64(20 << 30), "diskKB": int64(20 << 20), "mac": "02:00:00:00:00:07", "portgroup": true, "cards": 1,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error("machine (-want +got):\n" + d)
	}
	values := extra(vm)
	for key, value := range map[string]string{
		"guestinfo.ignition.config.data": "ZGF0YQ==", "guestinfo.ignition.config.data.encoding": "base64",
		"guestinfo.afterburn.initrd.network-kargs": "ip=10.0.0.10::10.0.0.1:24:web-edge-0::none",
		"disk.EnableUUID":                          "TRUE", keyOwner: "yard-1/uid-1/edge-7/1", keyEpoch: "1", keyConfig: "d1",
	} {
		if values[key] != value {
			t.Errorf("extra config %s = %q; want %q", key, values[key], value)
		}
	}
}

func TestLifeTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	ctx := t.Context()
	first, err := b.Create(ctx, jobOf(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.Create(ctx, jobOf(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	if !second.Adopted || second.ID != first.ID {
		t.Errorf("second Create = %+v; want the first one's machine %s, adopted", second, first.ID)
	}
	for range 2 {
		if err := b.Blank(ctx, jobOf(1, 1)); err != nil {
			t.Fatal(err)
		}
		values := extra(w.all(t)["web-edge-1"])
		if values["guestinfo.ignition.config.data"] != "" || values["guestinfo.ignition.config.data.encoding"] != "" {
			t.Errorf("config is still there after Blank")
		}
	}
	for range 2 {
		if err := b.Delete(ctx, jobOf(1, 1)); err != nil {
			t.Fatal(err)
		}
		if n := len(w.all(t)); n != 0 {
			t.Errorf("%d VMs after Delete; want none", n)
		}
	}
}
