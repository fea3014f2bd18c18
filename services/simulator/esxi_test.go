package simulator

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"

	vfault "github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/nfc"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// begin begins an import into a lone host, whose lease has no host in its URLs.
func (r *running) begin(t *testing.T, name string) (*nfc.Lease, *types.HttpNfcLeaseInfo) {
	t.Helper()
	spec, err := templateSpec(name, "ds1")
	if err != nil {
		t.Fatal(err)
	}
	pool := object.NewResourcePool(r.client.Client, r.inv.pool.Self)
	lease, err := pool.ImportVApp(t.Context(), &types.VirtualMachineImportSpec{ConfigSpec: spec}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return lease, ready(t, lease)
}

func (r *running) fill(t *testing.T, lease *nfc.Lease, info *types.HttpNfcLeaseInfo) {
	t.Helper()
	for _, d := range info.DeviceUrl {
		if !strings.HasPrefix(d.Url, "https://*/") {
			t.Errorf("the lease's URL is %s; want a host's, with * for its name", d.Url)
		}
		to, err := r.client.ParseURL(d.Url)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.client.Upload(t.Context(), bytes.NewReader([]byte("disk")), to, &soap.Upload{Method: "POST", ContentLength: 4}); err != nil {
			t.Fatalf("upload to %s: %v", to, err)
		}
	}
	if err := lease.Complete(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestALoneHostMakesMachinesOfUploads(t *testing.T) {
	t.Parallel()
	r := start(t, Config{ESXi: true})
	if about := r.client.ServiceContent.About; about.ApiType != "HostAgent" || r.client.ServiceContent.CustomFieldsManager != nil {
		t.Errorf("it calls itself %s; want a host without custom attributes", about.ApiType)
	}
	lease, info := r.begin(t, "web-edge-0")
	vm := r.vm(info.Entity)
	if _, err := r.wait(t.Context(), must(vm.PowerOn(t.Context()))); !vfault.Is(err, &types.InvalidState{}) {
		t.Errorf("a machine whose disk is on its way was switched on: %v; want InvalidState", err)
	}
	r.fill(t, lease, info)
	if _, err := r.wait(t.Context(), must(vm.PowerOn(t.Context()))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "address", func() bool { return r.properties(t, vm).Guest.IpAddress != "" })

	again := start(t, Config{ESXi: true, Dir: copyDir(t, r.cfg.Dir)})
	if p := again.properties(t, again.vm(info.Entity)); p.Name != "web-edge-0" || p.Guest.IpAddress == "" {
		t.Errorf("after a kill it is %s with the address %q", p.Name, p.Guest.IpAddress)
	}
}

func TestALoneHostRefusesWhatNeedsAVCenter(t *testing.T) {
	t.Parallel()
	r := start(t, Config{ESXi: true})
	lease, info := r.begin(t, "web-edge-0")
	r.fill(t, lease, info)
	vm, root := r.vm(info.Entity), object.NewFolder(r.client.Client, r.inv.vmFolder.Self)
	_, clone := vm.Clone(t.Context(), root, "copy", types.VirtualMachineCloneSpec{})
	_, folder := root.CreateFolder(t.Context(), "web")
	_, relocate := vm.Relocate(t.Context(), types.VirtualMachineRelocateSpec{}, types.VirtualMachineMovePriorityDefaultPriority)
	_, recommend := object.NewStorageResourceManager(r.client.Client).RecommendDatastores(t.Context(), types.StoragePlacementSpec{})
	for call, err := range map[string]error{
		"CloneVM": clone, "MarkAsTemplate": vm.MarkAsTemplate(t.Context()), "CreateFolder": folder, "RelocateVM": relocate,
		"RecommendDatastores": recommend,
	} {
		if !vfault.Is(err, &types.NotSupported{}) {
			t.Errorf("%s = %v; want NotSupported", call, err)
		}
	}
	err := rest.NewClient(r.client.Client).Login(t.Context(), url.UserPassword(DefaultUser, DefaultSecret))
	if !rest.IsStatusError(err, http.StatusNotFound) {
		t.Errorf("a REST session: %v; want 404", err)
	}
}
