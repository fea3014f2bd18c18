package vcenter

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
)

const (
	testTemplate = "flatcar-1.2.3"
	testYard     = "yard-1"
)

// world is a simulated vCenter with one template.
type world struct {
	model  *simulator.Model
	server *simulator.Server
	client *govmomi.Client
	tasks  *taskHandler
	url    *url.URL // of the gate in front of the server
}

var making sync.Mutex

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, 1)
}

// newWorldOf has a cluster of so many hosts.
func newWorldOf(t *testing.T, hosts int) *world {
	t.Helper()
	making.Lock() // the simulator writes global variables when it is made
	defer making.Unlock()
	w := &world{model: simulator.VPX()}
	w.model.Machine, w.model.Autostart = 1, false
	w.model.Host, w.model.ClusterHost = 0, hosts
	w.model.Portgroup, w.model.OpaqueNetwork = 1, 1
	w.serve(t)
	ctx := t.Context()
	vm := w.vm(t, "DC0_C0_RP0_VM0")
	done(t)(vm.Rename(ctx, testTemplate))
	done(t)(vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{CpuHotAddEnabled: new(true), MemoryHotAddEnabled: new(true)}))
	if err := vm.MarkAsTemplate(ctx); err != nil {
		t.Fatal(err)
	}
	return w
}

// serve makes the world of its model.
func (w *world) serve(t *testing.T) {
	t.Helper()
	if err := w.model.Create(); err != nil {
		t.Fatal(err)
	}
	w.tasks = &taskHandler{}
	w.model.Service.Context.Map.AddHandler(w.tasks)
	w.model.Service.Context.Map.Handler = w.tasks.called
	w.model.Service.RegisterEndpoints = true
	w.server = w.model.Service.NewServer()
	t.Cleanup(func() { w.server.Close(); w.model.Remove() })
	w.url = w.tasks.front(t, w.model.Service.ServeMux)
	client, err := govmomi.NewClient(t.Context(), w.url, true)
	if err != nil {
		t.Fatal(err)
	}
	w.client = client
}

// done returns a function that waits for a task of the test itself.
func done(t *testing.T) func(*object.Task, error) {
	t.Helper()
	return func(task *object.Task, err error) {
		t.Helper()
		if err == nil {
			err = task.Wait(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// machines reads every VM.
func (w *world) machines(t *testing.T) []mo.VirtualMachine {
	t.Helper()
	c, kind := w.client.Client, []string{"VirtualMachine"}
	v, err := view.NewManager(c).CreateContainerView(t.Context(), c.ServiceContent.RootFolder, kind, true)
	if err != nil {
		t.Fatal(err)
	}
	var all []mo.VirtualMachine
	if err := v.Retrieve(t.Context(), kind, []string{"name", "config", "runtime", "guest"}, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func (w *world) vm(t *testing.T, name string) *object.VirtualMachine {
	t.Helper()
	for _, vm := range w.machines(t) {
		if vm.Name == name {
			return object.NewVirtualMachine(w.client.Client, vm.Self)
		}
	}
	t.Fatalf("no VM %s", name)
	return nil
}

// all reads every VM but the template.
func (w *world) all(t *testing.T) map[string]mo.VirtualMachine {
	t.Helper()
	vms := map[string]mo.VirtualMachine{}
	for _, vm := range w.machines(t) {
		if vm.Config.Template {
			continue
		}
		if _, twice := vms[vm.Name]; twice {
			t.Errorf("two VMs are called %s", vm.Name)
		}
		vms[vm.Name] = vm
	}
	return vms
}

func (w *world) site() *fleet.SiteVSphere {
	return &fleet.SiteVSphere{
		URL:      w.url.Scheme + "://" + w.url.Host + "/sdk",
		Username: fleet.Secret{Env: "user"}, Password: fleet.Secret{Env: "pass"},
	}
}

func (w *world) backend(t *testing.T) *Backend {
	t.Helper()
	b := New(Options{
		Site: "dc1", Agent: "yardmaster-test", Log: slog.New(slog.DiscardHandler),
		Metrics: NewMetrics(prometheus.NewRegistry()),
		Secret:  func(s fleet.Secret) (string, error) { return s.Env, nil },
	})
	if w.url != nil {
		b.Use(t.Context(), w.site())
	}
	t.Cleanup(func() { b.Close(context.WithoutCancel(t.Context())) })
	return b
}

func permit(context.Context) error { return nil }

// jobOf makes the job of node web-edge-<i> in its given incarnation.
func jobOf(i, incarnation int) *executor.Task {
	job := &plan.Job{
		JobRef:   plan.JobRef{Worker: plan.WorkerVSphere, Site: "dc1", Fleet: "web", Node: plan.NodeKey("edge", i), Number: int64(i)},
		FleetUID: "uid-1", Action: plan.ActionCreate, Incarnation: incarnation, Attempt: 1,
		Pool: "edge", Ordinal: i, Hostname: fmt.Sprintf("web-edge-%d", i),
		MachineUUID: fmt.Sprintf("00000000-0000-4000-8000-%06d%06d", incarnation, i),
		MAC:         fmt.Sprintf("02:00:00:00:%02x:%02x", i/256, i%256),
		Deadline:    time.Now().Add(time.Hour),
		VSphere: &fleet.VSphere{
			Site: "dc1", Source: fleet.VSphereSource{Template: testTemplate}, Cluster: "DC0_C0", Datastore: "LocalDS_0",
			CPUs: 3, Memory: "2Gi", Disk: "20Gi",
		},
		Networks: []plan.JobNetwork{
			{Network: "dmz", Addr: "10.0.0.10", Prefix: 24, Portgroup: "DC0_DVPG0"},
			{Network: "lan", Addr: "10.1.0.10", Prefix: 24, Portgroup: "VM Network", Card: 1, MAC: fmt.Sprintf("02:00:00:01:%02x:%02x", i/256, i%256)},
		},
	}
	return &executor.Task{
		Job: job, Owner: executor.OwnerOf(testYard, job), Epoch: 1, Permit: permit,
		Config: &executor.Config{Digest: "d1", GuestInfo: map[string]string{
			"guestinfo.ignition.config.data":           "ZGF0YQ==",
			"guestinfo.ignition.config.data.encoding":  "base64",
			"guestinfo.afterburn.initrd.network-kargs": "ip=10.0.0.10::10.0.0.1:24:web-edge-0::none",
		}},
	}
}

func extra(vm mo.VirtualMachine) map[string]string {
	values := map[string]string{}
	for _, v := range vm.Config.ExtraConfig {
		o := v.GetOptionValue()
		values[o.Key] = fmt.Sprint(o.Value)
	}
	return values
}

func isOn(vm mo.VirtualMachine) bool {
	return vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
}

// waitFor waits for a condition, as long as the test may run.
func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatal("the condition was not met in time")
		}
		time.Sleep(2 * time.Millisecond)
	}
}
