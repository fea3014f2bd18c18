package simulator

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"

	"yardmaster.dev/pkg/fleet"
)

// What runs at once is counted from the call to the task's end.
func TestLoad(t *testing.T) {
	t.Parallel()
	r := start(t, Config{CloneDelay: fleet.Duration{Duration: 50 * time.Millisecond}})
	c := &crowd{running: r, folder: r.folder(t), gateway: newGateway(t).URL, each: 4}
	c.templates = []*object.VirtualMachine{r.template(t, "flatcar-4593.2.5")}
	if err := c.make(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	got, err := r.control.ResetLoad(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	one := Busy{Most: 1}
	want := Load{
		Operations: one, Clones: one, Templates: map[string]Busy{"flatcar-4593.2.5": one}, Datastores: map[string]Busy{"ds1": one},
		Calls: got.Calls,
	}
	if d := cmp.Diff(want, got); d != "" || got.Calls["CloneVM_Task"] != 4 {
		t.Errorf("one worker (-want +got):\n%s4 calls of CloneVM_Task are wanted: %v", d, got.Calls)
	}
	again, err := r.control.Load(t.Context())
	if err != nil || again.Clones != (Busy{}) || again.Calls["CloneVM_Task"] != 0 {
		t.Errorf("after a reset: clones %v, calls %v; want none (%v)", again.Clones, again.Calls, err)
	}

	// Two clones that do not end.
	if err := r.control.SetFaults(t.Context(), Rule{On: OnClone, Delay: fleet.Duration{Duration: time.Hour}}); err != nil {
		t.Fatal(err)
	}
	r.beginClones(t, c, "a", "b")
	if again, err = r.control.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := (Busy{Now: 2, Most: 2}); again.Clones != want || again.Operations != want {
		t.Errorf("two at once: clones %v, operations %v; want %v", again.Clones, again.Operations, want)
	}
}

// beginClones begins clones and waits for none.
func (r *running) beginClones(t *testing.T, c *crowd, names ...string) {
	t.Helper()
	for _, name := range names {
		spec, err := r.cloneRequest(t.Context(), c.templates[0], cloneSpec{name: name, folder: c.folder})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.templates[0].Clone(t.Context(), c.folder, name, spec); err != nil {
			t.Fatal(err)
		}
	}
}
