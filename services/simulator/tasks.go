package simulator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/service"
)

// operation is a call that begins a task, with all that the task needs to
// know of it.
type operation struct {
	verb  Verb
	vm    string
	clone *types.CloneVM_Task
	// disks are the sizes that the clone's disks get, by their keys.
	disks map[int32]int64
	// needs is the room that it takes on the datastore.
	needs int64
	takes fleet.Duration
	// alone: no other such operation and no look-up meanwhile.
	alone bool
	// refuse, if set, is the fault that the task ends with at once.
	refuse types.BaseMethodFault
	ctx    *simulator.Context
}

// pending hands an operation from the call to the task that the simulator
// makes for it. Its key is the object whose lock the call holds.
type pending struct {
	mu  sync.Mutex
	ops map[types.ManagedObjectReference]operation
}

func (p *pending) put(ref types.ManagedObjectReference, op operation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ops[ref] = op
}

func (p *pending) take(ref types.ManagedObjectReference) (operation, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	op, ok := p.ops[ref]
	delete(p.ops, ref)
	return op, ok
}

// dispatch calls the simulator's method, which makes a task for target and
// starts it; adopt finds op there.
func (w *World) dispatch(ctx *simulator.Context, target mo.Entity, op operation, call func() soap.HasFault) soap.HasFault {
	defer w.reg.AcquireLock(ctx, target)()
	ref := target.Reference()
	if op.vm == "" {
		op.vm = target.Entity().Name
	}
	op.ctx = ctx
	w.pending.put(ref, op)
	defer w.pending.take(ref)
	return call()
}

// adopt wraps a new task's work. It is called before the task starts, and
// before anybody can have seen it.
func (w *World) adopt(t *simulator.Task) {
	target := *t.Info.Entity
	work := w.guarded(t.Execute)
	op, ok := w.pending.take(target)
	if !ok {
		t.Execute = work
		return
	}
	// A task holds its entity's lock while it works, so that a slow clone
	// would make every reader of the template wait. It gets the lock of
	// nothing instead; perform takes the right one when it needs it.
	t.Info.Entity = &types.ManagedObjectReference{Type: target.Type, Value: "waiting-" + t.Self.Value}
	if op.ctx.Session != nil {
		t.Info.Reason = &types.TaskReasonUser{UserName: op.ctx.Session.UserName}
	}
	end := w.meter.begin(w.placeOf(op, target))
	t.Execute = func(t *simulator.Task) (types.AnyType, types.BaseMethodFault) {
		defer end()
		w.reg.WithLock(w.context(), t, func() { t.Info.Entity = &target })
		defer w.showRoom()
		return w.perform(op, target, func() (types.AnyType, types.BaseMethodFault) { return work(t) })
	}
}

// guarded makes a task that panics one that fails: the simulator assumes much
// of what clients send, and a panic in a task's goroutine ends the process.
func (w *World) guarded(work func(*simulator.Task) (types.AnyType, types.BaseMethodFault)) func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
	return func(t *simulator.Task) (res types.AnyType, fault types.BaseMethodFault) {
		w.room.enter()
		defer w.leaveRoom()
		defer func() {
			if p := recover(); p != nil {
				w.log.ErrorContext(w.ctx, "the vcenter simulator panicked in a task", service.KeyAction, t.Info.DescriptionId, service.KeyErr, fmt.Sprint(p))
				res, fault = nil, &types.SystemError{Reason: fmt.Sprint(p)}
			}
		}()
		return work(t)
	}
}

// perform is the life of a task: it waits, fails if a rule says so, works,
// and journals before the client can see that it is done.
func (w *World) perform(op operation, target types.ManagedObjectReference, work func() (types.AnyType, types.BaseMethodFault)) (types.AnyType, types.BaseMethodFault) {
	rule := w.faults.strike(op.verb, op.vm)
	if !w.sleep(w.pause(op.takes, rule)) {
		return nil, &types.RequestCanceled{}
	}
	fault := rule.fault()
	if fault != nil && !rule.Ghost {
		return nil, fault
	}
	if op.refuse != nil {
		return nil, op.refuse
	}
	if op.alone {
		w.gate.Lock()
		defer w.gate.Unlock()
	}
	if full := w.full(op); full != nil {
		return nil, full
	}
	// The call's own context: the work locks the same object again.
	defer w.reg.AcquireLock(op.ctx, target)()
	if w.reg.Get(target) == nil {
		return nil, &types.ManagedObjectNotFound{Obj: target}
	}
	undo := w.detach(target)
	res, failed := work()
	if failed != nil {
		undo()
		return res, failed
	}
	w.settle(op, target, res)
	if err := w.journal.failed(); err != nil {
		return nil, &types.SystemError{Reason: err.Error()}
	}
	if fault != nil {
		return nil, fault
	}
	return res, nil
}

// detach gives a VM its own copies of the lists that the simulator changes in
// place: a reader may be writing the old ones to its client. It returns what
// puts them back, because the simulator leaves them half changed when a change
// of devices fails.
func (w *World) detach(target types.ManagedObjectReference) (undo func()) {
	vm, ok := w.reg.Get(target).(*simulator.VirtualMachine)
	if !ok {
		return func() {}
	}
	devices, options := vm.Config.Hardware.Device, vm.Config.ExtraConfig
	vm.Config.Hardware.Device, vm.Config.ExtraConfig = slices.Clone(devices), slices.Clone(options)
	nets, networks := vm.Guest.Net, vm.Network
	vm.Guest.Net, vm.Network = slices.Clone(nets), slices.Clone(networks)
	summary := vm.Summary.Config
	return func() {
		vm.Config.Hardware.Device, vm.Config.ExtraConfig = devices, options
		vm.Guest.Net, vm.Network = nets, networks
		vm.Summary.Config = summary
	}
}

// settle finishes what the simulator left undone and journals the result.
func (w *World) settle(op operation, target types.ManagedObjectReference, res types.AnyType) {
	switch op.verb {
	case OnClone:
		w.settleClone(op, target, res)
	case OnCreate, OnReconfigure, OnRename:
		if ref, ok := res.(types.ManagedObjectReference); ok {
			target = ref
		}
		if vm, ok := w.reg.Get(target).(*simulator.VirtualMachine); ok {
			w.reg.WithLock(op.ctx, vm, func() { w.save(&vm.VirtualMachine) })
		}
	case OnPowerOn, OnPowerOff, OnReset, OnDestroy, OnBoot, OnPhoneHome, OnReport, OnLogin:
		// UpdateObject and RemoveObject saw it.
	}
}

func (w *World) settleClone(op operation, source types.ManagedObjectReference, res types.AnyType) {
	ref, ok := res.(types.ManagedObjectReference)
	if !ok {
		return
	}
	clone, ok := w.reg.Get(ref).(*simulator.VirtualMachine)
	if !ok {
		return
	}
	template, ok := w.reg.Get(source).(*simulator.VirtualMachine)
	if !ok {
		return
	}
	w.reg.WithLock(op.ctx, clone, func() {
		finishClone(&clone.VirtualMachine, &template.VirtualMachine, op)
		w.guests.made(ref, template.Name)
		w.save(&clone.VirtualMachine)
	})
}

// sleep waits for d and reports whether the world still turns.
func (w *World) sleep(d time.Duration) bool {
	if d <= 0 {
		return w.ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.ctx.Done():
		return false
	}
}

// jitter spreads d by a quarter either way: equal machines are never equally
// fast.
func (w *World) jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d*3/4 + rand.N(d/2+1)
}
