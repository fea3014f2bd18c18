//go:build bench

package bench

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"golang.org/x/sync/errgroup"

	"yardmaster.dev/e2e/harness"
)

// userData stands for a node's Ignition: 8 KiB, as in vsphere.md section 4.
var userData = base64.StdEncoding.EncodeToString(make([]byte, 6<<10))

// rawVCenter clones, reconfigures and powers on with govmomi alone: the best
// that one can write by hand, with batched task waiting and names resolved
// once.
type rawVCenter struct {
	client   *govmomi.Client
	template *object.VirtualMachine
	pool     *object.ResourcePool
	store    *object.Datastore
	dc       *object.Datacenter
	tasks    *taskWaiter
}

func newRawVCenter(tb testing.TB, login string) *rawVCenter {
	tb.Helper()
	ctx := tb.Context()
	u, err := url.Parse(login)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := govmomi.NewClient(ctx, u, true)
	if err != nil {
		tb.Fatal(err)
	}
	c.DefaultTransport().MaxIdleConnsPerHost = 64
	r := &rawVCenter{client: c, tasks: newTaskWaiter(c)}
	f := find.NewFinder(c.Client)
	if r.dc, err = f.DefaultDatacenter(ctx); err != nil {
		tb.Fatal(err)
	}
	f.SetDatacenter(r.dc)
	if r.template, err = f.VirtualMachine(ctx, harness.Template); err != nil {
		tb.Fatal(err)
	}
	if r.pool, err = f.ResourcePool(ctx, "c1/Resources"); err != nil {
		tb.Fatal(err)
	}
	if r.store, err = f.Datastore(ctx, "ds1"); err != nil {
		tb.Fatal(err)
	}
	return r
}

// makeFolder makes the folder of one round.
func (r *rawVCenter) makeFolder(tb testing.TB, name string) *object.Folder {
	tb.Helper()
	folders, err := r.dc.Folders(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	f, err := folders.VmFolder.CreateFolder(tb.Context(), name)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// create makes n VMs with so many workers.
func (r *rawVCenter) create(tb testing.TB, round string, n, workers int) sample {
	tb.Helper()
	folder := r.makeFolder(tb, round)
	start := time.Now()
	ctx, stop := context.WithCancel(tb.Context())
	var waiter sync.WaitGroup
	waiter.Go(func() { r.tasks.run(ctx) })
	var group errgroup.Group
	group.SetLimit(workers)
	for i := range n {
		group.Go(func() error { return r.one(ctx, folder, fmt.Sprintf("%s-%d", round, i)) })
	}
	if err := group.Wait(); err != nil {
		tb.Fatal(err)
	}
	took := time.Since(start)
	stop()
	waiter.Wait()
	return sample{ops: float64(n), took: took}
}

func (r *rawVCenter) one(ctx context.Context, folder *object.Folder, name string) error {
	pool, store := r.pool.Reference(), r.store.Reference()
	spec := types.VirtualMachineCloneSpec{Location: types.VirtualMachineRelocateSpec{Pool: &pool, Datastore: &store}}
	clone, err := r.template.Clone(ctx, folder, name, spec)
	if err != nil {
		return err
	}
	info, err := r.tasks.wait(ctx, clone.Reference())
	if err != nil {
		return err
	}
	ref, ok := info.Result.(types.ManagedObjectReference)
	if !ok {
		return errors.New("a clone without a result")
	}
	vm := object.NewVirtualMachine(r.client.Client, ref)
	change, err := vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: "guestinfo.userdata.data", Value: userData},
		&types.OptionValue{Key: "guestinfo.userdata.data.encoding", Value: "base64"},
	}})
	if err != nil {
		return err
	}
	if _, err := r.tasks.wait(ctx, change.Reference()); err != nil {
		return err
	}
	on, err := vm.PowerOn(ctx)
	if err != nil {
		return err
	}
	_, err = r.tasks.wait(ctx, on.Reference())
	return err
}

// taskWaiter asks for all open tasks in one call every few milliseconds.
type taskWaiter struct {
	pc   *property.Collector
	mu   sync.Mutex
	open map[types.ManagedObjectReference]chan types.TaskInfo
}

func newTaskWaiter(c *govmomi.Client) *taskWaiter {
	return &taskWaiter{pc: property.DefaultCollector(c.Client), open: map[types.ManagedObjectReference]chan types.TaskInfo{}}
}

func (w *taskWaiter) wait(ctx context.Context, ref types.ManagedObjectReference) (types.TaskInfo, error) {
	done := make(chan types.TaskInfo, 1)
	w.mu.Lock()
	w.open[ref] = done
	w.mu.Unlock()
	select {
	case info := <-done:
		if info.Error != nil {
			return info, fmt.Errorf("task %s: %s", ref.Value, info.Error.LocalizedMessage)
		}
		return info, nil
	case <-ctx.Done():
		return types.TaskInfo{}, ctx.Err()
	}
}

func (w *taskWaiter) run(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
		w.mu.Lock()
		var refs []types.ManagedObjectReference
		for ref := range w.open {
			refs = append(refs, ref)
		}
		w.mu.Unlock()
		if len(refs) == 0 {
			continue
		}
		var tasks []mo.Task
		if err := w.pc.Retrieve(ctx, refs, []string{"info"}, &tasks); err != nil {
			continue
		}
		w.mu.Lock()
		for i := range tasks {
			if s := tasks[i].Info.State; s == types.TaskInfoStateSuccess || s == types.TaskInfoStateError {
				w.open[tasks[i].Self] <- tasks[i].Info
				delete(w.open, tasks[i].Self)
			}
		}
		w.mu.Unlock()
	}
}

// govcLoop is the operator's script: clone, change, power on, one VM after
// the other.
func govcLoop(tb testing.TB, login, round string, n int) sample {
	tb.Helper()
	govc := harness.Binary(tb, "govc")
	env := []string{"GOVC_URL=" + login, "GOVC_INSECURE=1", "HOME=" + harness.Dir(tb)}
	call := func(args ...string) {
		cmd := exec.CommandContext(tb.Context(), govc, args...)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			tb.Fatalf("govc %v: %v\n%s", args, err, out)
		}
	}
	start := time.Now()
	for i := range n {
		name := fmt.Sprintf("%s-%d", round, i)
		call("vm.clone", "-vm", harness.Template, "-on=false", "-pool", "c1/Resources", "-ds", "ds1", name)
		call("vm.change", "-vm", name, "-e", "guestinfo.userdata.data="+userData, "-e", "guestinfo.userdata.data.encoding=base64")
		call("vm.power", "-on", name)
	}
	return sample{ops: float64(n), took: time.Since(start)}
}
