package vcenter

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
)

// TestOneMachinePerNode lets several executors work on the same nodes at
// once, which the seat forbids and a frozen process does all the same. Each
// crashes again and again: before any step, and in the middle of calls. One
// node's name is taken by a foreign VM.
func TestOneMachinePerNode(t *testing.T) {
	t.Parallel()
	const nodes, executors, crashes, foreignNode = 25, 4, 3, 9
	w := newWorld(t)
	alien := w.alien(t, "web-edge-9")
	var group sync.WaitGroup
	for e := range executors {
		group.Go(func() {
			for life := range nodes * crashes {
				w.crashing(t, life/crashes, e, foreignNode)
			}
		})
	}
	group.Wait()

	b := w.backend(t)
	for i := range nodes {
		_, err := b.Create(t.Context(), jobOf(i, 1))
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
	if vm := vms["web-edge-9"]; vm.Self != alien || isOn(vm) || extra(vm)[keyOwner] != "" {
		t.Errorf("the foreign VM was touched: %v", vm.Self)
	}
	for i := range nodes {
		if i != foreignNode {
			whole(t, vms, i)
		}
	}
}

// whole checks that a node's VM has all that it should have.
func whole(t *testing.T, vms map[string]mo.VirtualMachine, i int) {
	t.Helper()
	vm := vms[name(jobOf(i, 1))]
	if vm.Config == nil {
		t.Errorf("node %d has no VM", i)
		return
	}
	var macs []string
	for _, c := range cards(object.VirtualDeviceList(vm.Config.Hardware.Device)) {
		macs = append(macs, c.GetVirtualEthernetCard().MacAddress)
	}
	slices.Sort(macs)
	want := []string{jobOf(i, 1).Job.MAC, jobOf(i, 1).Job.Networks[1].MAC}
	if !isOn(vm) || !slices.Equal(macs, want) || extra(vm)["guestinfo.ignition.config.data"] != "ZGF0YQ==" {
		t.Errorf("%s: on %v, MACs %s, config %q", vm.Name, isOn(vm), macs, extra(vm)["guestinfo.ignition.config.data"])
	}
}

var errCrash = errors.New("crash")

// crashing is one life of an executor process that ends in a crash, or not.
func (w *world) crashing(t *testing.T, i, by, foreignNode int) {
	t.Helper()
	ctx, crash := context.WithTimeoutCause(t.Context(), time.Duration(rand.Int64N(int64(150*time.Millisecond))), errCrash)
	defer crash()
	b := w.backend(t)
	defer b.Close(context.WithoutCancel(ctx))
	job := jobOf(i, 1)
	job.Epoch = int64(by + 1) // all of them think that the seat is theirs
	job.Permit = func(ctx context.Context) error {
		if rand.IntN(4) == 0 {
			crash()
		}
		return context.Cause(ctx)
	}
	_, err := b.Create(ctx, job)
	if err == nil || ctx.Err() != nil {
		return
	}
	f := fault.Of(err)
	taken := f.Kind == fault.Permanent && f.Reason == fault.NameTaken && i == foreignNode
	if f.Kind != fault.Transient && f.Kind != fault.Cancelled && !taken {
		t.Errorf("executor %d, node %d: %v (%v, %v)", by, i, err, f.Kind, f.Reason)
	}
}

// alien makes a foreign VM where our VMs are.
func (w *world) alien(t *testing.T, name string) types.ManagedObjectReference {
	t.Helper()
	c := w.backend(t)
	var made types.ManagedObjectReference
	err := c.with(t.Context(), func(c *connection) error {
		p, err := c.names.place(t.Context(), jobOf(0, 1).Job)
		if err != nil {
			return err
		}
		task, err := object.NewVirtualMachine(c.vim, p.template.ref).Clone(t.Context(), object.NewFolder(c.vim, p.folder), name,
			types.VirtualMachineCloneSpec{Location: types.VirtualMachineRelocateSpec{Pool: &p.pool}})
		if err != nil {
			return err
		}
		result, err := c.tasks.wait(t.Context(), task.Reference(), work{operation: opClone}, func() {})
		made, _ = result.(types.ManagedObjectReference)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

var _ executor.Backend = (*Backend)(nil)

// TestResizeUnderCrashes has executors that crash before any step and in the
// middle of calls change sizes with a restart; in the end every VM has its new
// size, is on, and nothing was made or lost.
func TestResizeUnderCrashes(t *testing.T) {
	t.Parallel()
	const nodes, crashes = 6, 12
	w := newWorld(t)
	b := w.backend(t)
	for i := range nodes {
		if _, err := b.Create(t.Context(), jobOf(i, 1)); err != nil {
			t.Fatal(err)
		}
	}
	smaller := func(i int) *executor.Task {
		task := jobOf(i, 1)
		v := *task.Job.VSphere
		v.CPUs, v.Memory, v.Disk = 1, "1Gi", "30Gi"
		task.Job.VSphere, task.Job.Restart, task.Config = &v, true, nil
		return task
	}
	var group sync.WaitGroup
	for i := range nodes {
		group.Go(func() {
			for range crashes {
				w.crashingResize(t, smaller(i))
			}
		})
	}
	group.Wait()
	for i := range nodes {
		if _, err := b.Resize(t.Context(), smaller(i)); err != nil {
			t.Errorf("Resize(%d) after the crashes: %v", i, err)
		}
	}
	vms := w.all(t)
	if len(vms) != nodes {
		t.Errorf("%d VMs; want %d", len(vms), nodes)
	}
	for _, vm := range vms {
		small(t, vm)
	}
}

func small(t *testing.T, vm mo.VirtualMachine) {
	t.Helper()
	have := vm.Config.Hardware
	size := disk(object.VirtualDeviceList(have.Device)).CapacityInBytes
	if !isOn(vm) || have.NumCPU != 1 || have.MemoryMB != 1024 || size != 30<<30 {
		t.Errorf("%s: on %v, %d CPUs, %d MiB, disk %d", vm.Name, isOn(vm), have.NumCPU, have.MemoryMB, size)
	}
}

func (w *world) crashingResize(t *testing.T, task *executor.Task) {
	t.Helper()
	ctx, crash := context.WithTimeoutCause(t.Context(), time.Duration(rand.Int64N(int64(60*time.Millisecond))), errCrash)
	defer crash()
	b := w.backend(t)
	defer b.Close(context.WithoutCancel(ctx))
	task.Permit = func(ctx context.Context) error {
		if rand.IntN(4) == 0 {
			crash()
		}
		return context.Cause(ctx)
	}
	_, err := b.Resize(ctx, task)
	if err == nil || ctx.Err() != nil {
		return
	}
	if f := fault.Of(err); f.Kind != fault.Transient && f.Kind != fault.Cancelled {
		t.Errorf("%s: %v (%v, %v)", task.Job.Node, err, f.Kind, f.Reason)
	}
}

// A guest that does not hear the wish to shut down is switched off.
func TestResizeOfDeafGuest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	if _, err := b.Create(t.Context(), jobOf(0, 1)); err != nil {
		t.Fatal(err)
	}
	b.current.shutdownFor = time.Millisecond
	w.tasks.add(&rule{operation: "shutdownGuest", fault: &types.ToolsUnavailable{}})
	task := jobOf(0, 1)
	v := *task.Job.VSphere
	v.CPUs = 1
	task.Job.VSphere, task.Job.Restart = &v, true
	if _, err := b.Resize(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	if vm := w.all(t)["web-edge-0"]; !isOn(vm) || vm.Config.Hardware.NumCPU != 1 {
		t.Errorf("on %v, %d CPUs; want it on with 1", isOn(vm), vm.Config.Hardware.NumCPU)
	}
}
