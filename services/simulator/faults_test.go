package simulator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fleet"
)

func (r *running) setFaults(t *testing.T, rules ...Rule) {
	t.Helper()
	if err := r.control.SetFaults(t.Context(), rules...); err != nil {
		t.Fatal(err)
	}
}

func TestTasksFailAsTold(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	folder := r.folder(t)
	template := r.template(t, "flatcar-4593.2.5")
	cases := map[string]func(error) bool{
		"NoDiskSpace":           isFault[*types.NoDiskSpace],
		"InsufficientResources": isFault[types.BaseInsufficientResourcesFault],
		"FileLocked":            isFault[*types.FileLocked],
		"TaskInProgress":        isFault[*types.TaskInProgress],
		"ResourceInUse":         isFault[*types.ResourceInUse],
		"HostCommunication":     isFault[types.BaseHostCommunication],
		"NoPermission":          isFault[*types.NoPermission],
		"GenericDrsFault":       isFault[*types.GenericDrsFault],
		"SystemError":           isFault[*types.SystemError],
		"CustomizationFault":    isFault[types.BaseCustomizationFault],
	}
	var rules []Rule
	for name := range cases {
		rules = append(rules, Rule{On: OnClone, VM: "bad-" + name, Count: 1, Fault: name})
	}
	r.setFaults(t, rules...)
	for name, is := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := r.clone(t.Context(), template, cloneSpec{name: "good-" + name, folder: folder}); err != nil {
				t.Errorf("clone of another name = %v; want none of its business", err)
			}
			bad := cloneSpec{name: "bad-" + name, folder: folder}
			if _, err := r.clone(t.Context(), template, bad); !is(err) {
				t.Errorf("clone = %v; want %s", err, name)
			}
			ref, err := object.NewSearchIndex(r.client.Client).FindChild(t.Context(), folder, bad.name)
			if err != nil || ref != nil {
				t.Errorf("after its clone failed %s is %v, %v; want nothing", bad.name, ref, err)
			}
			if _, err := r.clone(t.Context(), template, bad); err != nil {
				t.Errorf("second clone = %v; want the one strike used up", err)
			}
			all, err := r.control.Faults(t.Context())
			if err != nil || !slices.ContainsFunc(all, func(s Strike) bool { return s.Fault == name && s.Struck == 1 }) {
				t.Errorf("Faults() = %v, %v; want %s struck once", all, err, name)
			}
		})
	}
}

func isFault[T types.AnyType](err error) bool {
	var target T
	_, ok := fault.As(err, &target)
	return ok
}

func TestGhost(t *testing.T) {
	t.Parallel()
	r := start(t, Config{Faults: []Rule{
		{On: OnClone, VM: "ghost", Fault: "SystemError", Ghost: true, Count: 1},
		{On: OnPowerOn, VM: "ghost", Fault: "SystemError", Ghost: true, Count: 1},
	}})
	folder := r.folder(t)
	if _, err := r.clone(t.Context(), r.template(t, "flatcar-4593.2.5"), cloneSpec{name: "ghost", folder: folder}); !isFault[*types.SystemError](err) {
		t.Fatalf("clone = %v; want SystemError", err)
	}
	vm := r.vm(r.find(t, "/dc1/vm/web/ghost"))
	if err := r.powerOn(t.Context(), vm); !isFault[*types.SystemError](err) {
		t.Fatalf("power on = %v; want SystemError", err)
	}
	r.machine(t, "ghost", func(m Machine) bool { return m.Phase == PhaseUp })
	again := start(t, Config{Dir: copyDir(t, r.cfg.Dir)})
	if m := again.machine(t, "ghost", func(Machine) bool { return true }); m.Power != "poweredOn" {
		t.Errorf("ghost after a restart is %s; want poweredOn", m.Power)
	}
}

func TestDelayedTaskHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	r := start(t, Config{Faults: []Rule{{On: OnClone, VM: "slow", Delay: fleet.Duration{Duration: time.Hour}}}})
	folder := r.folder(t)
	template := r.template(t, "flatcar-4593.2.5")
	spec, err := r.cloneRequest(t.Context(), template, cloneSpec{})
	if err != nil {
		t.Fatal(err)
	}
	task, err := template.Clone(t.Context(), folder, "slow", spec)
	if err != nil {
		t.Fatal(err)
	}
	// The same template, its properties and another clone are free.
	if _, err := template.Device(t.Context()); err != nil {
		t.Errorf("read the template: %v", err)
	}
	if _, err := r.clone(t.Context(), template, cloneSpec{name: "quick", folder: folder}); err != nil {
		t.Errorf("clone beside a slow one: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.wait(ctx, task); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("slow task ended with %v; want it running", err)
	}
}

func TestGuestFaults(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	g := newGateway(t)
	r.setFaults(t,
		Rule{On: OnBoot, VM: "dead-*", Never: true},
		Rule{On: OnBoot, VM: "lost-*", Address: "192.0.2.66"},
		Rule{On: OnBoot, VM: "slow-*", Delay: fleet.Duration{Duration: time.Hour}},
		Rule{On: OnPhoneHome, VM: "mute-*", Never: true},
	)
	folder := r.folder(t)
	template := r.template(t, "flatcar-4593.2.5")
	for node, want := range map[string]Machine{
		"dead-0": {Phase: PhaseHung},
		"lost-0": {Phase: PhaseUp, Address: "192.0.2.66", Reported: true},
		"slow-0": {Phase: PhaseBooting},
		"mute-0": {Phase: PhaseUp, Address: "10.20.30.41"},
	} {
		vm, err := r.clone(t.Context(), template, cloneSpec{
			name: node, folder: folder, mac: "02:00:00:00:00:01",
			extra: guestinfo(ignitionConfig(node, g.URL, "02:00:00:00:00:01", "10.20.30.41")),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.powerOn(t.Context(), vm); err != nil {
			t.Fatal(err)
		}
		r.machine(t, node, func(m Machine) bool {
			return m.Phase == want.Phase && m.Address == want.Address && m.Reported == want.Reported
		})
	}
	r.machine(t, "mute-0", func(m Machine) bool { return strings.Contains(m.Reason, "could not connect") })
	if n := len(g.of("mute-0")); n != 0 {
		t.Errorf("mute-0 called %d times", n)
	}
}

// TestSilentGatewayHoldsNoBootUp has more guests whose report hangs than may
// report at the same time.
func TestSilentGatewayHoldsNoBootUp(t *testing.T) {
	t.Parallel()
	r := start(t, Config{Guests: 2})
	hang := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(hang) })
	folder := r.folder(t)
	template := r.template(t, "flatcar-4593.2.5")
	for i := range 5 {
		node := fmt.Sprintf("web-%d", i)
		vm, err := r.clone(t.Context(), template, cloneSpec{
			name: node, folder: folder, extra: guestinfo(ignitionConfig(node, silent.URL, "02:00:00:00:00:01", "10.20.30.41")),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.powerOn(t.Context(), vm); err != nil {
			t.Fatal(err)
		}
		r.machine(t, node, func(m Machine) bool { return m.Phase == PhaseUp })
	}
}

func TestMethodFault(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	root := object.NewFolder(r.client.Client, r.find(t, "/dc1/vm"))
	r.setFaults(t, Rule{On: "CreateFolder", Fault: "NoPermission", Count: 1})
	if _, err := root.CreateFolder(t.Context(), "web"); !isFault[*types.NoPermission](err) {
		t.Errorf("CreateFolder = %v; want NoPermission", err)
	}
	if _, err := root.CreateFolder(t.Context(), "web"); err != nil {
		t.Errorf("second CreateFolder = %v", err)
	}
	if _, err := root.CreateFolder(t.Context(), "web"); !isFault[*types.DuplicateName](err) {
		t.Errorf("third CreateFolder = %v; want DuplicateName", err)
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	for _, user := range []*url.Userinfo{url.UserPassword("yard", "wrong"), url.UserPassword("who", "yard")} {
		if err := connect(t, r.World).Login(t.Context(), user); !isFault[*types.InvalidLogin](err) {
			t.Errorf("Login(%s) = %v; want InvalidLogin", user, err)
		}
	}
	r.setFaults(t, Rule{On: OnLogin, Count: 1})
	good := url.UserPassword(DefaultUser, DefaultSecret)
	if err := connect(t, r.World).Login(t.Context(), good); !isFault[*types.InvalidLogin](err) {
		t.Errorf("Login = %v; want InvalidLogin by fault", err)
	}
	if err := connect(t, r.World).Login(t.Context(), good); err != nil {
		t.Errorf("Login after the fault = %v", err)
	}
}

func TestSessionsKilled(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	n, err := r.control.KillSessions(t.Context())
	if err != nil || n != 1 {
		t.Errorf("KillSessions() = %d, %v; want 1", n, err)
	}
	if _, err := methods.GetCurrentTime(t.Context(), r.client); !isFault[*types.NotAuthenticated](err) {
		t.Errorf("call of a killed session = %v; want NotAuthenticated", err)
	}
	if err := r.client.Login(t.Context(), url.UserPassword(DefaultUser, DefaultSecret)); err != nil {
		t.Fatalf("login again: %v", err)
	}
	if _, err := methods.GetCurrentTime(t.Context(), r.client); err != nil {
		t.Errorf("call after the login = %v", err)
	}
}

func TestAway(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	if err := r.control.Away(t.Context(), 500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	// The kept connection was cut, in one of several ways, and a new one is
	// refused.
	if _, err := methods.GetCurrentTime(t.Context(), r.client); err == nil {
		t.Fatal("the vCenter answered while it was away")
	}
	if _, err := methods.GetCurrentTime(t.Context(), r.client); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("new connection while away = %v; want it refused", err)
	}
	eventually(t, "vCenter again", func() bool {
		_, err := methods.GetCurrentTime(t.Context(), r.client)
		return err == nil // the session lived on
	})
	if err := r.control.Ready(t.Context()); err != nil {
		t.Errorf("Ready() = %v", err)
	}
}

func TestTemplateMissing(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	if err := r.control.Rename(t.Context(), "flatcar-4593.2.5", "hidden"); err != nil {
		t.Fatal(err)
	}
	ref, err := object.NewSearchIndex(r.client.Client).FindByInventoryPath(t.Context(), "/dc1/vm/flatcar-4593.2.5")
	if err != nil || ref != nil {
		t.Errorf("find a renamed template = %v, %v; want nothing", ref, err)
	}
	if err := r.control.Rename(t.Context(), "flatcar-4593.2.5", "x"); err == nil {
		t.Error("Rename of what is not there succeeded")
	}
	if err := r.control.Rename(t.Context(), "hidden", "flatcar-4593.2.5"); err != nil {
		t.Fatal(err)
	}
	r.template(t, "flatcar-4593.2.5")
}

func TestWrongRules(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	for want, rule := range map[string]Rule{
		"is neither a method":             {On: "clown"},
		"is not a fault":                  {On: OnClone, Fault: "NoSuchThing"},
		"\"VirtualMachine\" is not":       {On: OnClone, Fault: "VirtualMachine"},
		"is not a pattern":                {On: OnClone, VM: "["},
		"ghost needs a fault":             {On: OnClone, Ghost: true},
		"never, address and unit are for": {On: OnClone, Never: true},
		"has no fault to choose":          {On: OnBoot, Fault: "NoDiskSpace"},
		"address \"10.0.0\"":              {On: OnBoot, Address: "10.0.0"},
	} {
		if err := r.control.SetFaults(t.Context(), rule); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("SetFaults(%+v) = %v; want %q", rule, err, want)
		}
		if _, err := New(t.Context(), Config{Dir: t.TempDir(), Faults: []Rule{rule}}, r.log); err == nil {
			t.Errorf("New with %+v succeeded", rule)
		}
	}
}
