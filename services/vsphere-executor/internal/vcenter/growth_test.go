package vcenter

import (
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
)

// counter counts the calls that a vCenter gets, by method.
type counter struct {
	mu    sync.Mutex
	calls map[string]int
}

func (w *world) counted() *counter {
	c := &counter{calls: map[string]int{}}
	w.model.Service.Context.Map.Handler = func(_ *simulator.Context, m *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		name := m.Name
		if r, ok := m.Body.(*types.RetrievePropertiesEx); ok {
			name += " " + r.SpecSet[0].ObjectSet[0].Obj.Type
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.calls[name]++
		return nil, nil
	}
	return c
}

// since returns the calls since it was last asked but those that wait for
// tasks, whose number hangs on how long tasks take.
func (c *counter) since() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := maps.Clone(c.calls)
	clear(c.calls)
	delete(out, "RetrievePropertiesEx Task")
	return out
}

// A VM costs the same three calls however many there are, and a look at all
// of them the same few as a look at some.
func TestCallsDoNotGrowWithTheInventory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.counted()
	b := w.backend(t)
	made := 0
	grow := func(to int) map[string]int {
		for ; made < to; made++ {
			if _, err := b.Create(t.Context(), jobOf(made, 1)); err != nil {
				t.Fatal(err)
			}
		}
		return c.since()
	}
	look := func() map[string]int {
		var due time.Time
		if err := b.look(t.Context(), testYard, &due, func(executor.Sighting) {}); err != nil {
			t.Fatal(err)
		}
		return c.since()
	}
	grow(1) // looks up what all others need
	for _, size := range []int{11, 61} {
		n := size - made
		want := map[string]int{"FindByUuid": n, "CloneVM_Task": n, "PowerOnVM_Task": n}
		if d := cmp.Diff(want, grow(size)); d != "" {
			t.Errorf("%d VMs more, %d in all (-want +got):\n%s", n, size, d)
		}
		if total := sum(look()); total > 6 {
			t.Errorf("a look at %d VMs took %d calls; want at most 6", size, total)
		}
	}
}

func sum(calls map[string]int) (n int) {
	for _, each := range calls {
		n += each
	}
	return n
}
