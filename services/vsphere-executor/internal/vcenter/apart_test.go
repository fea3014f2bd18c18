package vcenter

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

func apartJob(i int, how string) *executor.Task {
	t := jobOf(i, 1)
	t.Job.VSphere.AntiAffinity = how
	return t
}

func (w *world) cluster(t *testing.T) *object.ClusterComputeResource {
	t.Helper()
	c, err := find.NewFinder(w.client.Client).ClusterComputeResource(t.Context(), "/DC0/host/DC0_C0")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) setDRS(t *testing.T, on bool) {
	t.Helper()
	done(t)(w.cluster(t).Reconfigure(t.Context(), &types.ClusterConfigSpecEx{DrsConfig: &types.ClusterDrsConfigInfo{Enabled: &on}}, true))
}

func (w *world) addRule(t *testing.T, rule types.BaseClusterRuleInfo) {
	t.Helper()
	done(t)(w.cluster(t).Reconfigure(t.Context(), &types.ClusterConfigSpecEx{RulesSpec: []types.ClusterRuleSpec{{
		ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationAdd}, Info: rule,
	}}}, true))
}

// rules tells the cluster's rules in words.
func (w *world) rules(t *testing.T) []string {
	t.Helper()
	config, err := w.cluster(t).Configuration(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := map[ref]string{}
	for _, vm := range w.machines(t) {
		names[vm.Self] = vm.Name
	}
	var out []string
	for _, r := range config.Rule {
		text := fmt.Sprintf("%T ", r)
		if r, ok := r.(*types.ClusterAntiAffinityRuleSpec); ok {
			text = map[bool]string{true: "must: ", false: "should: "}[*r.Mandatory]
			var vms []string
			for _, vm := range r.Vm {
				vms = append(vms, names[vm])
			}
			slices.Sort(vms)
			text += strings.Join(vms, " ")
		}
		out = append(out, text)
	}
	return out
}

func wantRules(t *testing.T, w *world, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, w.rules(t)); d != "" {
		t.Errorf("rules (-want +got):\n%s", d)
	}
}

// hosts tells where the VMs run.
func (w *world) hosts(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, vm := range w.all(t) {
		var host mo.HostSystem
		if err := object.NewCommon(w.client.Client, *vm.Runtime.Host).Properties(t.Context(), *vm.Runtime.Host, []string{"name"}, &host); err != nil {
			t.Fatal(err)
		}
		out[vm.Name] = strings.TrimPrefix(host.Name, "DC0_C0_")
	}
	return out
}

func wantHosts(t *testing.T, w *world, want map[string]string) {
	t.Helper()
	if d := cmp.Diff(want, w.hosts(t)); d != "" {
		t.Errorf("hosts (-want +got):\n%s", d)
	}
}

func mustCreate(t *testing.T, b *Backend, jobs ...*executor.Task) {
	t.Helper()
	for _, job := range jobs {
		if _, err := b.Create(t.Context(), job); err != nil {
			t.Fatalf("Create(%s): %v", name(job), err)
		}
	}
}

func mustDelete(t *testing.T, b *Backend, jobs ...*executor.Task) {
	t.Helper()
	for _, job := range jobs {
		if err := b.Delete(t.Context(), job); err != nil {
			t.Fatalf("Delete(%s): %v", name(job), err)
		}
	}
}

func TestRuleFollowsThePool(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, 4)
	b := w.backend(t)
	mustCreate(t, b, apartJob(0, fleet.ApartPreferred))
	wantRules(t, w)
	mustCreate(t, b, apartJob(1, fleet.ApartPreferred), apartJob(2, fleet.ApartPreferred))
	wantRules(t, w, "should: web-edge-0 web-edge-1 web-edge-2")

	// Another executor knows only what it sees; a pool of a longer name is
	// another.
	b = w.backend(t)
	other := apartJob(9, fleet.ApartRequired)
	other.Job.Pool, other.Job.Node, other.Job.Hostname = "edge-x", "edge-x-9", "web-edge-x-9"
	other.Owner = executor.OwnerOf(testYard, other.Job)
	mustCreate(t, b, other, apartJob(3, fleet.ApartRequired))
	wantRules(t, w, "must: web-edge-0 web-edge-1 web-edge-2 web-edge-3")

	// A deletion of a node of a former spec changes nothing but its own VM.
	mustDelete(t, b, apartJob(0, fleet.ApartPreferred))
	wantRules(t, w, "must: web-edge-1 web-edge-2 web-edge-3")
	mustDelete(t, b, jobOf(1, 1))
	mustDelete(t, b, apartJob(1, fleet.ApartRequired)) // gone already
	wantRules(t, w, "must: web-edge-2 web-edge-3")
	mustDelete(t, b, apartJob(2, fleet.ApartRequired))
	wantRules(t, w)
	mustDelete(t, b, apartJob(3, fleet.ApartRequired))
	wantRules(t, w)
}

// TestRuleGoesWithTheWish: a pool whose spec no longer asks for it loses its
// rule with the next node that is made.
func TestRuleGoesWithTheWish(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, 3)
	mustCreate(t, w.backend(t), apartJob(0, fleet.ApartRequired), apartJob(1, fleet.ApartRequired))
	wantRules(t, w, "must: web-edge-0 web-edge-1")
	mustCreate(t, w.backend(t), jobOf(2, 1))
	wantRules(t, w)
}

// TestForeignRules are left as they are: one of another kind, and one that
// is about somebody else's VM.
func TestForeignRules(t *testing.T) {
	t.Parallel()
	for what, rule := range map[string]func(alien, own ref) types.BaseClusterRuleInfo{
		"kind": func(alien, own ref) types.BaseClusterRuleInfo {
			return &types.ClusterAffinityRuleSpec{Vm: []ref{alien, own}}
		},
		"vm": func(alien, own ref) types.BaseClusterRuleInfo {
			return &types.ClusterAntiAffinityRuleSpec{ClusterRuleInfo: types.ClusterRuleInfo{Mandatory: new(false)}, Vm: []ref{alien, own}}
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, 3)
			b := w.backend(t)
			mustCreate(t, b, apartJob(0, fleet.ApartPreferred))
			foreign := rule(w.alien(t, "alien"), w.all(t)["web-edge-0"].Self)
			foreign.GetClusterRuleInfo().Name = ruleName(jobOf(0, 1))
			w.addRule(t, foreign)
			before := w.rules(t)
			_, err := b.Create(t.Context(), apartJob(1, fleet.ApartPreferred))
			wantFault(t, err, fault.Permanent, fault.NameTaken, "is not ours")
			if isOn(w.all(t)["web-edge-1"]) {
				t.Error("the VM was switched on")
			}
			mustDelete(t, b, apartJob(0, fleet.ApartPreferred), apartJob(1, fleet.ApartPreferred))
			if got := w.rules(t); len(got) != len(before) {
				t.Errorf("rules %q; want %q", got, before)
			}
		})
	}
}

func TestSpreadWithoutDRS(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, 3)
	w.setDRS(t, false)
	b := w.backend(t)
	// All at once: none sees the others' VMs when it chooses.
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() {
			if _, err := b.Create(t.Context(), apartJob(i, fleet.ApartRequired)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	used := map[string]bool{}
	for _, host := range w.hosts(t) {
		used[host] = true
	}
	if len(used) != 3 {
		t.Fatalf("hosts %v; want 3 different ones", w.hosts(t))
	}
	wantRules(t, w)
	_, err := b.Create(t.Context(), apartJob(3, fleet.ApartRequired))
	wantFault(t, err, fault.Transient, fault.NoResources, "antiAffinity: required leaves no host of DC0_C0", "DC0_C0_H1 has one of the pool")
	if len(w.all(t)) != 3 {
		t.Errorf("%d VMs; want 3", len(w.all(t)))
	}
	mustCreate(t, b, apartJob(3, fleet.ApartPreferred)) // doubles up, on the first
	if got := w.hosts(t)["web-edge-3"]; got != "H0" {
		t.Errorf("the fourth VM is on %s; want H0", got)
	}
}

// TestSpreadAvoids hosts that are in maintenance or do not see the network.
func TestSpreadAvoids(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, 3)
	w.setDRS(t, false)
	hosts, err := w.cluster(t).Hosts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done(t)(hosts[0].EnterMaintenanceMode(t.Context(), 0, false, nil))
	b := w.backend(t)
	mustCreate(t, b, apartJob(0, fleet.ApartRequired), apartJob(1, fleet.ApartRequired))
	wantHosts(t, w, map[string]string{"web-edge-0": "H1", "web-edge-1": "H2"})
	_, err = b.Create(t.Context(), apartJob(2, fleet.ApartRequired))
	wantFault(t, err, fault.Transient, fault.NoResources, "DC0_C0_H0 is in maintenance")
	done(t)(hosts[0].ExitMaintenanceMode(t.Context(), 0))
	mustCreate(t, b, apartJob(2, fleet.ApartRequired))
}

// TestRequiredWithDRS: what DRS could not obey is said before it is asked.
func TestRequiredWithDRS(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, 2)
	b := w.backend(t)
	mustCreate(t, b, apartJob(0, fleet.ApartRequired), apartJob(1, fleet.ApartRequired))
	_, err := b.Create(t.Context(), apartJob(2, fleet.ApartRequired))
	wantFault(t, err, fault.Transient, fault.NoResources, "2 VMs of the pool run on the 2 hosts")
	mustDelete(t, b, apartJob(0, fleet.ApartRequired))
	mustCreate(t, b, apartJob(2, fleet.ApartRequired))
	wantRules(t, w, "must: web-edge-1 web-edge-2")
}

// TestApartSurvivesCrashes kills the executor before each step, with DRS and
// without.
func TestApartSurvivesCrashes(t *testing.T) {
	t.Parallel()
	for _, drs := range []bool{true, false} {
		t.Run(fmt.Sprintf("drs %v", drs), func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, 4)
			w.setDRS(t, drs)
			for dies := range 4 {
				job := apartJob(dies, fleet.ApartRequired)
				w.crashAt(t, dies, job, (*Backend).makes)
				mustCreate(t, w.backend(t), apartJob(dies, fleet.ApartRequired))
			}
			if drs {
				wantRules(t, w, "must: web-edge-0 web-edge-1 web-edge-2 web-edge-3")
			} else {
				wantHosts(t, w, map[string]string{"web-edge-0": "H0", "web-edge-1": "H1", "web-edge-2": "H2", "web-edge-3": "H3"})
			}
			for dies := range 4 {
				w.crashAt(t, dies, apartJob(dies, fleet.ApartRequired), (*Backend).Delete)
				mustDelete(t, w.backend(t), apartJob(dies, fleet.ApartRequired))
			}
			wantRules(t, w)
		})
	}
}

func (b *Backend) makes(ctx context.Context, t *executor.Task) error {
	_, err := b.Create(ctx, t)
	return err
}

// crashAt lets an executor die before its so many-th step.
func (w *world) crashAt(t *testing.T, dies int, job *executor.Task, do func(*Backend, context.Context, *executor.Task) error) {
	t.Helper()
	ctx, crash := context.WithCancelCause(t.Context())
	defer crash(nil)
	steps := 0
	job.Permit = func(ctx context.Context) error {
		if steps++; steps > dies {
			crash(errCrash)
		}
		return context.Cause(ctx)
	}
	_ = do(w.backend(t), ctx, job)
}

// TestMovedBeforeItRan: a VM that lies beside another of its pool and was
// never on is made anew elsewhere; one that runs stays.
func TestMovedBeforeItRan(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, 3)
	w.setDRS(t, false)
	b := w.backend(t)
	mustCreate(t, b, apartJob(0, fleet.ApartRequired))
	beside := apartJob(1, fleet.ApartRequired)
	beside.Job.VSphere.AntiAffinity, beside.Job.VSphere.Host = "", "DC0_C0_H0"
	w.crashAt(t, 1, beside, (*Backend).makes)
	wantHosts(t, w, map[string]string{"web-edge-0": "H0", "web-edge-1": "H0"})
	mustCreate(t, w.backend(t), apartJob(1, fleet.ApartRequired))
	wantHosts(t, w, map[string]string{"web-edge-0": "H0", "web-edge-1": "H1"})
	if vm := w.all(t)["web-edge-1"]; !isOn(vm) {
		t.Error("the VM is off")
	}
}

func TestRuleNames(t *testing.T) {
	t.Parallel()
	long := jobOf(0, 1)
	long.Job.Fleet, long.Job.Pool = strings.Repeat("f", 63), strings.Repeat("p", 63)
	if n := len(ruleName(long)); n > ruleNameMost {
		t.Errorf("a rule's name has %d characters", n)
	}
	other := jobOf(0, 1)
	other.Owner.Yard = "yard-2"
	if ruleName(other) == ruleName(jobOf(0, 1)) {
		t.Error("two yards have rules of one name")
	}
}
