// Package executortest is the suite that every executor.Backend passes: what
// holds whichever world the machines live in. Backends add their own tests of
// what is particular to theirs.
package executortest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
)

// World is a backend and a way to look behind it.
type World struct {
	Backend executor.Backend
	// Task makes a permitted task for a node's machine, the same each time.
	Task func(node, incarnation int) *executor.Task
	// Machines lists what exists, by owner key.
	Machines func() map[string]Machine
	// Give lets the guest report an address, as its hypervisor sees it.
	Give func(o executor.Owner, address string)
	// Vanish removes a machine behind the backend's back.
	Vanish func(o executor.Owner)
	// Cool has a machine take no change while it runs.
	Cool func(o executor.Owner)
}

// Machine is a machine as the world has it.
type Machine struct {
	On bool
	// Config reports whether the node's config can still be read.
	Config bool
	CPUs   int
	// Boots counts how often it was switched on.
	Boots int
}

// Run runs the suite; each part gets a world of its own.
func Run(t *testing.T, world func(t *testing.T) World) {
	t.Helper()
	for name, part := range map[string]func(*testing.T, World){
		"create twice":          createTwice,
		"create at once":        createAtOnce,
		"blank twice":           blankTwice,
		"offer twice":           offerTwice,
		"resize while it runs":  resizeHot,
		"resize with a restart": resizeRestart,
		"resize is refused":     resizeRefused,
		"delete twice":          deleteTwice,
		"delete another's":      deleteAnothers,
		"nothing without leave": nothingWithoutLeave,
		"stops when told":       stopsWhenTold,
		"sightings":             sightings,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			part(t, world(t))
		})
	}
}

func create(t *testing.T, w World, node int) executor.Machine {
	t.Helper()
	m, err := w.Backend.Create(t.Context(), w.Task(node, 1))
	if err != nil {
		t.Fatalf("Create(%d): %v", node, err)
	}
	return m
}

func createTwice(t *testing.T, w World) {
	t.Helper()
	first, second := create(t, w, 1), create(t, w, 1)
	if first.ID == "" || first.ID != second.ID || first.UUID != second.UUID {
		t.Errorf("Create gave %+v, then %+v; want one machine", first, second)
	}
	if first.Adopted || !second.Adopted {
		t.Errorf("adopted %v, then %v; want false, then true", first.Adopted, second.Adopted)
	}
	all := w.Machines()
	if m := all[w.Task(1, 1).Owner.String()]; len(all) != 1 || !m.On || !m.Config {
		t.Errorf("machines %+v; want one, on, with its config", all)
	}
}

func createAtOnce(t *testing.T, w World) {
	t.Helper()
	const nodes = 8
	var group sync.WaitGroup
	for i := range nodes {
		group.Go(func() {
			if _, err := w.Backend.Create(t.Context(), w.Task(i, 1)); err != nil {
				t.Errorf("Create(%d): %v", i, err)
			}
		})
	}
	group.Wait()
	if all := w.Machines(); len(all) != nodes {
		t.Errorf("%d machines; want %d", len(all), nodes)
	}
}

func blankTwice(t *testing.T, w World) {
	t.Helper()
	create(t, w, 1)
	for range 2 {
		if err := w.Backend.Blank(t.Context(), w.Task(1, 1)); err != nil {
			t.Fatalf("Blank: %v", err)
		}
		if m := w.Machines()[w.Task(1, 1).Owner.String()]; m.Config || !m.On {
			t.Errorf("after Blank the machine is %+v; want it on, without config", m)
		}
	}
	err := w.Backend.Blank(t.Context(), w.Task(2, 1))
	if f := fault.Of(err); f.Reason != fault.MachineLost {
		t.Errorf("Blank of a machine that is not there: %v (%v); want machine_lost", err, f.Reason)
	}
}

func offerTwice(t *testing.T, w World) {
	t.Helper()
	create(t, w, 1)
	if err := w.Backend.Blank(t.Context(), w.Task(1, 1)); err != nil {
		t.Fatalf("Blank: %v", err)
	}
	for range 2 {
		if err := w.Backend.Offer(t.Context(), w.Task(1, 1)); err != nil {
			t.Fatalf("Offer: %v", err)
		}
		if m := w.first(); !m.Config || !m.On || m.Boots != 1 {
			t.Errorf("after Offer the machine is %+v; want it on since its first boot, with a config", m)
		}
	}
	err := w.Backend.Offer(t.Context(), w.Task(2, 1))
	if f := fault.Of(err); f.Reason != fault.MachineLost {
		t.Errorf("Offer to a machine that is not there: %v (%v); want machine_lost", err, f.Reason)
	}
}

// sized is the task that gives node 1 another number of CPUs.
func sized(w World, cpus int, restart bool) *executor.Task {
	task := w.Task(1, 1)
	job := *task.Job
	v := *job.VSphere
	v.CPUs = cpus
	job.Action, job.VSphere, job.Restart = plan.ActionResize, &v, restart
	task.Job, task.Config = &job, nil
	return task
}

func (w World) first() Machine { return w.Machines()[w.Task(1, 1).Owner.String()] }

func resizeHot(t *testing.T, w World) {
	t.Helper()
	made := create(t, w, 1)
	cpus := w.Task(1, 1).Job.VSphere.CPUs
	if !made.Hot.CPU {
		t.Errorf("Create gave %+v; want a machine that takes CPUs while it runs", made)
	}
	for range 2 {
		m, err := w.Backend.Resize(t.Context(), sized(w, cpus+1, false))
		if err != nil || m.ID != made.ID || !m.Hot.CPU {
			t.Errorf("Resize = %+v, %v; want machine %s", m, err, made.ID)
		}
		if m := w.first(); !m.On || m.CPUs != cpus+1 || m.Boots != 1 {
			t.Errorf("after Resize the machine is %+v; want it on since its first boot, with %d CPUs", m, cpus+1)
		}
	}
}

func resizeRestart(t *testing.T, w World) {
	t.Helper()
	create(t, w, 1)
	if err := w.Backend.Blank(t.Context(), w.Task(1, 1)); err != nil {
		t.Fatalf("Blank: %v", err)
	}
	cpus := w.Task(1, 1).Job.VSphere.CPUs
	for range 2 {
		if _, err := w.Backend.Resize(t.Context(), sized(w, cpus-1, true)); err != nil {
			t.Errorf("Resize: %v", err)
		}
		if m := w.first(); !m.On || m.CPUs != cpus-1 || m.Boots != 2 || m.Config {
			t.Errorf("after Resize the machine is %+v; want it on after one restart, with %d CPUs, without config", m, cpus-1)
		}
	}
}

func resizeRefused(t *testing.T, w World) {
	t.Helper()
	_, err := w.Backend.Resize(t.Context(), sized(w, 1, true))
	if f := fault.Of(err); f.Reason != fault.MachineLost {
		t.Errorf("Resize of a machine that is not there: %v (%v); want machine_lost", err, f.Reason)
	}
	create(t, w, 1)
	before := w.first()
	w.Cool(w.Task(1, 1).Owner)
	for _, cpus := range []int{before.CPUs + 1, before.CPUs - 1} {
		_, err := w.Backend.Resize(t.Context(), sized(w, cpus, false))
		if f := fault.Of(err); f.Reason != fault.HotRefused || f.Kind != fault.Permanent {
			t.Errorf("Resize to %d CPUs: %v (%v); want hot_refused", cpus, err, f.Reason)
		}
	}
	refused := sized(w, before.CPUs-1, true)
	refused.Permit = func(context.Context) error {
		return fault.New(fault.Cancelled, fault.Stopped, errors.New("the seat is another's"))
	}
	if _, err := w.Backend.Resize(t.Context(), refused); fault.Of(err).Kind != fault.Cancelled {
		t.Errorf("Resize without leave: %v; want cancelled", err)
	}
	if m := w.first(); m != before {
		t.Errorf("the machine is %+v after refusals; want it untouched, %+v", m, before)
	}
}

func deleteTwice(t *testing.T, w World) {
	t.Helper()
	create(t, w, 1)
	create(t, w, 2)
	for range 2 {
		if err := w.Backend.Delete(t.Context(), w.Task(1, 1)); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		all := w.Machines()
		if _, ok := all[w.Task(2, 1).Owner.String()]; !ok || len(all) != 1 {
			t.Errorf("machines %+v; want node 2's alone", all)
		}
	}
}

func deleteAnothers(t *testing.T, w World) {
	t.Helper()
	create(t, w, 1)
	if err := w.Backend.Delete(t.Context(), w.Task(1, 2)); err != nil {
		t.Errorf("Delete of an incarnation that never was: %v", err)
	}
	if n := len(w.Machines()); n != 1 {
		t.Errorf("%d machines; want the first incarnation's untouched", n)
	}
}

func nothingWithoutLeave(t *testing.T, w World) {
	t.Helper()
	create(t, w, 1)
	refused := func(node int) *executor.Task {
		task := w.Task(node, 1)
		task.Permit = func(context.Context) error {
			return fault.New(fault.Cancelled, fault.Stopped, errors.New("the seat is another's"))
		}
		return task
	}
	_, err := w.Backend.Create(t.Context(), refused(2))
	for name, err := range map[string]error{
		"Create": err,
		"Blank":  w.Backend.Blank(t.Context(), refused(1)),
		"Offer":  w.Backend.Offer(t.Context(), refused(1)),
		"Delete": w.Backend.Delete(t.Context(), refused(1)),
	} {
		if f := fault.Of(err); err == nil || f.Kind != fault.Cancelled {
			t.Errorf("%s without leave: %v (%v); want cancelled", name, err, f.Kind)
		}
	}
	all := w.Machines()
	if m := all[w.Task(1, 1).Owner.String()]; len(all) != 1 || !m.On || !m.Config {
		t.Errorf("machines %+v; want node 1's alone, untouched", all)
	}
}

func stopsWhenTold(t *testing.T, w World) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	task := w.Task(1, 1)
	leave := task.Permit
	task.Permit = func(ctx context.Context) error {
		stop()
		return leave(ctx)
	}
	if _, err := w.Backend.Create(ctx, task); fault.Of(err).Kind != fault.Cancelled {
		t.Errorf("Create that was stopped: %v (%v); want cancelled", err, fault.Of(err).Kind)
	}
	create(t, w, 1)
	if n := len(w.Machines()); n != 1 {
		t.Errorf("%d machines after a stop and another try; want 1", n)
	}
}

// watchTime bounds how long a sighting may take.
const watchTime = time.Minute

func sightings(t *testing.T, w World) {
	t.Helper()
	create(t, w, 1)
	create(t, w, 2)
	create(t, w, 3)
	task := w.Task(1, 1)
	ctx, stop := context.WithTimeout(t.Context(), watchTime)
	defer stop()
	seen := make(chan executor.Sighting, 16)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	watching.Go(func() {
		if err := w.Backend.Watch(ctx, task.Owner.Yard, func(s executor.Sighting) { seen <- s }); err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	w.Give(task.Owner, "10.0.0.77")
	want := executor.Sighting{Fleet: task.Job.Fleet, Node: task.Job.Node, Incarnation: 1, Address: "10.0.0.77"}
	if s := next(ctx, t, seen); s != want {
		t.Errorf("sighting %+v; want %+v", s, want)
	}
	if err := w.Backend.Delete(ctx, w.Task(2, 1)); err != nil {
		t.Errorf("Delete: %v", err)
	}
	w.Vanish(task.Owner)
	s := next(ctx, t, seen)
	if s.Node != task.Job.Node || !s.Lost || s.Detail == "" {
		t.Errorf("sighting %+v; want node %s lost, with details", s, task.Job.Node)
	}
}

func next(ctx context.Context, t *testing.T, seen <-chan executor.Sighting) executor.Sighting {
	t.Helper()
	select {
	case s := <-seen:
		return s
	case <-ctx.Done():
		t.Fatal("nothing was sighted in time")
	}
	return executor.Sighting{}
}
