package vcenter

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
)

// guestAddress has a VM's guest report an address.
func (w *world) guestAddress(t *testing.T, name, addr string) {
	t.Helper()
	vm := w.vm(t, name)
	ctx := w.model.Service.Context
	ctx.WithLock(vm.Reference(), func() {
		ctx.Map.Update(ctx, ctx.Map.Get(vm.Reference()), []types.PropertyChange{
			{Name: "guest.ipAddress", Val: addr},
		})
	})
}

func TestAddressOfAStranger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	ctx := t.Context()
	other := jobOf(7, 1)
	other.Owner.Yard = "yard-2"
	if _, err := b.Create(ctx, other); err != nil {
		t.Fatal(err)
	}
	w.guestAddress(t, "web-edge-7", "10.0.0.10")
	sweep := func() {
		t.Helper()
		err := b.with(ctx, func(c *connection) error { return b.sweep(ctx, c, testYard, func(executor.Sighting) {}) })
		if err != nil {
			t.Fatal(err)
		}
	}
	sweep()
	_, err := b.Create(ctx, jobOf(1, 1))
	wantFault(t, err, fault.Transient, fault.AddressTaken, "10.0.0.10", "web-edge-7")
	var taken *takenError
	if !errors.As(err, &taken) || !slices.Equal(taken.Taken(), []string{"10.0.0.10"}) {
		t.Errorf("taken %v; want 10.0.0.10", taken)
	}
	if n := len(w.all(t)); n != 1 {
		t.Errorf("%d VMs; want the stranger only", n)
	}
	// The sweep is old by now; the VM itself has the last word.
	w.guestAddress(t, "web-edge-7", "10.0.0.99")
	if _, err := b.Create(ctx, jobOf(1, 1)); err != nil {
		t.Errorf("Create once the stranger has left the address: %v", err)
	}
	w.guestAddress(t, "web-edge-1", "10.0.0.99")
	sweep()
	if got := b.Trouble(); !strings.Contains(got, "10.0.0.99 of node web-edge-1") || !strings.Contains(got, "web-edge-7") {
		t.Errorf("trouble %q; want the address that two machines have", got)
	}
	// What is the yard's own never counts: the planner knows whose it is.
	w.guestAddress(t, "web-edge-1", "10.0.0.10")
	sweep()
	if got := b.Trouble(); got != "" {
		t.Errorf("trouble %q; want none any more", got)
	}
	if _, err := b.Create(ctx, jobOf(2, 1)); err != nil {
		t.Errorf("Create beside a machine of the yard with that address: %v", err)
	}
}
