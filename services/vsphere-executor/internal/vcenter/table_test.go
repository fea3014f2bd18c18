package vcenter

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fault"
)

// Where a fault comes from: the call is refused, the task fails, or the task
// fails and has done its work all the same.
const (
	byCall = iota
	byTask
	byGhost
)

// A clone that meets a fault of the table says what it is, why, and what to do,
// is not repeated before somebody has looked, and works once the fault is gone.
func TestClonesMeetEveryFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	for _, c := range []struct {
		faults []types.BaseMethodFault
		kind   fault.Kind
		reason fault.Reason
		hint   string
	}{
		{
			[]types.BaseMethodFault{&types.NoPermission{PrivilegeId: "VirtualMachine.Inventory.CreateFromExisting", Object: &ref{Type: "Folder", Value: "group-v3"}}},
			fault.Permanent, fault.PermissionDenied, "grant the privilege",
		},
		{
			[]types.BaseMethodFault{&types.TaskInProgress{}, &types.ConcurrentAccess{}, &types.ResourceInUse{}},
			fault.Transient, fault.MachineBusy, "another task",
		},
		{[]types.BaseMethodFault{&types.FileLocked{}}, fault.Transient, fault.MachineBusy, "a host holds the file"},
		{
			[]types.BaseMethodFault{&types.HostCommunication{}, &types.HostNotConnected{}, &types.HostNotReachable{}},
			fault.Transient, fault.BackendBusy, "reconnect it",
		},
		{[]types.BaseMethodFault{&types.TooManyConcurrentNativeClones{}}, fault.Transient, fault.BackendBusy, "limits"},
		{[]types.BaseMethodFault{&types.InvalidState{}, &types.InvalidHostState{}}, fault.Transient, fault.MachineBusy, "maintenance"},
		{[]types.BaseMethodFault{&types.RequestCanceled{}}, fault.Transient, fault.Unknown, "somebody cancelled"},
		{[]types.BaseMethodFault{&types.SystemError{Reason: "vix error 1"}}, fault.Transient, fault.Unknown, "vpxd's log"},
		{[]types.BaseMethodFault{&types.Timedout{}}, fault.Transient, fault.Timeout, "see its task"},
		{
			[]types.BaseMethodFault{&types.InsufficientResourcesFault{}, &types.InsufficientCpuResourcesFault{}, &types.InsufficientMemoryResourcesFault{}, &types.InsufficientHostCapacityFault{}},
			fault.Transient, fault.NoResources, "free CPU or memory",
		},
		{[]types.BaseMethodFault{&types.NoActiveHostInCluster{}}, fault.Transient, fault.NoResources, "maintenance"},
		{[]types.BaseMethodFault{&types.GenericDrsFault{}}, fault.Transient, fault.NoResources, "no host"},
		{[]types.BaseMethodFault{&types.NoDiskSpace{Datastore: "LocalDS_0"}, &types.InsufficientStorageSpace{}}, fault.Transient, fault.NoSpace, "free some"},
		{[]types.BaseMethodFault{&types.DatastoreNotWritableOnHost{}}, fault.Transient, fault.NoSpace, "writable"},
		{[]types.BaseMethodFault{&types.InaccessibleDatastore{}}, fault.Transient, fault.NoSpace, "accessible"},
		{[]types.BaseMethodFault{&types.MethodDisabled{}}, fault.Transient, fault.MachineBusy, "backup"},
		{[]types.BaseMethodFault{&types.InvalidArgument{InvalidProperty: "spec.location.pool"}}, fault.Permanent, fault.SpecUnsupported, "vsphere section"},
		{
			[]types.BaseMethodFault{&types.InvalidVmConfig{Property: "memoryMB"}, &types.VmConfigFault{}, &types.InvalidDeviceSpec{}},
			fault.Permanent, fault.SpecUnsupported, "hardware",
		},
		{[]types.BaseMethodFault{&types.NotSupported{}}, fault.Permanent, fault.SpecUnsupported, "vsphere section"},
		{[]types.BaseMethodFault{&types.CustomizationFault{}}, fault.Permanent, fault.SpecUnsupported, "Flatcar's"},
		{[]types.BaseMethodFault{&types.NotEnoughLicenses{}}, fault.Permanent, fault.PermissionDenied, "licences"},
		{[]types.BaseMethodFault{&types.FileAlreadyExists{}}, fault.Permanent, fault.NameTaken, "remove them"},
	} {
		for _, f := range c.faults {
			for _, by := range []int{byCall, byTask, byGhost} {
				w.meets(t, b, f, by, func(err error) {
					wantFault(t, err, c.kind, c.reason, "clone web-edge-", strings.TrimPrefix(reflect.TypeOf(f).String(), "*types."))
					if hint := fault.Of(err).Hint; !strings.Contains(hint, c.hint) {
						t.Errorf("%T: hint %q; want %q in it", f, hint, c.hint)
					}
				})
			}
		}
	}
}

// meets has the clone of one node's VM meet a fault.
func (w *world) meets(t *testing.T, b *Backend, f types.BaseMethodFault, by int, check func(error)) {
	t.Helper()
	i := w.tasks.came("CloneVM_Task") + 1
	switch by {
	case byCall:
		w.tasks.mu.Lock()
		w.tasks.refuse = append(w.tasks.refuse, &refused{"CloneVM_Task", f})
		w.tasks.mu.Unlock()
	default:
		w.tasks.add(&rule{operation: "cloneVm", fault: f, ghost: by == byGhost})
	}
	clones := w.tasks.came("CloneVM_Task")
	made, err := b.Create(t.Context(), jobOf(i, 1))
	if got := w.tasks.came("CloneVM_Task") - clones; got != 1 {
		t.Errorf("%T (%d): %d clones begun; want one, whatever came of it", f, by, got)
	}
	if by == byGhost && !isFull(callFault(f)) {
		if err != nil || !made.Adopted {
			t.Errorf("%T that made the VM all the same: %+v, %v; want it adopted", f, made, err)
		}
	} else {
		check(err)
		made, err = b.Create(t.Context(), jobOf(i, 1))
		if err != nil || made.Adopted {
			t.Errorf("%T (%d): Create once it is over: %+v, %v; want a new VM", f, by, made, err)
		}
	}
	if vms := w.all(t); len(vms) != 1 || !isOn(vms[fmt.Sprintf("web-edge-%d", i)]) {
		t.Errorf("%T (%d): %d VMs once it is over; want one, on", f, by, len(vms))
	}
	if err := b.Delete(t.Context(), jobOf(i, 1)); err != nil {
		t.Errorf("%T (%d): Delete: %v", f, by, err)
	}
}

// An object that vCenter lists and does not know is looked up once more, and
// then it is for a person.
func TestDeadReferencesAreResolvedOnce(t *testing.T) {
	t.Parallel()
	for field, f := range map[string]types.BaseMethodFault{
		"source.template": nil, // below: the template's own reference
		"cluster":         &types.ManagedObjectNotFound{Obj: ref{Type: "ClusterComputeResource", Value: "domain-c1"}},
		"resourcePool":    &types.ManagedObjectNotFound{Obj: ref{Type: "ResourcePool", Value: "resgroup-1"}},
		"datastore":       &types.ManagedObjectNotFound{Obj: ref{Type: "Datastore", Value: "datastore-1"}},
		"network":         &types.ManagedObjectNotFound{Obj: ref{Type: "DistributedVirtualPortgroup", Value: "dvportgroup-1"}},
		"folder":          &types.ManagedObjectNotFound{Obj: ref{Type: "Folder", Value: "group-v1"}},
		"":                &types.NotFound{},
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			b := w.backend(t)
			if f == nil {
				f = &types.ManagedObjectNotFound{Obj: w.vm(t, testTemplate).Reference()}
			}
			once := &refused{"CloneVM_Task", f}
			w.tasks.refuse = []*refused{once}
			if _, err := b.Create(t.Context(), jobOf(1, 1)); err != nil {
				t.Errorf("Create with a stale reference: %v; want it found anew", err)
			}
			w.tasks.refuse = []*refused{once, once, once, once}
			before := w.tasks.came("CloneVM_Task")
			_, err := b.Create(t.Context(), jobOf(2, 1))
			wantFault(t, err, fault.Permanent, fault.NotFound)
			if hint := fault.Of(err).Hint; !strings.Contains(hint, field) || hint == "" {
				t.Errorf("hint %q; want the field %s", hint, field)
			}
			if got := w.tasks.came("CloneVM_Task") - before; got != 2 {
				t.Errorf("%d tries; want one before and one after a new look", got)
			}
		})
	}
}

// A name that is taken is looked at: what is ours is taken up.
func TestTakenNameIsLookedAt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	w.alien(t, "web-edge-1")
	_, err := b.Create(t.Context(), jobOf(1, 1))
	wantFault(t, err, fault.Permanent, fault.NameTaken, "web-edge-1", "not ours")
	if got := w.tasks.came("CloneVM_Task"); got != 2 { // the alien's among them
		t.Errorf("%d clones begun; want one", got-1)
	}
}

// A line that breaks around a clone leaves open whether it was begun: that is
// looked for, never tried blindly.
func TestUnknownOutcomeIsLookedUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trip   *trip
		rule   *rule
		clones int
	}{
		"cut before vcenter heard":   {trip: &trip{}, clones: 1},
		"cut before it answered":     {trip: &trip{late: true}, clones: 1},
		"a proxy has no vcenter":     {trip: &trip{status: http.StatusServiceUnavailable}, clones: 1},
		"a proxy loses the answer":   {trip: &trip{status: http.StatusBadGateway, late: true}, clones: 1},
		"a proxy answers something":  {trip: &trip{status: http.StatusOK, late: true}, clones: 1},
		"vcenter forgets the task":   {rule: &rule{operation: "cloneVm", vanish: true}, clones: 1},
		"forgotten, and it failed":   {rule: &rule{operation: "cloneVm", vanish: true, fault: &types.SystemError{}, ghost: true}, clones: 1},
		"an error, and the vm is on": {rule: &rule{operation: "powerOn", fault: &types.InvalidPowerState{ExistingState: types.VirtualMachinePowerStatePoweredOn}, ghost: true}, clones: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			b := w.backend(t)
			if c.trip != nil {
				c.trip.method = "CloneVM_Task"
				w.tasks.trips = []*trip{c.trip}
			}
			if c.rule != nil {
				w.tasks.add(c.rule)
			}
			if _, err := b.Create(t.Context(), jobOf(1, 1)); err != nil {
				t.Errorf("Create: %v", err)
			}
			if got := w.tasks.came("CloneVM_Task"); got != c.clones {
				t.Errorf("vCenter was asked for %d clones; want %d", got, c.clones)
			}
			if vms := w.all(t); len(vms) != 1 || !isOn(vms["web-edge-1"]) {
				t.Errorf("%d VMs; want one, on", len(vms))
			}
		})
	}
}

// The answer to a clone is lost while the clone goes on: it is waited for.
func TestLostCloneIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	hold := make(chan struct{})
	w.tasks.add(&rule{operation: "cloneVm", hold: hold})
	w.tasks.trips = []*trip{{method: "CloneVM_Task", late: true}}
	created := make(chan error, 1)
	go func() {
		_, err := b.Create(t.Context(), jobOf(1, 1))
		created <- err
	}()
	waitFor(t, func() bool { return b.openTasks() == 1 })
	close(hold)
	if err := <-created; err != nil {
		t.Errorf("Create: %v", err)
	}
	if got := w.tasks.came("CloneVM_Task"); got != 1 || len(w.all(t)) != 1 {
		t.Errorf("%d clones begun, %d VMs; want one of each", got, len(w.all(t)))
	}
}

// A clone that takes longer than its job may is no failure of the clone: the
// next try waits for it and begins no second one.
func TestSlowCloneIsNotBegunTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	hold := make(chan struct{})
	w.tasks.add(&rule{operation: "cloneVm", hold: hold})
	ctx, late := withTimeUp(t.Context())
	ended := make(chan error, 1)
	create := func(ctx context.Context) {
		_, err := b.Create(ctx, jobOf(1, 1))
		ended <- err
	}
	go create(ctx)
	waitFor(t, func() bool { return b.openTasks() == 1 })
	late()
	wantFault(t, <-ended, fault.Transient, fault.Timeout, "time was up")
	go create(t.Context())
	waitFor(t, func() bool { return b.waiting() == 1 })
	close(hold)
	if err := <-ended; err != nil {
		t.Errorf("Create that came later: %v", err)
	}
	if got := w.tasks.came("CloneVM_Task"); got != 1 || len(w.all(t)) != 1 {
		t.Errorf("%d clones begun, %d VMs; want one of each", got, len(w.all(t)))
	}
}

// A vCenter that takes the call and never answers ends with the job's time.
func TestBlackHoleEndsWithTheJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	ctx, late := withTimeUp(t.Context())
	w.tasks.trips = []*trip{{method: "CloneVM_Task", status: holeStatus, late: true, told: late}}
	_, err := b.Create(ctx, jobOf(1, 1))
	wantFault(t, err, fault.Transient, fault.Timeout, "time was up")
	made, err := b.Create(t.Context(), jobOf(1, 1))
	if err != nil || !made.Adopted {
		t.Errorf("Create that came later: %+v, %v; want the VM taken up", made, err)
	}
	if got := w.tasks.came("CloneVM_Task"); got != 1 {
		t.Errorf("%d clones begun; want one", got)
	}
}

// withTimeUp is a context whose deadline passes when late is called.
func withTimeUp(parent context.Context) (ctx context.Context, late context.CancelFunc) {
	c := &timeUp{Context: parent, done: make(chan struct{})}
	return c, sync.OnceFunc(func() { close(c.done) })
}

type timeUp struct {
	context.Context //nolint:containedctx // it is one
	done            chan struct{}
}

// Done implements context.Context.
func (c *timeUp) Done() <-chan struct{} { return c.done }

// Err implements context.Context.
func (c *timeUp) Err() error {
	select {
	case <-c.done:
		return context.DeadlineExceeded
	default:
		return c.Context.Err()
	}
}

// A session that ends at any call costs one login and no second clone.
func TestSessionThatEndsAtAClone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	if _, err := b.Create(t.Context(), jobOf(1, 1)); err != nil {
		t.Fatal(err)
	}
	logins, clones := w.tasks.came("Login"), w.tasks.came("CloneVM_Task")
	for i, method := range []string{"CloneVM_Task", "PowerOnVM_Task", "RetrievePropertiesEx", "FindByUuid"} {
		w.tasks.trips = []*trip{{method: method, status: passStatus, told: func() { w.killSessions(t) }}}
		if _, err := b.Create(t.Context(), jobOf(i+2, 1)); err != nil {
			t.Errorf("Create when the session ends at %s: %v", method, err)
		}
	}
	if got := w.tasks.came("Login") - logins; got != 4 {
		t.Errorf("%d logins; want one each time", got)
	}
	if got := w.tasks.came("CloneVM_Task") - clones; got != 5 {
		t.Errorf("%d clones asked for; want one for each VM, and the one that was refused", got)
	}
	if n := len(w.all(t)); n != 5 {
		t.Errorf("%d VMs; want 5", n)
	}
}

// Where the pool gives the choice, a full datastore leads to the next one, and
// what the clone left there is removed.
func TestFullDatastoreLeadsToTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	w.pod(t, "pod1", "full", "spare")
	job := jobOf(1, 1)
	job.Job.VSphere.Datastore, job.Job.VSphere.DatastoreCluster = "", "pod1"
	w.tasks.add(&rule{operation: "cloneVm", fault: &types.NoDiskSpace{Datastore: "one"}, ghost: true})
	if _, err := b.Create(t.Context(), job); err != nil {
		t.Errorf("Create with one full datastore of two: %v", err)
	}
	if got := w.tasks.came("CloneVM_Task"); got != 2 || len(w.all(t)) != 1 {
		t.Errorf("%d clones begun, %d VMs; want two, and one VM", got, len(w.all(t)))
	}
	again := jobOf(2, 1)
	again.Job.VSphere = job.Job.VSphere
	for range 2 {
		w.tasks.add(&rule{operation: "cloneVm", fault: &types.DatastoreNotWritableOnHost{}})
	}
	_, err := b.Create(t.Context(), again)
	wantFault(t, err, fault.Transient, fault.NoSpace, name(again))
}

// pod makes a datastore cluster of new datastores.
func (w *world) pod(t *testing.T, name string, stores ...string) {
	t.Helper()
	ctx, finder := t.Context(), find.NewFinder(w.client.Client)
	folder, err := finder.Folder(ctx, "/DC0/datastore")
	if err != nil {
		t.Fatal(err)
	}
	pod, err := folder.CreateStoragePod(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := finder.HostSystemList(ctx, "/DC0/host/...")
	if err != nil {
		t.Fatal(err)
	}
	for _, store := range stores {
		system, err := hosts[0].ConfigManager().DatastoreSystem(ctx)
		if err != nil {
			t.Fatal(err)
		}
		made, err := system.CreateLocalDatastore(ctx, store, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		done(t)(pod.MoveInto(ctx, []types.ManagedObjectReference{made.Reference()}))
	}
}
