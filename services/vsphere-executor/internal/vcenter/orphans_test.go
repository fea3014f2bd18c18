package vcenter

import (
	"context"
	"testing"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// TestMachinesAreSeenAndOrphansRemoved finds what carries the mark, and
// removes exactly the VM that was meant and still is the one that was seen.
func TestMachinesAreSeenAndOrphansRemoved(t *testing.T) { //nolint:gocyclo // one story, told in order
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	ctx := t.Context()
	for i := range 3 {
		if _, err := b.Create(ctx, jobOf(i, 1)); err != nil {
			t.Fatal(err)
		}
	}
	see := func(yard string) map[string]*v1.SeenMachine {
		t.Helper()
		machines, err := b.Machines(ctx, yard)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]*v1.SeenMachine{}
		for _, m := range machines {
			out[m.GetName()] = m
		}
		return out
	}
	if other := see("yard-2"); len(other) != 0 {
		t.Errorf("another yard sees %v as its own", other)
	}
	ours := see(testYard)
	one := ours["web-edge-1"]
	if len(ours) != 3 || !one.GetOn() || one.GetOwner() != jobOf(1, 1).Owner.String() || one.GetMade() == nil {
		t.Fatalf("machines %v; want three, on, with their marks and dates", ours)
	}
	orphan := func(node int, id string) *executor.Task {
		task := jobOf(node, 1)
		task.Job.MachineID = id
		return task
	}
	if err := b.RemoveOrphan(ctx, orphan(0, one.GetId())); fault.Of(err).Kind != fault.Permanent {
		t.Errorf("removal by another mark: %v; want it refused", err)
	}
	refused := orphan(1, one.GetId())
	refused.Permit = func(context.Context) error {
		return fault.Newf(fault.Cancelled, fault.Stopped, "the seat is another's")
	}
	if err := b.RemoveOrphan(ctx, refused); err == nil || len(see(testYard)) != 3 {
		t.Errorf("removal without the seat: %v; %d machines are left", err, len(see(testYard)))
	}
	for range 2 { // the second time finds nothing
		if err := b.RemoveOrphan(ctx, orphan(1, one.GetId())); err != nil {
			t.Fatal(err)
		}
		if left := see(testYard); len(left) != 2 || left["web-edge-1"] != nil {
			t.Errorf("left are %v; want the other two", left)
		}
	}
}
