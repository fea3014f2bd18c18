package simulator

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// seen is what a client can tell of a VM.
type seen struct {
	Ref, Name, Folder, UUID, InstanceUUID, Annotation, Power, Address, Hostname, Tools string
	CPUs, Memory                                                                       int32
	Extra                                                                              map[string]string
	MACs, Disks, Networks                                                              []string
	EnableUUID                                                                         bool
}

func (r *running) see(t *testing.T, vm *object.VirtualMachine) seen {
	t.Helper()
	p := r.properties(t, vm)
	s := seen{
		Ref: p.Self.Value, Name: p.Name, Folder: p.Parent.Value, UUID: p.Config.Uuid, InstanceUUID: p.Config.InstanceUuid,
		Annotation: p.Config.Annotation, Power: string(p.Runtime.PowerState), Address: p.Guest.IpAddress, Hostname: p.Guest.HostName,
		Tools: p.Guest.ToolsRunningStatus, CPUs: p.Config.Hardware.NumCPU, Memory: p.Config.Hardware.MemoryMB, Extra: extraConfig(p),
		EnableUUID: p.Config.Flags.DiskUuidEnabled != nil && *p.Config.Flags.DiskUuidEnabled,
	}
	for _, d := range p.Config.Hardware.Device {
		switch x := d.(type) {
		case *types.VirtualVmxnet3:
			s.MACs = append(s.MACs, x.MacAddress)
		case *types.VirtualDisk:
			s.Disks = append(s.Disks, fmt.Sprintf("%d %d", x.Key, x.CapacityInBytes))
		}
	}
	for _, n := range p.Network {
		s.Networks = append(s.Networks, n.String())
	}
	return s
}

// copyDir takes the data folder as a kill -9 would leave it at this moment.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "datastore") || strings.Contains(path, "console") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, filepath.Base(path)), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	g := newGateway(t)
	folder := r.folder(t)
	inner, err := folder.CreateFolder(t.Context(), "inner")
	if err != nil {
		t.Fatal(err)
	}
	template := r.template(t, "flatcar-4593.2.5")
	vms := r.threeNodes(t, g, inner)
	r.reconfigure(t, vms[1])
	gone, err := r.clone(t.Context(), template, cloneSpec{name: "gone", folder: inner})
	if err != nil {
		t.Fatal(err)
	}
	r.destroy(t, gone)
	want := make([]seen, len(vms))
	for i, vm := range vms {
		want[i] = r.see(t, vm)
	}

	// Killed: the folder as it is while the first world still runs.
	cfg := Config{Dir: copyDir(t, r.cfg.Dir)}
	again := start(t, cfg)
	for i, vm := range vms {
		vm = again.vm(vm.Reference())
		// The tools report anew only when their guest boots anew; a restart
		// of the simulator is none, so that all must be as it was.
		if d := cmp.Diff(want[i], again.see(t, vm)); d != "" {
			t.Errorf("after a kill VM %d differs (-before +after):\n%s", i, d)
		}
		if ref := again.find(t, "/dc1/vm/web/inner/"+want[i].Name); ref != vm.Reference() {
			t.Errorf("%s found as %s; want %s", want[i].Name, ref, vm.Reference())
		}
	}
	if all, err := again.control.Machines(t.Context()); err != nil || len(all) != len(vms) {
		t.Errorf("Machines() = %d, %v; want %d", len(all), err, len(vms))
	}
	if ref := again.find(t, "/dc1/vm/flatcar-4593.2.5"); ref != template.Reference() {
		t.Errorf("template is %s after a restart; want %s", ref, template.Reference())
	}
	again.useRestored(t, inner, gone.Reference(), vms)
}

// threeNodes makes three nodes; the first and the last are on, the last is a
// linked clone.
func (r *running) threeNodes(t *testing.T, g *gateway, folder *object.Folder) []*object.VirtualMachine {
	t.Helper()
	var vms []*object.VirtualMachine
	for i, on := range []bool{true, false, true} {
		node, mac := fmt.Sprintf("web-edge-%d", i), fmt.Sprintf("02:00:00:00:00:0%d", i)
		vm, err := r.clone(t.Context(), r.template(t, "flatcar-4593.2.5"), cloneSpec{
			name: node, folder: folder, mac: mac, linked: i == 2,
			extra: guestinfo(ignitionConfig(node, g.URL, mac, fmt.Sprintf("10.20.30.4%d", i))),
		})
		if err != nil {
			t.Fatal(err)
		}
		vms = append(vms, vm)
		if !on {
			continue
		}
		if err := r.powerOn(t.Context(), vm); err != nil {
			t.Fatal(err)
		}
		r.machine(t, node, reported)
	}
	return vms
}

// useRestored does with restored VMs what one does with VMs.
func (r *running) useRestored(t *testing.T, folder *object.Folder, gone types.ManagedObjectReference, vms []*object.VirtualMachine) {
	t.Helper()
	folder = object.NewFolder(r.client.Client, folder.Reference())
	fresh, err := r.clone(t.Context(), r.template(t, "flatcar-4593.2.5"), cloneSpec{name: "web-edge-9", folder: folder})
	if err != nil {
		t.Fatalf("clone after a restart: %v", err)
	}
	if fresh.Reference() == gone {
		t.Errorf("a new VM got %s, which a destroyed one had", gone)
	}
	r.reconfigure(t, r.vm(vms[1].Reference()))
	for i, vm := range vms {
		vm = r.vm(vm.Reference())
		if i != 1 {
			if err := r.powerOff(t.Context(), vm); err != nil {
				t.Fatalf("power off a restored VM: %v", err)
			}
			eventually(t, "no address", func() bool { return r.properties(t, vm).Guest.IpAddress == "" })
		}
		if err := r.powerOn(t.Context(), vm); err != nil {
			t.Fatalf("power on a restored VM: %v", err)
		}
		r.machine(t, r.properties(t, vm).Name, func(m Machine) bool { return m.Phase == PhaseUp && m.Reported })
		if err := r.powerOff(t.Context(), vm); err != nil {
			t.Fatal(err)
		}
		r.destroy(t, vm)
	}
}

// reconfigure changes CPUs, grows the disk, and sets an option.
func (r *running) reconfigure(t *testing.T, vm *object.VirtualMachine) {
	t.Helper()
	devices, err := vm.Device(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	disk := devices.SelectByType((*types.VirtualDisk)(nil))[0].(*types.VirtualDisk)
	disk.CapacityInBytes += 5 << 30
	disk.CapacityInKB = disk.CapacityInBytes >> 10
	task, err := vm.Reconfigure(t.Context(), types.VirtualMachineConfigSpec{
		NumCPUs: 6, ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "yardmaster.epoch", Value: "7"}},
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: disk,
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.wait(t.Context(), task); err != nil {
		t.Fatalf("reconfigure: %v", err)
	}
	p := r.properties(t, vm)
	got := object.VirtualDeviceList(p.Config.Hardware.Device).SelectByType((*types.VirtualDisk)(nil))[0].(*types.VirtualDisk)
	if got.CapacityInBytes != disk.CapacityInBytes || p.Config.Hardware.NumCPU != 6 || extraConfig(p)["yardmaster.epoch"] != "7" {
		t.Errorf("reconfigured to %d bytes, %d CPUs, %v", got.CapacityInBytes, p.Config.Hardware.NumCPU, extraConfig(p)["yardmaster.epoch"])
	}
}

func (r *running) destroy(t *testing.T, vm *object.VirtualMachine) {
	t.Helper()
	task, err := vm.Destroy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.wait(t.Context(), task); err != nil {
		t.Fatalf("destroy: %v", err)
	}
	var out mo.VirtualMachine
	if err := vm.Properties(t.Context(), vm.Reference(), []string{"name"}, &out); err == nil {
		t.Errorf("%s is there after it was destroyed", vm.Reference())
	}
}

func TestRestartGoesOnWithTheBoot(t *testing.T) {
	t.Parallel()
	slow := Config{}
	slow.BootDelay.Duration = time.Hour
	r := start(t, slow)
	g := newGateway(t)
	g.answer(503)
	const node = "web-edge-0"
	vm, err := r.clone(t.Context(), r.template(t, "flatcar-4593.2.5"), cloneSpec{
		name: node, folder: r.folder(t), mac: "02:00:00:00:00:01",
		extra: guestinfo(ignitionConfig(node, g.URL, "02:00:00:00:00:01", "10.20.30.41")),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.powerOn(t.Context(), vm); err != nil {
		t.Fatal(err)
	}
	r.machine(t, node, func(m Machine) bool { return m.Phase == PhaseBooting })
	r.stop()

	second := start(t, Config{Dir: copyDir(t, r.cfg.Dir)})
	eventually(t, "a call", func() bool { return len(g.of(node)) > 0 })
	second.machine(t, node, func(m Machine) bool { return m.Phase == PhaseUp && !m.Reported })
	second.stop()

	g.answer(200)
	third := start(t, Config{Dir: copyDir(t, second.cfg.Dir)})
	third.machine(t, node, reported)
	if got := len(g.of(node)); got != 2 {
		t.Errorf("%d calls; want 2: one that failed, one after the restart", got)
	}
}

func TestThousandMachinesComeBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := Config{Dir: dir}.withDefaults()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	j, _, err := openJournal(t.Context(), cfg.journalFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := j.put(entry{Folder: &folder{Ref: "group-900", Name: "web", Parent: "none"}}); err != nil {
		t.Fatal(err)
	}
	const many = 1000
	for i := range many {
		m := machine{
			Ref: fmt.Sprintf("vm-%d", 1000+i), Name: fmt.Sprintf("web-edge-%d", i), Folder: "group-900", Power: "poweredOn",
			UUID: fmt.Sprintf("u-%d", i), InstanceUUID: fmt.Sprintf("i-%d", i), Path: fmt.Sprintf("[ds1] web-edge-%d/web-edge-%d.vmx", i, i),
			Extra: []option{{keyData, strings.Repeat("x", 8<<10)}}, NICs: []nic{{Key: 4000, MAC: "02:00:00:00:00:01", Name: vmNetwork}},
			Disks: []disk{{Key: 2000, Bytes: 12 << 30}}, Guest: guest{Phase: PhaseUp, Address: "10.0.0.1"},
		}
		if err := j.put(entry{Machine: &m}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	w, err := New(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d machines came back in %s", many, time.Since(begin))
	if got := w.machines(); len(got) != many || got[many-1].Name != "web-edge-999" || got[0].Address != "10.0.0.1" {
		t.Errorf("machines() = %d; want %d, in order", len(got), many)
	}
	if err := w.journal.close(); err != nil {
		t.Fatal(err)
	}
}
