package executor_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/executor/executortest"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
)

// fake is a backend in memory: the smallest one that passes the suite.
type fake struct {
	mu       sync.Mutex
	machines map[executor.Owner]*machine
	news     chan executor.Sighting
	made     int
	// fail, if set, is asked before each operation.
	fail func(*executor.Task) error
}

type machine struct {
	id     string
	fleet  string
	config map[string]string
	cpus   int
	boots  int
	hot    bool
}

func newFake() *fake {
	return &fake{machines: map[executor.Owner]*machine{}, news: make(chan executor.Sighting, 64)}
}

func (f *fake) begin(ctx context.Context, t *executor.Task) error {
	if f.fail != nil {
		if err := f.fail(t); err != nil {
			return err
		}
	}
	if err := t.Permit(ctx); err != nil {
		return err
	}
	return ctx.Err()
}

func (f *fake) Create(ctx context.Context, t *executor.Task) (executor.Machine, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.machines[t.Owner]; m != nil {
		return executor.Machine{ID: m.id, UUID: t.Job.MachineUUID, Adopted: true}, nil
	}
	if err := f.begin(ctx, t); err != nil {
		return executor.Machine{}, err
	}
	f.made++
	m := &machine{id: fmt.Sprintf("m-%d", f.made), fleet: t.Job.Fleet, config: t.Config.GuestInfo, boots: 1, hot: true}
	if t.Job.VSphere != nil {
		m.cpus = t.Job.VSphere.CPUs
	}
	f.machines[t.Owner] = m
	return executor.Machine{ID: m.id, UUID: t.Job.MachineUUID, Hot: plan.Hot{CPU: true}}, nil
}

func (f *fake) Resize(ctx context.Context, t *executor.Task) (executor.Machine, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.machines[t.Owner]
	if m == nil {
		return executor.Machine{}, fault.Newf(fault.Permanent, fault.MachineLost, "no machine")
	}
	out := executor.Machine{ID: m.id, UUID: t.Job.MachineUUID, Hot: plan.Hot{CPU: m.hot}}
	want := t.Job.VSphere.CPUs
	if want == m.cpus {
		return out, nil
	}
	if !t.Job.Restart && (want < m.cpus || !m.hot) {
		return out, fault.Newf(fault.Permanent, fault.HotRefused, "not while it runs")
	}
	if err := f.begin(ctx, t); err != nil {
		return out, err
	}
	if m.cpus = want; t.Job.Restart {
		m.boots++
	}
	return out, nil
}

func (f *fake) Blank(ctx context.Context, t *executor.Task) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.machines[t.Owner]
	if m == nil {
		return fault.Newf(fault.Permanent, fault.MachineLost, "no machine")
	}
	if err := f.begin(ctx, t); err != nil {
		return err
	}
	m.config = nil
	return nil
}

func (f *fake) Offer(ctx context.Context, t *executor.Task) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.machines[t.Owner]
	if m == nil {
		return fault.Newf(fault.Permanent, fault.MachineLost, "no machine")
	}
	if err := f.begin(ctx, t); err != nil {
		return err
	}
	m.config = t.Config.GuestInfo
	return nil
}

func (f *fake) Delete(ctx context.Context, t *executor.Task) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.machines[t.Owner] == nil {
		return nil
	}
	if err := f.begin(ctx, t); err != nil {
		return err
	}
	delete(f.machines, t.Owner)
	return nil
}

func (f *fake) Watch(ctx context.Context, _ string, see func(executor.Sighting)) error {
	for {
		select {
		case s := <-f.news:
			see(s)
		case <-ctx.Done():
			return nil
		}
	}
}

func (f *fake) all() map[string]executortest.Machine {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]executortest.Machine{}
	for o, m := range f.machines {
		all[o.String()] = executortest.Machine{On: true, Config: len(m.config) > 0, CPUs: m.cpus, Boots: m.boots}
	}
	return all
}

func (f *fake) give(o executor.Owner, address string) {
	f.news <- executor.Sighting{Fleet: "web", Node: o.Node, Incarnation: o.Incarnation, Address: address}
}

func TestSuiteHoldsForTheFake(t *testing.T) {
	t.Parallel()
	executortest.Run(t, func(*testing.T) executortest.World {
		f := newFake()
		return executortest.World{
			Backend: f, Machines: f.all, Give: f.give,
			Task: func(node, incarnation int) *executor.Task {
				j := job(node, plan.ActionCreate)
				j.Incarnation, j.VSphere = incarnation, &fleet.VSphere{CPUs: 3}
				return &executor.Task{
					Job: j, Owner: executor.OwnerOf("yard", j), Permit: func(context.Context) error { return nil },
					Config: &executor.Config{Digest: "d", GuestInfo: map[string]string{"k": "v"}},
				}
			},
			Cool: func(o executor.Owner) { f.machines[o].hot = false },
			Vanish: func(o executor.Owner) {
				f.news <- executor.Sighting{Fleet: "web", Node: o.Node, Incarnation: o.Incarnation, Lost: true, Detail: "gone"}
			},
		}
	})
}

func TestOwner(t *testing.T) {
	t.Parallel()
	o := executor.Owner{Yard: "y", FleetUID: "f", Node: "edge-0", Incarnation: 3}
	got, err := executor.ParseOwner(o.String())
	if err != nil || got != o {
		t.Errorf("ParseOwner(%q) = %+v, %v; want %+v", o, got, err, o)
	}
	for _, bad := range []string{"", "a/b/c", "a/b/c/d", "a/b/c/1/2"} {
		if got, err := executor.ParseOwner(bad); err == nil {
			t.Errorf("ParseOwner(%q) = %+v; want an error", bad, got)
		}
	}
	other := o
	other.Incarnation = 1
	if !o.SameNode(other) || o == other {
		t.Errorf("SameNode(%v, %v) = false", o, other)
	}
	other.FleetUID = "g"
	if o.SameNode(other) {
		t.Errorf("SameNode(%v, %v) = true", o, other)
	}
}
