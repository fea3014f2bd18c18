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
	nics := inOrder(cards(devices), []string{"02:00:00:00:00:07", "02:00:00:01:00:07"})
	if len(nics) != 2 {
		t.Fatalf("%d network cards; want 2", len(nics))
	}
	nic, second := nics[0].GetVirtualEthernetCard(), nics[1].GetVirtualEthernetCard()
	_, dvs := nic.Backing.(*types.VirtualEthernetCardDistributedVirtualPortBackingInfo)
	standard, _ := second.Backing.(*types.VirtualEthernetCardNetworkBackingInfo)
	got := map[string]any{
		"uuid": vm.Config.InstanceUuid, "cpus": vm.Config.Hardware.NumCPU, "memory": vm.Config.Hardware.MemoryMB,
		"disk": disk(devices).CapacityInBytes, "diskKB": disk(devices).CapacityInKB,
		"mac": nic.MacAddress, "portgroup": dvs, "mac 1": second.MacAddress, "network 1": standard != nil && standard.DeviceName == "VM Network",
	}
	want := map[string]any{
		"uuid": "00000000-0000-4000-8000-000001000007", "cpus": int32(3), "memory": int32(2048),
		"disk": int64(20 << 30), "diskKB": int64(20 << 20), "mac": "02:00:00:00:00:07", "portgroup": true, "mac 1": "02:00:00:01:00:07", "network 1": true,
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

// TestNetworksOfEveryKind: the second card's network may be of any kind.
func TestNetworksOfEveryKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	for i, portgroup := range []string{"VM Network", "DC0_DVPG0", "DC0_NSX0"} {
		job := jobOf(i, 1)
		job.Job.Networks[1].Portgroup = portgroup
		if _, err := b.Create(t.Context(), job); err != nil {
			t.Errorf("Create on %s: %v", portgroup, err)
			continue
		}
		nic := inOrder(cards(w.all(t)[name(job)].Config.Hardware.Device), []string{job.Job.MAC, job.Job.Networks[1].MAC})[1]
		_, standard := nic.GetVirtualEthernetCard().Backing.(*types.VirtualEthernetCardNetworkBackingInfo)
		if standard != (portgroup == "VM Network") {
			t.Errorf("on %s the card has a %T", portgroup, nic.GetVirtualEthernetCard().Backing)
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
