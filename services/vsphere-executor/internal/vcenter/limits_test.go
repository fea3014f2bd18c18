package vcenter

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fleet"
)

func testLimits(l fleet.Limits) *limits {
	return newLimits(l, NewMetrics(prometheus.NewRegistry()).meters("dc1"))
}

func TestGateServesInTheOrderOfComing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := testLimits(fleet.Limits{Clones: 1}).clones
		if err := g.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		var order []int
		var group sync.WaitGroup
		for i := range 3 {
			group.Go(func() {
				if err := g.enter(t.Context()); err != nil {
					t.Error(err)
				}
				order = append(order, i)
				g.leave()
			})
			synctest.Wait()
		}
		quitter, quit := context.WithCancel(t.Context())
		group.Go(func() {
			if g.enter(quitter) == nil {
				t.Error("who gave up waiting was let in")
			}
		})
		synctest.Wait()
		quit()
		synctest.Wait()
		g.leave()
		group.Wait()
		if len(order) != 3 || order[0] != 0 || order[1] != 1 || order[2] != 2 {
			t.Errorf("served in order %v; want 0, 1, 2", order)
		}
		if g.in != 0 || len(g.waiting) != 0 {
			t.Errorf("%d in and %d waiting at the end; want none", g.in, len(g.waiting))
		}
	})
}

// A clone counts at its template, its datastore and the vCenter, and a changed
// Site finds those places taken.
func TestLimitsOfClones(t *testing.T) {
	t.Parallel()
	template, store, other := ref{Value: "t"}, ref{Value: "ds1"}, ref{Value: "ds2"}
	l := testLimits(fleet.Limits{Clones: 8, PerTemplate: 8, PerDatastore: 2})
	free := func(store ref) int {
		n := 0
		stopped, stop := context.WithCancel(t.Context())
		stop() // who would have to wait is told
		var out []func()
		for {
			leave, err := enter(stopped, l.cloning(template, &store)...)
			if err != nil {
				break
			}
			n++
			out = append(out, leave)
		}
		for _, leave := range out {
			leave()
		}
		return n
	}
	if got := free(store); got != 2 {
		t.Errorf("%d clones at once on one datastore; want 2", got)
	}
	leave := l.stranger(&template)
	if a, b := free(store), free(other); a != 1 || b != 1 {
		t.Errorf("%d and %d clones beside one that goes to either datastore; want 1 and 1", a, b)
	}
	l.set(fleet.Limits{Clones: 8, PerTemplate: 3, PerDatastore: 8})
	if got := free(store); got != 2 {
		t.Errorf("%d clones beside one of at most three; want 2", got)
	}
	leave()
	if got := free(other); got != 3 {
		t.Errorf("%d clones once it has ended; want 3", got)
	}
	if l.operations.in != 0 {
		t.Errorf("%d operations at the end; want none", l.operations.in)
	}
}

// owned makes the simulator say of every task who began it, as a vCenter does.
type owned struct{ *taskHandler }

func (o owned) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Test", Value: "owned"}
}

func (o owned) PutObject(_ *simulator.Context, item mo.Reference) {
	if task, ok := item.(*simulator.Task); ok {
		task.Info.Reason = &types.TaskReasonUser{UserName: `VSPHERE.LOCAL\user`}
	}
}

// Clones that a predecessor began hold their places until they have ended; its
// successor begins the next one then, and not before.
func TestPredecessorsClonesCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.model.Service.Context.Map.AddHandler(owned{w.tasks})
	hold := &rule{operation: "cloneVm", hold: make(chan struct{})}
	w.tasks.add(hold)
	before := w.backend(t)
	site := w.site()
	site.Limits = fleet.Limits{PerTemplate: 1}
	before.Use(t.Context(), site)
	dying, die := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := before.Create(dying, jobOf(1, 1)); err == nil {
			t.Error("the clone that is held ended")
		}
	})
	waitFor(t, func() bool { return before.limits.operations.used() == 1 })
	waitFor(t, func() bool { return len(w.cloning(t)) == 1 })
	die()
	group.Wait()
	if n := before.limits.operations.used(); n != 1 {
		t.Errorf("%d places are used by a clone that nobody waits for; want 1", n)
	}

	after := w.backend(t)
	after.Use(t.Context(), site)
	group.Go(func() {
		if _, err := after.Create(t.Context(), jobOf(2, 1)); err != nil {
			t.Error(err)
		}
	})
	waitFor(t, func() bool { return after.limits.clones.used() == 1 && after.limits.strangersNow() == 1 })
	if n := len(w.cloning(t)); n != 1 {
		t.Errorf("%d clones at once; want 1", n)
	}
	close(hold.hold)
	group.Wait()
	waitFor(t, func() bool { return after.limits.operations.used() == 0 })
}

// The gauges say how many places there are, are used, and are waited for.
func TestBudgetGauges(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	l := newLimits(fleet.Limits{Clones: 3}, NewMetrics(registry).meters("dc1"))
	defer l.stranger(&ref{Value: "t"})()
	got := gauges(t, registry, "yardmaster_vsphere_budget_places")
	want := map[string]float64{
		"clones limit": 3, "clones used": 1, "clones waiting": 0,
		"template limit": 8, "template used": 1, "template waiting": 0,
		"datastore limit": 8, "datastore used": 0, "datastore waiting": 0,
		"operations limit": 16, "operations used": 1, "operations waiting": 0,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("budget gauges (-want +got):\n%s", d)
	}
}

// gauges are the values of a metric by its labels' values without the site's.
func gauges(t *testing.T, registry *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var words []string
			for _, l := range m.GetLabel() {
				if l.GetName() != "site" {
					words = append(words, l.GetValue())
				}
			}
			got[strings.Join(words, " ")] = m.GetGauge().GetValue()
		}
	}
	return got
}

// A session shows from its login to its logout.
func TestSessionGauge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	registry := prometheus.NewRegistry()
	b := w.backend(t)
	b.options.Metrics = NewMetrics(registry)
	if err := b.with(t.Context(), func(*connection) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if got := gauges(t, registry, "yardmaster_vsphere_sessions")["soap"]; got != 1 {
		t.Errorf("%v sessions after a login; want 1", got)
	}
	b.Close(t.Context())
	if got := gauges(t, registry, "yardmaster_vsphere_sessions")["soap"]; got != 0 {
		t.Errorf("%v sessions after the logout; want 0", got)
	}
}

func (g *gate) used() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.in
}

func (l *limits) strangersNow() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.strangers
}

// cloning lists the clones under way.
func (w *world) cloning(t *testing.T) []ref {
	t.Helper()
	var manager mo.TaskManager
	err := object.NewCommon(w.client.Client, *w.client.ServiceContent.TaskManager).
		Properties(t.Context(), *w.client.ServiceContent.TaskManager, []string{"recentTask"}, &manager)
	if err != nil {
		t.Fatal(err)
	}
	var out []ref
	for _, r := range manager.RecentTask {
		var task mo.Task
		if err := object.NewCommon(w.client.Client, r).Properties(t.Context(), r, []string{"info"}, &task); err != nil {
			t.Fatal(err)
		}
		running := task.Info.State == types.TaskInfoStateRunning || task.Info.State == types.TaskInfoStateQueued
		if operationOf(task.Info.DescriptionId) == "cloneVm" && running {
			out = append(out, r)
		}
	}
	return out
}

func TestSameUser(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a, b string
		want bool
	}{
		"domain before and after": {`VSPHERE.LOCAL\Yard`, "yard@vsphere.local", true},
		"none":                    {"yard", `vsphere.local\yard`, true},
		"another":                 {`VSPHERE.LOCAL\backup`, `VSPHERE.LOCAL\yard`, false},
		"nobody":                  {"", `VSPHERE.LOCAL\yard`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := sameUser(c.a, c.b); got != c.want {
				t.Errorf("sameUser(%q, %q) = %v; want %v", c.a, c.b, got, c.want)
			}
		})
	}
}
