package vcenter

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/executor/executortest"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/services/vsphere-executor/internal/image"
	"yardmaster.dev/services/vsphere-executor/internal/ova/ovatest"
)

// newHost is a world that is a lone host.
func newHost(t *testing.T) *world {
	t.Helper()
	making.Lock() // the simulator writes global variables when it is made
	defer making.Unlock()
	w := &world{model: simulator.ESX()}
	w.model.Machine = 0
	w.serve(t)
	return w
}

// stocked is a backend of a lone host that has the image of a release.
func (w *world) stocked(t *testing.T, p *publisher) *Backend {
	t.Helper()
	b := w.importing(t, p, t.TempDir())
	if s := bringOnce(t.Context(), b, permit); s.State != wire.ImageReady {
		t.Fatalf("the import ended as %+v", s)
	}
	t.Cleanup(func() { b.unstock(context.WithoutCancel(t.Context())) })
	return b
}

// onHost is the job of a node on a lone host.
func onHost(i, incarnation int) *executor.Task {
	t := jobOf(i, incarnation)
	v := *t.Job.VSphere
	v.Source.Template, v.Cluster = newTemplate, ""
	t.Job.VSphere, t.Job.OSVersion = &v, newRelease
	t.Job.Networks[0].Portgroup = "VM Network"
	return t
}

func TestBackendOfALoneHost(t *testing.T) {
	t.Parallel()
	p := newPublisher(t, ovatest.Options{})
	executortest.Run(t, func(t *testing.T) executortest.World {
		t.Helper()
		w := newHost(t)
		b := w.stocked(t, p)
		out := w.suite(t, b)
		out.Task = onHost
		return out
	})
}

func TestAnUploadHasAllThatACloneHas(t *testing.T) {
	t.Parallel()
	w, p := newHost(t), newPublisher(t, ovatest.Options{DiskBytes: 300 << 10})
	b := w.stocked(t, p)
	job := onHost(0, 1)
	job.Job.VSphere.Disks = []fleet.Disk{{Size: "1Gi"}}
	for range 2 { // the second time it is found
		if _, err := b.Create(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	}
	vms := w.all(t)
	whole(t, vms, 0)
	vm := vms["web-edge-0"]
	if h := vm.Config.Hardware; h.NumCPU != 3 || h.MemoryMB != 2048 || countDisks(h.Device) != 2 || disk(h.Device).CapacityInBytes != 20<<30 {
		t.Errorf("it has %d CPUs, %d MiB, %d disks, the first of %d bytes", h.NumCPU, h.MemoryMB, countDisks(h.Device), disk(h.Device).CapacityInBytes)
	}
	if vm.Config.InstanceUuid != job.Job.MachineUUID || extra(vm)[keyOwner] != job.Owner.String() || vm.Config.VAppConfig != nil {
		t.Errorf("its UUID is %s, its owner %s, its vApp config %v", vm.Config.InstanceUuid, extra(vm)[keyOwner], vm.Config.VAppConfig)
	}
	if !thinDisk(vm.Config.Hardware.Device) {
		t.Error("its disk is not thin")
	}
	if up := b.uploads.list(); len(up) > 0 {
		t.Errorf("still on their way: %v", up)
	}
}

func thinDisk(devices object.VirtualDeviceList) bool {
	f, ok := disk(devices).Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	return ok && f.ThinProvisioned != nil && *f.ThinProvisioned
}

// TestOneUploadPerNode crashes executors at every step and in the middle of
// uploads; what they leave half-made is made anew.
func TestOneUploadPerNode(t *testing.T) {
	t.Parallel()
	const nodes, executors, crashes, foreignNode = 12, 3, 3, 9
	w, p := newHost(t), newPublisher(t, ovatest.Options{DiskBytes: 256 << 10})
	w.foreign(t, "web-edge-9")
	var group sync.WaitGroup
	for e := range executors {
		group.Go(func() {
			for life := range nodes * crashes {
				w.crashingUpload(t, p, life/crashes, e)
			}
		})
	}
	group.Wait()
	b := w.stocked(t, p)
	for i := range nodes {
		_, err := b.Create(t.Context(), onHost(i, 1))
		if i == foreignNode {
			wantFault(t, err, fault.Permanent, fault.NameTaken)
		} else if err != nil {
			t.Errorf("Create(%d) after the crashes: %v", i, err)
		}
	}
	vms := w.all(t) // fails on two of one name
	if len(vms) != nodes {
		t.Errorf("%d VMs; want %d", len(vms), nodes)
	}
	if vm := vms["web-edge-9"]; isOn(vm) || extra(vm)[keyOwner] != "" {
		t.Errorf("the foreign VM was touched: %v", vm.Self)
	}
	for i := range nodes {
		if i != foreignNode {
			whole(t, vms, i)
		}
	}
}

func (w *world) crashingUpload(t *testing.T, p *publisher, i, by int) {
	t.Helper()
	b := w.stocked(t, p)
	defer b.Close(context.WithoutCancel(t.Context()))
	ctx, crash := context.WithTimeoutCause(t.Context(), time.Duration(rand.Int64N(int64(100*time.Millisecond))), errCrash)
	defer crash()
	job := onHost(i, 1)
	job.Epoch = int64(by + 1)
	job.Permit = func(ctx context.Context) error {
		if rand.IntN(4) == 0 {
			crash()
		}
		return context.Cause(ctx)
	}
	_, _ = b.Create(ctx, job) // what came of it shows in the end
}

// foreign makes a VM of that name that is nobody's.
func (w *world) foreign(t *testing.T, name string) {
	t.Helper()
	c := w.client.Client
	folder := object.NewFolder(c, types.ManagedObjectReference{Type: "Folder", Value: "ha-folder-vm"})
	pool := object.NewResourcePool(c, types.ManagedObjectReference{Type: "ResourcePool", Value: "ha-root-pool"})
	done(t)(folder.CreateVM(t.Context(), types.VirtualMachineConfigSpec{
		Name: name, GuestId: "otherGuest", Files: &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0]"},
	}, pool, nil))
}

// A VM whose upload was cut off is ours, and is removed with its node.
func TestAHalfMadeUploadIsRemoved(t *testing.T) {
	t.Parallel()
	w := newHost(t)
	b := w.stocked(t, newPublisher(t, ovatest.Options{}))
	w.cutOff(t, b)
	if err := b.Delete(t.Context(), onHost(0, 1)); err != nil {
		t.Fatal(err)
	}
	if left := w.all(t); len(left) > 0 {
		t.Errorf("%d VMs are left", len(left))
	}
}

// Nobody knows how much of a disk is there: it is sent again.
func TestAHalfMadeUploadIsMadeAnew(t *testing.T) {
	t.Parallel()
	w := newHost(t)
	b := w.stocked(t, newPublisher(t, ovatest.Options{}))
	left := w.cutOff(t, b)
	made, err := b.Create(t.Context(), onHost(0, 1))
	if err != nil || made.ID == left || made.Adopted {
		t.Errorf("Create = %+v, %v; want another VM than %s", made, err, left)
	}
	whole(t, w.all(t), 0)
}

// cutOff leaves a half-made VM, which is off and has no config.
func (w *world) cutOff(t *testing.T, b *Backend) string {
	t.Helper()
	task, calls := onHost(0, 1), 0
	task.Permit = func(context.Context) error {
		if calls++; calls > 1 {
			return fault.New(fault.Cancelled, fault.Stopped, errCrash)
		}
		return nil
	}
	if _, err := b.Create(t.Context(), task); fault.Of(err).Kind != fault.Cancelled {
		t.Fatalf("Create = %v; want it stopped after the upload", err)
	}
	vm := w.all(t)["web-edge-0"]
	if isOn(vm) || extra(vm)[keyOwner] == "" || extra(vm)["guestinfo.ignition.config.data"] != "" {
		t.Errorf("the half-made VM is on (%v) or has a config", isOn(vm))
	}
	return vm.Self.Value
}

func TestALoneHostRefusesWhatItLacks(t *testing.T) {
	t.Parallel()
	w, p := newHost(t), newPublisher(t, ovatest.Options{})
	b := w.stocked(t, p)
	job := onHost(0, 1)
	v := job.Job.VSphere
	v.Cluster, v.Tags, v.Folder = "c1", []string{"env/prod"}, "other"
	_, err := b.Create(t.Context(), job)
	wantFault(t, err, fault.Permanent, fault.SpecUnsupported, "lone ESXi", "vsphere.cluster, vsphere.folder, vsphere.tags")
	job = onHost(0, 1)
	job.Job.VSphere.Folder = job.Job.Fleet // the default
	if _, err := b.Create(t.Context(), job); err != nil {
		t.Errorf("Create: %v", err)
	}
	job = onHost(1, 1)
	job.Job.VSphere.Source.Template, job.Job.OSVersion = "my-own", newRelease
	_, err = b.Create(t.Context(), job)
	wantFault(t, err, fault.Permanent, fault.TemplateMissing, "my-own")
}

// A job of a lone host has its image fetched first; what lies in the store when
// an executor begins is checked, even where nothing can be fetched.
func TestALoneHostKeepsItsImages(t *testing.T) {
	t.Parallel()
	w, p := newHost(t), newPublisher(t, ovatest.Options{})
	dir := t.TempDir()
	b := w.importing(t, p, dir)
	b.sweepEvery /= 100
	states, stop := startImports(t, b)
	defer stop()
	_, err := b.Create(t.Context(), onHost(0, 1))
	wantFault(t, err, fault.Busy, fault.ImageImporting, newTemplate)
	waitFor(t, func() bool { return states()[newTemplate].State == wire.ImageReady })
	if s := states()[newTemplate]; s.Fingerprint != p.key.Fingerprint {
		t.Errorf("the image is %+v; want its signer", s)
	}
	if _, err := b.Create(t.Context(), onHost(0, 1)); err != nil {
		t.Fatal(err)
	}
	stop() // the images are free for whoever has the seat next
	if err := os.RemoveAll(filepath.Join(p.dir, newRelease)); err != nil {
		t.Fatal(err)
	}
	again := w.importing(t, p, dir)
	again.sweepEvery /= 100
	later := runImports(t, again)
	waitFor(t, func() bool { return later()[newTemplate].State == wire.ImageReady })
	if _, err := again.Create(t.Context(), onHost(1, 1)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, newTemplate+".ova")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return later()[newTemplate].State != wire.ImageReady })
}

// An executor that just began knows what was asked for, and has not checked it
// yet: its jobs wait.
func TestALoneHostsImagesAreCheckedAfterAStart(t *testing.T) {
	t.Parallel()
	w, p := newHost(t), newPublisher(t, ovatest.Options{})
	b := w.backend(t)
	b.imports = newImports(&image.Store{Dir: t.TempDir()})
	lab := fleet.Image{Name: "lab", From: filepath.Join(p.dir, newRelease, fleet.ImageFile), Unsigned: true, SHA256: fmt.Sprintf("%x", sha256.Sum256(p.body))}
	job := onHost(0, 1)
	job.Job.VSphere.Source.Template = lab.Name
	_, err := b.Create(t.Context(), job)
	wantFault(t, err, fault.Permanent, fault.TemplateMissing, lab.Name)
	b.Want([]plan.WantedImage{{Image: lab, Asked: time.Now()}})
	_, err = b.Create(t.Context(), job)
	wantFault(t, err, fault.Busy, fault.ImageImporting, lab.Name)
	b.sweepEvery /= 100
	states := runImports(t, b)
	waitFor(t, func() bool { return states()[lab.Name].State == wire.ImageReady })
	if _, err := b.Create(t.Context(), job); err != nil {
		t.Error(err)
	}
}

// What was put in place of an image is refused, and removed.
func TestALoneHostTrustsNoFileOfItsStore(t *testing.T) {
	t.Parallel()
	w, p := newHost(t), newPublisher(t, ovatest.Options{})
	dir := t.TempDir()
	file := filepath.Join(dir, newTemplate+".ova")
	if err := os.WriteFile(file, ovatest.Make(ovatest.Options{DiskBytes: 1024}), 0o600); err != nil {
		t.Fatal(err)
	}
	b := w.importing(t, p, dir)
	if s := bringOnce(t.Context(), b, permit); s.State != wire.ImageFailed || s.Reason != fault.ImageUntrusted {
		t.Errorf("another file in the store: %+v", s)
	}
	if names := (&image.Store{Dir: dir}).Names(); slices.Contains(names, newTemplate) {
		t.Errorf("the store still has %v", names)
	}
}

// Who finds no turn is sent away for a while, with a word of why.
func TestUploadsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	w, p := newHost(t), newPublisher(t, ovatest.Options{})
	b := w.stocked(t, p)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	err := b.with(ctx, func(c *connection) error {
		for _, machine := range []string{"a", "b"} { // so many are sent at a time
			if _, err := c.uploadTurn(ctx); err != nil {
				return err
			}
			c.uploads.begin(machine, newTemplate)
		}
		c.turnWait = time.Millisecond
		_, err := c.uploadTurn(ctx)
		return err
	})
	wantFault(t, err, fault.Busy, fault.UploadWaiting, "2 other machines")
	if f := fault.Of(err); f.RetryAfter <= 0 || !strings.Contains(f.Error(), "on their way") {
		t.Errorf("it is sent away for %s: %v", f.RetryAfter, f)
	}
}

func TestAFreeLicenceIsNamed(t *testing.T) {
	t.Parallel()
	err := classify(callFault(&types.RestrictedVersion{}))
	wantFault(t, err, fault.Permanent, fault.PermissionDenied)
	if hint := fault.Of(err).Hint; !strings.Contains(hint, "free licence") {
		t.Errorf("the hint is %q", hint)
	}
}

func TestExamineKnowsALoneHost(t *testing.T) {
	t.Parallel()
	w, p := newHost(t), newPublisher(t, ovatest.Options{})
	b := w.stocked(t, p)
	good, bad := onHost(0, 1), onHost(1, 1)
	bad.Job.Pool, bad.Job.VSphere.Cluster, bad.Job.VSphere.Source.Template = "bad", "c1", "lab"
	checks := b.Examine(t.Context(), []*plan.Job{good.Job})
	for _, c := range checks {
		if c.GetLevel() == LevelFail {
			t.Errorf("Examine found %s: %s", c.GetWhat(), c.GetWords())
		}
	}
	if finding(checks, LevelOK, "images", newTemplate) == nil || finding(checks, LevelOK, "image "+newTemplate, "checked") == nil {
		t.Errorf("Examine says nothing of the image: %v", checks)
	}
	checks = b.Examine(t.Context(), []*plan.Job{bad.Job})
	if finding(checks, LevelFail, "pool", "vsphere.cluster") == nil || finding(checks, LevelFail, "image lab", "does not keep") == nil {
		t.Errorf("Examine of a pool that does not fit: %v", checks)
	}
}
