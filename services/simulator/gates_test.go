package simulator

import (
	"testing"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// A datastore fills up: what has no room is refused, what is removed makes
// room, and clients see how much there is.
func TestDatastoreFillsUp(t *testing.T) { //nolint:gocyclo // one story, told in order
	t.Parallel()
	r := start(t, Config{Inventory: Inventory{DatastoreSize: "50Gi"}}) // two templates of 12.5 GiB
	folder, template := r.folder(t), r.template(t, "flatcar-4593.2.5")
	free := func() int64 {
		t.Helper()
		var ds mo.Datastore
		if err := r.client.RetrieveOne(t.Context(), r.inv.datastore.Self, []string{"summary"}, &ds); err != nil {
			t.Fatal(err)
		}
		return ds.Summary.FreeSpace >> 20
	}
	clone := func(name string, linked bool) (*object.VirtualMachine, error) {
		return r.clone(t.Context(), template, cloneSpec{name: name, folder: folder, linked: linked})
	}
	first, err := clone("first", false)
	if err != nil {
		t.Fatal(err)
	}
	if got := free(); got != 12800 {
		t.Errorf("%d MiB are free beside three disks of 12800; want 12800", got)
	}
	if _, err := r.wait(t.Context(), must(first.Reconfigure(t.Context(), types.VirtualMachineConfigSpec{DeviceChange: r.grown(t, first, 30<<30)}))); !isFault[*types.NoDiskSpace](err) {
		t.Errorf("a disk that grows beyond the datastore = %v; want NoDiskSpace", err)
	}
	if _, err := clone("second", false); err != nil {
		t.Errorf("a clone that just fits: %v", err)
	}
	_, err = clone("third", false)
	var full *types.NoDiskSpace
	if _, ok := fault.As(err, &full); !ok || full.Datastore != "ds1" {
		t.Errorf("a clone beyond that = %v; want NoDiskSpace of ds1", err)
	}
	if _, err := clone("linked", true); err != nil {
		t.Errorf("a linked clone, which takes nothing: %v", err)
	}
	if _, err := r.importVM(t, "imported", folder); !isFault[*types.NoDiskSpace](err) {
		t.Errorf("an import into a full datastore = %v; want NoDiskSpace", err)
	}
	if _, err := r.wait(t.Context(), must(first.Destroy(t.Context()))); err != nil {
		t.Fatal(err)
	}
	again := start(t, Config{Dir: copyDir(t, r.cfg.Dir), Inventory: r.cfg.Inventory})
	if got, kept := free(), again.room.free()>>20; got != 12800 || kept != got {
		t.Errorf("%d MiB are free once one is removed, %d after a kill; want 12800", got, kept)
	}
	if _, err := clone("third", false); err != nil {
		t.Errorf("a clone into the room of what was removed: %v", err)
	}
	if ds, err := r.control.SetDatastoreSize(t.Context(), "1Gi"); err != nil || ds.Free != "0Mi" || free() != 0 {
		t.Errorf("a datastore made too small: %+v, %v; want nothing free", ds, err)
	}
	if _, err := r.control.SetDatastoreSize(t.Context(), ""); err == nil {
		t.Error("a datastore of no size was accepted")
	}
}

// grown is the change that makes a VM's disk larger.
func (r *running) grown(t *testing.T, vm *object.VirtualMachine, bytes int64) []types.BaseVirtualDeviceConfigSpec {
	t.Helper()
	devices, err := vm.Device(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	disk, ok := devices.SelectByType((*types.VirtualDisk)(nil))[0].(*types.VirtualDisk)
	if !ok {
		t.Fatal("the VM has no disk")
	}
	disk.CapacityInBytes, disk.CapacityInKB = bytes, bytes>>10
	return []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: disk}}
}

// Every privilege that docs/operate.md asks for and a call takes: without it
// the call is refused by its name, and nothing happens.
func TestCallsNeedTheirRights(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	folder, template := r.folder(t), r.template(t, "flatcar-4593.2.5")
	vm, err := r.clone(t.Context(), template, cloneSpec{name: "x", folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	clone := func() error {
		_, err := r.clone(t.Context(), template, cloneSpec{name: "y", folder: folder, extra: map[string]string{"a": "b"}})
		return err
	}
	change := func(spec types.VirtualMachineConfigSpec) func() error {
		return func() error { _, err := vm.Reconfigure(t.Context(), spec); return err }
	}
	for _, c := range []struct {
		privilege, on string
		call          func() error
	}{
		{"VirtualMachine.Provisioning.DeployTemplate", "flatcar-4593.2.5", clone},
		{"VirtualMachine.Inventory.CreateFromExisting", "web", clone},
		{"Datastore.AllocateSpace", "ds1", clone},
		{"Resource.AssignVMToPool", "Resources", clone},
		{"VirtualMachine.Config.AdvancedConfig", "web", clone},
		{"VirtualMachine.Config.CPUCount", "dc1", clone},
		{"VirtualMachine.Config.Memory", "", clone},
		{"VirtualMachine.Interact.PowerOn", "web", func() error { _, err := vm.PowerOn(t.Context()); return err }},
		{"VirtualMachine.Interact.PowerOff", "x", func() error { _, err := vm.PowerOff(t.Context()); return err }},
		{"VirtualMachine.Interact.Reset", "x", func() error { _, err := vm.Reset(t.Context()); return err }},
		{"VirtualMachine.Inventory.Delete", "web", func() error { _, err := vm.Destroy(t.Context()); return err }},
		{"VirtualMachine.Inventory.Unregister", "web", func() error { return vm.Unregister(t.Context()) }},
		{"VirtualMachine.Provisioning.MarkAsTemplate", "web", func() error { return vm.MarkAsTemplate(t.Context()) }},
		{"VirtualMachine.State.CreateSnapshot", "web", func() error { _, err := vm.CreateSnapshot(t.Context(), "s", "", false, false); return err }},
		{"Folder.Create", "dc1", func() error { _, err := folder.CreateFolder(t.Context(), "below"); return err }},
		{"Folder.Delete", "web", func() error { _, err := folder.Destroy(t.Context()); return err }},
		{"VApp.Import", "Resources", func() error { _, err := r.importVM(t, "z", folder); return err }},
		{"VirtualMachine.Config.Annotation", "x", change(types.VirtualMachineConfigSpec{Annotation: "a"})},
		{"VirtualMachine.Config.DiskExtend", "x", change(types.VirtualMachineConfigSpec{DeviceChange: r.grown(t, vm, 20<<30)})},
	} {
		if err := r.control.SetDenied(t.Context(), Denial{Privilege: c.privilege, On: c.on}); err != nil {
			t.Fatal(err)
		}
		err := c.call()
		var lacks *types.NoPermission
		if _, ok := fault.As(err, &lacks); !ok || lacks.PrivilegeId != c.privilege || lacks.Object == nil {
			t.Errorf("without %s on %s: %v (%+v); want NoPermission of it", c.privilege, c.on, err, lacks)
		}
	}
	// On another object it is no matter.
	if err := r.control.SetDenied(t.Context(), Denial{Privilege: "VirtualMachine.*", On: "elsewhere"}); err != nil {
		t.Fatal(err)
	}
	if err := clone(); err != nil {
		t.Errorf("a clone without rights elsewhere: %v", err)
	}
}

// Who changes what somebody else has changed since is told.
func TestStaleChangeIsRefused(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	vm, err := r.clone(t.Context(), r.template(t, "flatcar-4593.2.5"), cloneSpec{name: "x", folder: r.folder(t)})
	if err != nil {
		t.Fatal(err)
	}
	change := func(version, note string) error {
		_, err := r.wait(t.Context(), must(vm.Reconfigure(t.Context(), types.VirtualMachineConfigSpec{ChangeVersion: version, Annotation: note})))
		return err
	}
	if err := change("", "first"); err != nil {
		t.Fatal(err)
	}
	seen := r.properties(t, vm).Config.ChangeVersion
	if err := change(seen, "second"); err != nil || seen == "" {
		t.Errorf("a change of version %q, the newest: %v", seen, err)
	}
	if err := change(seen, "third"); !isFault[*types.ConcurrentAccess](err) {
		t.Errorf("a change of a version that is gone = %v; want ConcurrentAccess", err)
	}
	if note := r.properties(t, vm).Config.Annotation; note != "second" {
		t.Errorf("the VM says %q; want what came second", note)
	}
}
