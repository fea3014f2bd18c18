package simulator

import (
	"bytes"
	"testing"
	"time"

	vfault "github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/nfc"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// importVM makes a VM through a transfer lease and fills its disk.
func (r *running) importVM(t *testing.T, name string, folder *object.Folder) (*object.VirtualMachine, error) {
	t.Helper()
	spec, err := templateSpec(name, "ds1")
	if err != nil {
		t.Fatal(err)
	}
	pool := object.NewResourcePool(r.client.Client, r.find(t, "/dc1/host/c1/Resources"))
	lease, err := pool.ImportVApp(t.Context(), &types.VirtualMachineImportSpec{ConfigSpec: spec}, folder, nil)
	if err != nil {
		return nil, err
	}
	info := ready(t, lease)
	for _, d := range info.DeviceUrl {
		to, err := r.client.ParseURL(d.Url)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.client.Upload(t.Context(), bytes.NewReader([]byte("disk")), to, &soap.Upload{Method: "POST", ContentLength: 4}); err != nil {
			t.Fatalf("upload to %s: %v", d.Url, err)
		}
	}
	return r.vm(info.Entity), lease.Complete(t.Context())
}

func ready(t *testing.T, lease *nfc.Lease) *types.HttpNfcLeaseInfo {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		o, err := lease.Properties(t.Context(), "state", "info", "error")
		if err != nil || o.Error != nil {
			t.Fatalf("the lease is %+v, %v", o.Error, err)
		}
		if o.State == types.HttpNfcLeaseStateReady {
			return o.Info
		}
		if time.Now().After(deadline) {
			t.Fatalf("the lease is %s and does not become ready", o.State)
		}
	}
}

func TestAnImportedTemplateOutlivesAKill(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	folder := r.folder(t)
	vm, err := r.importVM(t, "flatcar-1.2.3", folder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.importVM(t, "flatcar-1.2.3", folder); !vfault.Is(err, &types.DuplicateName{}) {
		t.Errorf("a second import of the name: %v; want DuplicateName", err)
	}
	task, err := vm.CreateSnapshot(t.Context(), "base", "", false, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.wait(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	if err := vm.MarkAsTemplate(t.Context()); err != nil {
		t.Fatal(err)
	}

	again := start(t, Config{Dir: copyDir(t, r.cfg.Dir)})
	kept := again.vm(vm.Reference())
	p := again.properties(t, kept)
	if !p.Config.Template || p.Name != "flatcar-1.2.3" || p.Snapshot == nil || p.Snapshot.CurrentSnapshot == nil {
		t.Fatalf("after a kill it is %s, a template: %v, snapshot %v", p.Name, p.Config.Template, p.Snapshot)
	}
	where := object.NewFolder(again.client.Client, folder.Reference())
	if _, err := again.clone(t.Context(), kept, cloneSpec{name: "linked", folder: where, linked: true}); err != nil {
		t.Errorf("a linked clone of it: %v", err)
	}
	if _, err := again.clone(t.Context(), kept, cloneSpec{name: "full", folder: where}); err != nil {
		t.Errorf("a full clone of it: %v", err)
	}
}
