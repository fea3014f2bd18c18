package vcenter

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// wantFault fails the test unless err is of that kind and reason and its text
// holds all fragments.
func wantFault(t *testing.T, err error, kind fault.Kind, reason fault.Reason, fragments ...string) {
	t.Helper()
	f := fault.Of(err)
	if err == nil || f.Kind != kind || f.Reason != reason {
		t.Errorf("error %v (%v, %v); want %v, %v", err, f.Kind, f.Reason, kind, reason)
		return
	}
	for _, fragment := range fragments {
		if !strings.Contains(err.Error(), fragment) {
			t.Errorf("error %q; want %q in it", err, fragment)
		}
	}
}

func TestTaskThatFailsAlthoughTheMachineExists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	w.tasks.add(&rule{operation: "cloneVm", fault: &types.SystemError{Reason: "lost contact"}, ghost: true})
	w.tasks.add(&rule{operation: "powerOn", fault: &types.Timedout{}, ghost: true})
	_, err := b.Create(t.Context(), jobOf(1, 1))
	wantFault(t, err, fault.Transient, fault.Timeout)
	made, err := b.Create(t.Context(), jobOf(1, 1))
	if err != nil || !made.Adopted {
		t.Errorf("Create = %+v, %v; want the adopted machine", made, err)
	}
	if vms := w.all(t); len(vms) != 1 || !isOn(vms["web-edge-1"]) {
		t.Errorf("%d VMs; want one, on", len(vms))
	}
}

func TestRealFailureStands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	w.tasks.add(&rule{operation: "cloneVm", fault: &types.NoDiskSpace{Datastore: "LocalDS_0"}})
	_, err := b.Create(t.Context(), jobOf(1, 1))
	wantFault(t, err, fault.Transient, fault.NoSpace, "clone web-edge-1", "NoDiskSpace", "LocalDS_0")
	if n := len(w.all(t)); n != 0 {
		t.Errorf("%d VMs; want none", n)
	}
}

func TestKilledSessionHeals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	ctx := t.Context()
	if _, err := b.Create(ctx, jobOf(1, 1)); err != nil {
		t.Fatal(err)
	}
	killed := w.killSessions(t)
	if killed == 0 {
		t.Fatal("the backend had no session")
	}
	if _, err := b.Create(ctx, jobOf(2, 1)); err != nil {
		t.Errorf("Create after the session was killed: %v", err)
	}
	w.killSessions(t)
	if err := b.Delete(ctx, jobOf(1, 1)); err != nil {
		t.Errorf("Delete after the session was killed: %v", err)
	}
	if n := len(w.all(t)); n != 1 {
		t.Errorf("%d VMs; want 1", n)
	}
}

// sessions are the keys of every session but the test's own.
func (w *world) sessions(t *testing.T) []string {
	t.Helper()
	var m mo.SessionManager
	manager := session.NewManager(w.client.Client)
	if err := w.client.RetrieveOne(t.Context(), manager.Reference(), []string{"sessionList", "currentSession"}, &m); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, s := range m.SessionList {
		if s.Key != m.CurrentSession.Key {
			keys = append(keys, s.Key)
		}
	}
	return keys
}

// killSessions ends every session but the test's own and says how many.
func (w *world) killSessions(t *testing.T) int {
	t.Helper()
	keys := w.sessions(t)
	if len(keys) > 0 {
		if err := session.NewManager(w.client.Client).TerminateSession(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
	}
	return len(keys)
}

func TestOneSessionAndLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	for i := range 5 {
		if _, err := b.Create(t.Context(), jobOf(i, 1)); err != nil {
			t.Fatal(err)
		}
	}
	b.Close(t.Context())
	if n := w.killSessions(t); n != 0 {
		t.Errorf("%d sessions are left after Close; want none", n)
	}
}

func TestRefusedLoginIsNotRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	strict := *w.server.URL
	strict.User = url.UserPassword("user", "pass")
	w.model.Service.Listen = &strict // has the simulator check passwords
	password := "wrong"
	b := w.backend(t)
	b.options.Secret = func(s fleet.Secret) (string, error) {
		if s.Env == "pass" {
			return password, nil
		}
		return s.Env, nil
	}
	_, err := b.Create(t.Context(), jobOf(1, 1))
	wantFault(t, err, fault.Busy, fault.LoginRefused, "log in to", "user")
	if fault.Of(err).RetryAfter <= 0 || strings.Contains(err.Error(), password) {
		t.Errorf("error %v, retry after %v; want a pause and no password", err, fault.Of(err).RetryAfter)
	}
	before := w.tasks.calls.Load()
	_, err = b.Create(t.Context(), jobOf(1, 1))
	wantFault(t, err, fault.Busy, fault.LoginRefused)
	if calls := w.tasks.calls.Load() - before; calls != 0 {
		t.Errorf("%d calls with a password that was refused; want none", calls)
	}
	password = "pass"
	if _, err := b.Create(t.Context(), jobOf(1, 1)); err != nil {
		t.Errorf("Create with the corrected password: %v", err)
	}
}

func TestVCenterAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	w.tasks.away.Store(true)
	_, err := b.Create(t.Context(), jobOf(1, 1))
	wantFault(t, err, fault.Busy, fault.BackendDown)
	w.tasks.away.Store(false)
	if _, err := b.Create(t.Context(), jobOf(1, 1)); err != nil {
		t.Fatal(err)
	}
	w.tasks.away.Store(true)
	_, err = b.Create(t.Context(), jobOf(2, 1))
	wantFault(t, err, fault.Busy, fault.BackendDown)
}

func TestNamesThatDoNotExist(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	for name, c := range map[string]struct {
		spoil     func(*fleet.VSphere)
		reason    fault.Reason
		fragments []string
	}{
		"template":   {func(v *fleet.VSphere) { v.Source.Template = "flatcar-9" }, fault.TemplateMissing, []string{`template "flatcar-9"`, "DC0"}},
		"datacenter": {func(v *fleet.VSphere) { v.Datacenter = "DC9" }, fault.NotFound, []string{`datacenter "DC9"`, "there are DC0"}},
		"cluster":    {func(v *fleet.VSphere) { v.Cluster = "C9" }, fault.NotFound, []string{`cluster "C9"`, "there are DC0_C0"}},
		"datastore":  {func(v *fleet.VSphere) { v.Datastore = "DS9" }, fault.NotFound, []string{`datastore "DS9"`, "there are LocalDS_0"}},
		"network":    {func(v *fleet.VSphere) { v.Network = "N9" }, fault.NotFound, []string{`network "N9"`, "VM Network"}},
		"snapshot":   {func(v *fleet.VSphere) { v.Clone, v.Disk = fleet.CloneLinked, "" }, fault.SpecUnsupported, []string{"snapshot"}},
		"small disk": {func(v *fleet.VSphere) { v.Disk = "1Gi" }, fault.SpecUnsupported, []string{"disk: 1Gi is smaller"}},
	} {
		job := jobOf(1, 1)
		c.spoil(job.Job.VSphere)
		_, err := b.Create(t.Context(), job)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantFault(t, err, fault.Permanent, c.reason, c.fragments...)
			if fault.Of(err).Hint == "" {
				t.Error("no hint says what to do")
			}
		})
	}
	if n := len(w.all(t)); n != 0 {
		t.Errorf("%d VMs; want none", n)
	}
}

func TestTemplateRegisteredAnewHeals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	ctx := t.Context()
	if _, err := b.Create(ctx, jobOf(1, 1)); err != nil {
		t.Fatal(err)
	}
	old := w.vm(t, testTemplate)
	pool, err := w.vm(t, "web-edge-1").ResourcePool(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.MarkAsVirtualMachine(ctx, *pool, nil); err != nil {
		t.Fatal(err)
	}
	done(t)(old.Destroy(ctx))
	_, err = b.Create(ctx, jobOf(2, 1))
	wantFault(t, err, fault.Permanent, fault.TemplateMissing)
	vm := w.vm(t, "web-edge-1")
	done(t)(vm.PowerOff(ctx))
	done(t)(vm.Rename(ctx, testTemplate))
	if err := vm.MarkAsTemplate(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Create(ctx, jobOf(3, 1)); err != nil {
		t.Errorf("Create from the new template: %v", err)
	}
}

func TestNewIncarnationWaitsForTheOld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	if _, err := b.Create(t.Context(), jobOf(1, 1)); err != nil {
		t.Fatal(err)
	}
	_, err := b.Create(t.Context(), jobOf(1, 2))
	wantFault(t, err, fault.Transient, fault.MachineBusy, "former VM", "web-edge-1")
	if err := b.Delete(t.Context(), jobOf(1, 2)); err != nil {
		t.Errorf("Delete of what never was: %v", err)
	}
	if n := len(w.all(t)); n != 1 {
		t.Errorf("%d VMs; want the old one untouched", n)
	}
}

func TestNewConfigStartsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	first, err := b.Create(t.Context(), jobOf(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	again := jobOf(1, 1)
	again.Config.Digest, again.Config.GuestInfo["guestinfo.ignition.config.data"] = "d2", "bmV3"
	second, err := b.Create(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	vm := w.all(t)["web-edge-1"]
	if second.ID == first.ID || vm.Self.Value != second.ID || extra(vm)["guestinfo.ignition.config.data"] != "bmV3" {
		t.Errorf("machine %s after %s; want a new one with the new config", second.ID, first.ID)
	}
}

func TestRefusedPermitDoesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	if _, err := b.Create(t.Context(), jobOf(1, 1)); err != nil {
		t.Fatal(err)
	}
	refuse := func(context.Context) error {
		return fault.New(fault.Cancelled, fault.Stopped, errors.New("the seat is another's"))
	}
	for name, do := range map[string]func(*executor.Task) error{
		"create": func(job *executor.Task) error {
			job.Job.Node, job.Job.MachineUUID = "edge-2", jobOf(2, 1).Job.MachineUUID
			job.Owner.Node = "edge-2"
			_, err := b.Create(t.Context(), job)
			return err
		},
		"blank":  func(job *executor.Task) error { return b.Blank(t.Context(), job) },
		"delete": func(job *executor.Task) error { return b.Delete(t.Context(), job) },
	} {
		job := jobOf(1, 1)
		job.Permit = refuse
		err := do(job)
		if f := fault.Of(err); f.Kind != fault.Cancelled {
			t.Errorf("%s without a permit: %v (%v); want cancelled", name, err, f.Kind)
		}
	}
	vms := w.all(t)
	if vm := vms["web-edge-1"]; len(vms) != 1 || !isOn(vm) || extra(vm)["guestinfo.ignition.config.data"] == "" {
		t.Errorf("%d VMs, on %v: something was done without a permit", len(vms), isOn(vm))
	}
}

func TestDeleteKeepsOffForeignMachines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	w.alien(t, "web-edge-1")
	if err := b.Delete(t.Context(), jobOf(1, 1)); err != nil {
		t.Errorf("Delete where only a foreign VM is: %v; want nothing to do", err)
	}
	// One that bears our UUID, and another's proof.
	if _, err := b.Create(t.Context(), jobOf(2, 1)); err != nil {
		t.Fatal(err)
	}
	done(t)(w.vm(t, "web-edge-2").Reconfigure(t.Context(), types.VirtualMachineConfigSpec{
		ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: keyOwner, Value: "other/uid/edge-2/1"}},
	}))
	wantFault(t, b.Delete(t.Context(), jobOf(2, 1)), fault.Permanent, fault.NameTaken, "other/uid/edge-2/1")
	if n := len(w.all(t)); n != 2 {
		t.Errorf("%d VMs; want both foreign ones", n)
	}
}

// A clone is under way that nobody waits for any more: its executor crashed,
// or its job's time was up. A deletion must not find nothing and be content.
func TestDeleteWaitsForAnUnknownClone(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]func(*world, *Backend) *Backend{
		"of another process": func(w *world, _ *Backend) *Backend { return w.backend(t) },
		"of our own":         func(_ *world, b *Backend) *Backend { return b },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			b := w.backend(t)
			hold := w.abandonedClone(t, other(w, b))
			deleted := make(chan error, 1)
			go func() { deleted <- b.Delete(t.Context(), jobOf(1, 1)) }()
			waitFor(t, func() bool { return b.openTasks() == 1 })
			close(hold)
			if err := <-deleted; err != nil {
				t.Errorf("Delete: %v", err)
			}
			if n := len(w.all(t)); n != 0 {
				t.Errorf("%d VMs; want none: the abandoned clone was missed", n)
			}
		})
	}
}

func TestCreateWaitsForAnUnknownClone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	hold := w.abandonedClone(t, w.backend(t))
	created := make(chan error, 1)
	go func() {
		_, err := b.Create(t.Context(), jobOf(1, 1))
		created <- err
	}()
	close(hold)
	if err := <-created; err != nil {
		t.Errorf("Create: %v", err)
	}
	if vms := w.all(t); len(vms) != 1 || !isOn(vms["web-edge-1"]) {
		t.Errorf("%d VMs; want one, on", len(vms))
	}
}

// openTasks is how many tasks the backend waits for.
func (b *Backend) openTasks() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil {
		return 0
	}
	b.current.tasks.mu.Lock()
	defer b.current.tasks.mu.Unlock()
	return len(b.current.tasks.open)
}

// abandonedClone has by begin to clone node 1's VM and give up; the clone
// goes on when the returned channel is closed.
func (w *world) abandonedClone(t *testing.T, by *Backend) chan struct{} {
	t.Helper()
	hold := make(chan struct{})
	w.tasks.add(&rule{operation: "cloneVm", hold: hold})
	ctx, crash := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := by.Create(ctx, jobOf(1, 1))
		failed <- err
	}()
	waitFor(t, func() bool { return by.openTasks() == 1 })
	crash()
	if err := <-failed; fault.Of(err).Kind != fault.Cancelled {
		t.Fatalf("Create that was given up: %v; want cancelled", err)
	}
	return hold
}
