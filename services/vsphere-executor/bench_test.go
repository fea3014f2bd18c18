package vsphereexecutor

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/services/vsphere-executor/internal/vcenter"
)

const (
	benchTemplate = "flatcar-1.2.3"
	benchNodes    = 100
	benchAtOnce   = 16
	benchPayload  = 8 << 10
)

// BenchmarkApply makes nodes from a template on one simulator: with bare
// govmomi the way its examples do it (clone, reconfigure, power on, a waiter
// for each task), and with our backend, which looks before it clones. Both do
// as much at once.
//
//	go test -run '^$' -bench Apply -benchtime 3x ./services/vsphere-executor
func BenchmarkApply(b *testing.B) {
	b.Run("govmomi", func(b *testing.B) {
		bench(b, func(ctx context.Context, w *benchWorld) error {
			return eachNode(ctx, func(ctx context.Context, i int) error { return w.raw(ctx, i) })
		})
	})
	b.Run("backend", func(b *testing.B) {
		bench(b, func(ctx context.Context, w *benchWorld) error {
			backend := w.backend()
			backend.Use(ctx, w.site())
			defer backend.Close(ctx)
			return eachNode(ctx, func(ctx context.Context, i int) error {
				_, err := backend.Create(ctx, benchTask(i))
				return err
			})
		})
	})
}

func bench(b *testing.B, apply func(context.Context, *benchWorld) error) {
	b.Helper()
	ctx := b.Context()
	for b.Loop() {
		b.StopTimer()
		w := newBenchWorld(b)
		b.StartTimer()
		if err := apply(ctx, w); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		w.close()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N)*benchNodes/b.Elapsed().Seconds(), "vm/s")
}

func eachNode(ctx context.Context, do func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(benchAtOnce)
	for i := range benchNodes {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

type benchWorld struct {
	model           *simulator.Model
	server          *simulator.Server
	client          *govmomi.Client
	template        *object.VirtualMachine
	folder          *object.Folder
	pool, datastore types.ManagedObjectReference
}

func newBenchWorld(tb testing.TB) *benchWorld {
	tb.Helper()
	w := &benchWorld{model: simulator.VPX()}
	w.model.Machine, w.model.Autostart, w.model.Host, w.model.ClusterHost = 1, false, 0, 1
	if err := w.model.Create(); err != nil {
		tb.Fatal(err)
	}
	w.server = w.model.Service.NewServer()
	ctx := tb.Context()
	var err error
	if w.client, err = govmomi.NewClient(ctx, w.server.URL, true); err != nil {
		tb.Fatal(err)
	}
	w.client.Client.DefaultTransport().MaxIdleConnsPerHost = 2 * benchAtOnce
	reg := w.model.Service.Context.Map
	dc := reg.Any("Datacenter").(*simulator.Datacenter)
	vm := reg.Any("VirtualMachine").(*simulator.VirtualMachine)
	w.datastore = reg.Any("Datastore").Reference()
	w.pool = *reg.Any("ClusterComputeResource").(*simulator.ClusterComputeResource).ResourcePool
	w.template = object.NewVirtualMachine(w.client.Client, vm.Self)
	if w.folder, err = object.NewFolder(w.client.Client, dc.VmFolder).CreateFolder(ctx, "web"); err != nil {
		tb.Fatal(err)
	}
	if err := wait(ctx)(w.template.Rename(ctx, benchTemplate)); err != nil {
		tb.Fatal(err)
	}
	if err := w.template.MarkAsTemplate(ctx); err != nil {
		tb.Fatal(err)
	}
	return w
}

func (w *benchWorld) close() {
	w.server.Close()
	w.model.Remove()
}

func wait(ctx context.Context) func(*object.Task, error) error {
	return func(t *object.Task, err error) error {
		if err != nil {
			return err
		}
		return t.Wait(ctx)
	}
}

// raw is what a script does with govmomi.
func (w *benchWorld) raw(ctx context.Context, i int) error {
	task, err := w.template.Clone(ctx, w.folder, fmt.Sprintf("web-edge-%d", i), types.VirtualMachineCloneSpec{
		Location: types.VirtualMachineRelocateSpec{Pool: &w.pool, Datastore: &w.datastore},
	})
	if err != nil {
		return err
	}
	info, err := task.WaitForResult(ctx)
	if err != nil {
		return err
	}
	made, ok := info.Result.(types.ManagedObjectReference)
	if !ok {
		return fmt.Errorf("clone %d gave no VM", i)
	}
	vm := object.NewVirtualMachine(w.client.Client, made)
	if err := wait(ctx)(vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{
		NumCPUs: 2, MemoryMB: 4096,
		ExtraConfig: []types.BaseOptionValue{
			&types.OptionValue{Key: "guestinfo.ignition.config.data", Value: strings.Repeat("x", benchPayload)},
			&types.OptionValue{Key: "guestinfo.ignition.config.data.encoding", Value: "gzip+base64"},
		},
	})); err != nil {
		return err
	}
	return wait(ctx)(vm.PowerOn(ctx))
}

func (w *benchWorld) site() *fleet.SiteVSphere {
	return &fleet.SiteVSphere{
		URL:      w.server.URL.Scheme + "://" + w.server.URL.Host + "/sdk",
		Username: fleet.Secret{Env: "user"}, Password: fleet.Secret{Env: "pass"},
		Limits: fleet.Limits{Clones: benchAtOnce, PerTemplate: benchAtOnce, Operations: benchAtOnce},
	}
}

func (w *benchWorld) backend() *vcenter.Backend {
	return vcenter.New(vcenter.Options{
		Site: "dc1", Agent: "bench", Log: slog.New(slog.DiscardHandler), Metrics: vcenter.NewMetrics(prometheus.NewRegistry()),
		Secret: func(s fleet.Secret) (string, error) { return s.Env, nil },
	})
}

func benchTask(i int) *executor.Task {
	job := &plan.Job{
		JobRef:   plan.JobRef{Worker: plan.WorkerVSphere, Site: "dc1", Fleet: "web", Node: plan.NodeKey("edge", i)},
		FleetUID: "uid", Action: plan.ActionCreate, Incarnation: 1, Attempt: 1,
		MachineUUID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), MAC: fmt.Sprintf("02:00:00:00:%02x:%02x", i/256, i%256),
		VSphere: &fleet.VSphere{Source: fleet.VSphereSource{Template: benchTemplate}, CPUs: 2, Memory: "4Gi"},
	}
	return &executor.Task{
		Job: job, Owner: executor.OwnerOf("yard", job), Permit: func(context.Context) error { return nil },
		Config: &executor.Config{Digest: "d", GuestInfo: map[string]string{
			"guestinfo.ignition.config.data": strings.Repeat("x", benchPayload), "guestinfo.ignition.config.data.encoding": "gzip+base64",
		}},
	}
}
