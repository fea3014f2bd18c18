package vcenter

import (
	"testing"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fault"
)

// Two deletions may wait for the same unknown clone. Neither may overlook it
// because the other one waits, and both must go on when it ends.
func TestDeletionsWaitTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	hold := w.abandonedClone(t, w.backend(t))
	deleted := make(chan error, 2)
	go func() { deleted <- b.Delete(t.Context(), jobOf(2, 1)) }()
	waitFor(t, func() bool { return b.openTasks() == 1 })
	go func() { deleted <- b.Delete(t.Context(), jobOf(1, 1)) }()
	waitFor(t, func() bool { return b.waiting() == 2 })
	close(hold)
	for range 2 {
		if err := <-deleted; err != nil {
			t.Errorf("Delete: %v", err)
		}
	}
	if n := len(w.all(t)); n != 0 {
		t.Errorf("%d VMs; want none", n)
	}
}

// waiting is how many wait for tasks of the backend's connection.
func (b *Backend) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current.tasks.mu.Lock()
	defer b.current.tasks.mu.Unlock()
	count := 0
	for _, o := range b.current.tasks.open {
		count += len(o.waiting)
	}
	return count
}

// A VM whose host or datastore is away is there and shows neither owner nor
// UUID: it may well run, so its address must not be given to another one.
func TestDeleteOfAnUnreadableMachineIsNoSuccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	task := jobOf(1, 1)
	made, err := b.Create(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	task.Job.MachineID = made.ID
	registry := w.model.Service.Context.Map
	vm, ok := registry.Get(types.ManagedObjectReference{Type: "VirtualMachine", Value: made.ID}).(*simulator.VirtualMachine)
	if !ok {
		t.Fatalf("no VM %s", made.ID)
	}
	var config *types.VirtualMachineConfigInfo
	registry.WithLock(w.model.Service.Context, vm, func() { config, vm.Config = vm.Config, &types.VirtualMachineConfigInfo{} })
	err = b.Delete(t.Context(), task)
	wantFault(t, err, fault.Transient, fault.MachineBusy)
	registry.WithLock(w.model.Service.Context, vm, func() { vm.Config = config })
	if err := b.Delete(t.Context(), task); err != nil {
		t.Errorf("Delete when it is back: %v", err)
	}
	if n := len(w.all(t)); n != 0 {
		t.Errorf("%d VMs; want none", n)
	}
}

// A machine that is made again for the same incarnation, or registered anew,
// has another reference: that is no loss.
func TestNewReferenceIsNotLost(t *testing.T) {
	t.Parallel()
	s := newSightings()
	s.sweep(fleetOf(4), testYard)
	seen := fleetOf(4)
	e := seen[vmRef("edge-2")]
	delete(seen, vmRef("edge-2"))
	e.address = "10.0.0.9"
	seen[vmRef("edge-2 again")] = e
	told := false
	for range 2 * lostAfter {
		news, missing := s.sweep(seen, testYard)
		if len(missing) != 0 {
			t.Errorf("missing %+v; want none", missing[0])
		}
		for _, n := range news {
			told = told || n.Address == "10.0.0.9"
		}
	}
	if !told {
		t.Error("the address of the new machine was not told")
	}
	task := jobOf(3, 1)
	s.expect(task, "edge-3 again")
	if s.known[task.Owner.String()].ref != vmRef("edge-3 again") {
		t.Error("the machine just made is looked for under its old reference")
	}
}

// Those who wait while a connection is tried share its failure: one after
// the other they would wait for longer than their jobs may last.
func TestFailureToConnectIsShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	b.failure, b.failed = fault.Newf(fault.Busy, fault.BackendDown, "tried in vain"), time.Now().Add(time.Hour)
	before := w.tasks.calls.Load()
	_, err := b.Create(t.Context(), jobOf(1, 1))
	wantFault(t, err, fault.Busy, fault.BackendDown, "tried in vain")
	if calls := w.tasks.calls.Load() - before; calls != 0 {
		t.Errorf("%d calls; want none by one who waited", calls)
	}
	b.failed = time.Now()
	if _, err := b.Create(t.Context(), jobOf(1, 1)); err != nil {
		t.Errorf("Create by one who came later: %v", err)
	}
}
