package vcenter

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vapi/rest"
	_ "github.com/vmware/govmomi/vapi/simulator" // the REST interface
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// furnish makes what the placed jobs name: a resource pool in another, a
// datastore cluster, a tag and a custom attribute.
func (w *world) furnish(t *testing.T) *tags.Manager {
	t.Helper()
	ctx, c := t.Context(), w.client.Client
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	finder := find.NewFinder(c)
	dc, err := finder.DefaultDatacenter(ctx)
	must(err)
	finder.SetDatacenter(dc)
	root, err := finder.ResourcePool(ctx, "DC0_C0/Resources")
	must(err)
	prod, err := root.Create(ctx, "prod", types.DefaultResourceConfigSpec())
	must(err)
	_, err = prod.Create(ctx, "web", types.DefaultResourceConfigSpec())
	must(err)
	folders, err := dc.Folders(ctx)
	must(err)
	pod, err := folders.DatastoreFolder.CreateStoragePod(ctx, "fast")
	must(err)
	store, err := finder.Datastore(ctx, "LocalDS_0")
	must(err)
	done(t)(pod.MoveInto(ctx, []types.ManagedObjectReference{store.Reference()}))
	_, err = object.NewCustomFieldsManager(c).Add(ctx, "owner", "VirtualMachine", nil, nil)
	must(err)
	client := rest.NewClient(c)
	must(client.Login(ctx, w.url.User))
	manager := tags.NewManager(client)
	category, err := manager.CreateCategory(ctx, &tags.Category{Name: "env", Cardinality: "SINGLE", AssociableTypes: []string{"VirtualMachine"}})
	must(err)
	_, err = manager.CreateTag(ctx, &tags.Tag{Name: "prod", CategoryID: category})
	must(err)
	return manager
}

// placedJob is a job with all that says where and what its VM is.
func placedJob(i int) *executor.Task {
	t := jobOf(i, 1)
	v := t.Job.VSphere
	v.Datastore, v.DatastoreCluster, v.Host, v.ResourcePool, v.Folder = "", "fast", "DC0_C0_H0", "prod/web", "teams/web"
	v.Disks = []fleet.Disk{{Size: "3Gi"}, {Size: "1Gi", Provisioning: fleet.ProvisionEager}}
	v.Tags, v.Annotation, v.CustomAttributes = []string{"env/prod"}, "call 4711", map[string]string{"owner": "team web"}
	return t
}

// seen is what is of interest of a placed VM.
type seen struct {
	Pool, Host, Folder, Store string
	Disks                     []int64
	Thin                      []bool
	Tags                      []string
	Owner                     string
}

func (w *world) see(t *testing.T, name string, manager *tags.Manager) seen {
	t.Helper()
	ctx := t.Context()
	vm := w.vm(t, name)
	var props mo.VirtualMachine
	if err := vm.Properties(ctx, vm.Reference(), []string{"config.hardware.device", "resourcePool", "runtime.host", "parent", "customValue", "datastore"}, &props); err != nil {
		t.Fatal(err)
	}
	called := func(r types.ManagedObjectReference) string {
		name, err := object.NewCommon(w.client.Client, r).ObjectName(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	out := seen{Pool: called(*props.ResourcePool), Host: called(*props.Runtime.Host), Folder: called(*props.Parent), Store: called(props.Datastore[0])}
	for _, d := range props.Config.Hardware.Device {
		if d, ok := d.(*types.VirtualDisk); ok {
			b, _ := d.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
			out.Disks = append(out.Disks, d.CapacityInBytes>>30)
			out.Thin = append(out.Thin, b.ThinProvisioned != nil && *b.ThinProvisioned)
		}
	}
	for _, v := range props.CustomValue {
		if v, ok := v.(*types.CustomFieldStringValue); ok {
			out.Owner += v.Value
		}
	}
	attached, err := manager.GetAttachedTags(ctx, vm.Reference())
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range attached {
		out.Tags = append(out.Tags, tag.Name)
	}
	return out
}

var placed = seen{
	Pool: "web", Host: "DC0_C0_H0", Folder: "web", Store: "LocalDS_0", Disks: []int64{20, 3, 1}, Thin: []bool{true, true, false},
	Tags: []string{"prod"}, Owner: "team web",
}

func TestPlacedAsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	manager := w.furnish(t)
	b := w.backend(t)
	for i := range 2 { // the second finds all names resolved
		if _, err := b.Create(t.Context(), placedJob(i)); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(placed, w.see(t, name(placedJob(i)), manager)); d != "" {
			t.Errorf("placed VM (-want +got):\n%s", d)
		}
	}
}

// TestMarksSurviveCrashes: whoever finishes a VM that somebody began gives it
// its disks, attributes and tags, once.
func TestMarksSurviveCrashes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	manager := w.furnish(t)
	for dies := range 4 { // before the clone, the marks, the power-on, and not at all
		ctx, crash := context.WithCancelCause(t.Context())
		job, steps := placedJob(dies), 0
		job.Permit = func(ctx context.Context) error {
			if steps++; steps > dies {
				crash(errCrash)
			}
			return context.Cause(ctx)
		}
		_, err := w.backend(t).Create(ctx, job)
		if dies < 3 && err == nil {
			t.Fatalf("death at step %d: Create worked", dies)
		}
		crash(nil)
		if _, err := w.backend(t).Create(t.Context(), placedJob(dies)); err != nil {
			t.Fatalf("after a death at step %d: %v", dies, err)
		}
		if d := cmp.Diff(placed, w.see(t, name(job), manager)); d != "" {
			t.Errorf("VM after a death at step %d (-want +got):\n%s", dies, d)
		}
		if vm := w.all(t)[name(job)]; !isOn(vm) {
			t.Errorf("VM after a death at step %d is off", dies)
		}
	}
}

// TestMarksWhileItRuns: other marks are written on a VM that runs.
func TestMarksWhileItRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	manager := w.furnish(t)
	b := w.backend(t)
	job := placedJob(1)
	v := job.Job.VSphere
	tags, attributes := v.Tags, v.CustomAttributes
	v.Tags, v.CustomAttributes = nil, nil
	if _, err := b.Create(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	v.Tags, v.CustomAttributes, v.Annotation = tags, attributes, "call 4712"
	for range 2 {
		if _, err := b.Resize(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(placed, w.see(t, name(job), manager)); d != "" {
		t.Errorf("marked VM (-want +got):\n%s", d)
	}
	if vm := w.all(t)[name(job)]; !isOn(vm) || !strings.HasPrefix(vm.Config.Annotation, "call 4712\n") {
		t.Errorf("the VM is on: %v, its note is %q", isOn(vm), vm.Config.Annotation)
	}
	v.Tags = []string{"env/none"}
	_, err := b.Resize(t.Context(), job)
	wantFault(t, err, fault.Permanent, fault.NotFound, `no tag "none"`)
}

// TestRESTSessionAgain: a session that vCenter has ended is begun anew, and
// there is one however many tags there are.
func TestRESTSessionAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	manager := w.furnish(t)
	b := w.backend(t)
	if _, err := b.Create(t.Context(), placedJob(1)); err != nil {
		t.Fatal(err)
	}
	ended := b.current.rest.client
	if err := ended.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Create(t.Context(), placedJob(2)); err != nil {
		t.Fatal(err)
	}
	if got := w.see(t, name(placedJob(2)), manager).Tags; !slices.Equal(got, placed.Tags) {
		t.Errorf("tags %q; want %q", got, placed.Tags)
	}
}

func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(t)
	b := w.backend(t)
	i := 0
	for what, c := range map[string]struct {
		spoil func(*fleet.VSphere)
		words []string
	}{
		"host":      {func(v *fleet.VSphere) { v.Host = "H9" }, []string{`host "H9"`, "DC0_C0_H0"}},
		"pool":      {func(v *fleet.VSphere) { v.ResourcePool = "prod/x" }, []string{`resource pool "x"`, "there are web"}},
		"pod":       {func(v *fleet.VSphere) { v.DatastoreCluster = "slow" }, []string{`datastore cluster "slow"`, "there are fast"}},
		"tag":       {func(v *fleet.VSphere) { v.Tags = []string{"env/test"} }, []string{`no tag "test" in category "env"`}},
		"category":  {func(v *fleet.VSphere) { v.Tags = []string{"a/prod"} }, []string{`no tag "prod" in category "a"`}},
		"attribute": {func(v *fleet.VSphere) { v.CustomAttributes = map[string]string{"cost": "1"} }, []string{`custom attribute "cost"`}},
	} {
		i++
		job := placedJob(i)
		c.spoil(job.Job.VSphere)
		_, err := b.Create(t.Context(), job)
		t.Log(what, err)
		wantFault(t, err, fault.Permanent, fault.NotFound, c.words...)
	}
}
