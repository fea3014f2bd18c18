//go:build e2e

package system

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/e2e/realyard"
)

// faultsOf are the faults that a vCenter's tasks end with, each for some of
// the rows of the executor's fault table; verbs are what they may strike.
var (
	verbs = []string{"clone", "power-on", "reconfigure", "power-off", "destroy"}
	// passing are those that another try is for.
	passing = []string{
		"TaskInProgress", "ConcurrentAccess", "ResourceInUse", "FileLocked", "HostCommunication", "TooManyConcurrentNativeClones",
		"InvalidState", "RequestCanceled", "SystemError", "MethodDisabled", "Timedout", "InvalidPowerState", "QuestionPending",
		"InsufficientMemoryResources", "InsufficientCpuResources", "InsufficientResources", "NoActiveHostInCluster", "GenericDrsFault",
		"NoDiskSpace", "InsufficientStorageSpace", "DatastoreNotWritableOnHost", "InaccessibleDatastore", "ManagedObjectNotFound",
	}
	// lasting are those that a person is asked about.
	lasting = []string{
		"NoPermission", "InvalidArgument", "InvalidVmConfig", "VmConfigFault", "NotSupported", "CustomizationFault", "NotEnoughLicenses",
		"RestrictedVersion", "FileAlreadyExists", "InvalidName", "NotFound",
	}
	// methods are calls that can fail themselves.
	methods = []string{"CloneVM_Task", "PowerOnVM_Task", "ReconfigVM_Task", "FindByUuid", "RetrievePropertiesEx", "CreateFolder", "PowerOffVM_Task", "Destroy_Task"}
)

// crowd is the fleet of the test below: two pools from two templates, each
// spread over both vCenters.
func crowd(nodes, most int) string {
	return fmt.Sprintf(`---
apiVersion: yardmaster.dev/v1alpha1
kind: Fleet
metadata: {name: crowd}
spec:
  config: [{role: base}, {role: static-net}]
  pools:
    - name: a
      replicas: %[1]d
      networks: [{ref: lan}]
      vsphere: {site: dc1, cluster: c1, datastore: ds1, folder: crowd, cpus: 2, memory: 4Gi, source: {template: flatcar-4593.2.5}, failureDomains: [{name: one}, {name: two, site: dc2}]}
    - name: b
      replicas: %[1]d
      networks: [{ref: lan}]
      vsphere: {site: dc1, cluster: c1, datastore: ds1, folder: crowd, cpus: 2, memory: 4Gi, source: {template: flatcar-4081.3.10}, failureDomains: [{name: one}, {name: two, site: dc2}]}
  retry: {attempts: 40, backoff: 1s, maxBackoff: 3s}
  protect: {maxDestroyPercent: 30, maxCreate: %[2]d}
`, nodes/2, most)
}

// Hundreds of nodes over two vCenters, while tasks and calls fail in every way
// that the fault table knows, lines are cut, sessions end, and planners and
// executors are killed and stopped: in the end there are just the right VMs,
// no budget was ever exceeded, whoever held the seats, and no brake was passed.
func TestTwoVCentersUnderFaults(t *testing.T) {
	harness.NeedSimulator(t, "faults are switched on at the control ports of two")
	nodes := 100
	if os.Getenv("YARD_E2E_LONG") != "" {
		nodes = 500
	}
	bounds := []budget{{clones: 5, template: 3, datastore: 6, operations: 8}, {clones: 6, template: 6, datastore: 4, operations: 7}}
	y := &yard{realyard.New(t, realyard.Options{
		VCenters: 2, Lines: true, Limits: []string{bounds[0].document(), bounds[1].document()},
		Simulator: []string{"--clone-delay", "1500ms", "--power-delay", "100ms", "--boot-delay", "500ms", "--phone-home-retry", "1s"},
	})}
	storm := harness.NewStorm(t,
		harness.Killing("planner", 2, y.Planners...),
		harness.Killing("executor", 3, y.Executors...),
	)
	storm.With(y.stopping(), y.spoiling(), y.cutting(), y.ending())
	start := time.Now()
	y.Persist("apply", "-f", y.File("crowd.yaml", crowd(nodes, nodes)), "--yes")
	y.lockOut()
	y.refused(t, "makes too many", crowd(3*nodes, nodes))
	y.raging(t, storm, func() bool { return y.ready("crowd") == nodes })
	y.mended(t, nodes)
	y.refused(t, "destroys too much", crowd(nodes/2, nodes))
	y.right(t, "crowd", nodes)
	t.Logf("%d nodes made in %.0f s under %s", nodes, time.Since(start).Seconds(), storm)

	y.Persist("delete", "fleet", "crowd", "--yes")
	y.raging(t, storm, func() bool { return y.left("crowd") == 0 })
	harness.Wait(t, "the fleet's end", 3*time.Minute, func() error {
		if n := y.left("crowd"); n > 0 {
			y.retryAll("crowd")
			return fmt.Errorf("%d VMs are left", n)
		}
		return nil
	})
	y.Settled(time.Minute)
	for i, p := range y.Sites {
		bounds[i].check(t, p.Name, p.Simulator.Load())
	}
	if r := y.Ctl("audit", "verify"); r.Code != 0 {
		t.Errorf("audit verify: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	for _, p := range y.Services() {
		for _, d := range p.Deaths() {
			t.Errorf("ended by itself: %s\n%s", d, p.Tail(5))
		}
	}
	t.Logf("made and removed in %.0f s under %s", time.Since(start).Seconds(), storm)
}

// budget is a Site's limits.
type budget struct{ clones, template, datastore, operations int }

func (b budget) document() string {
	return fmt.Sprintf("{clones: %d, perTemplate: %d, perDatastore: %d, operations: %d}", b.clones, b.template, b.datastore, b.operations)
}

// check compares with what the vCenter saw.
func (b budget) check(t *testing.T, site string, saw harness.Load) {
	t.Helper()
	held := func(what string, most, limit int) {
		if most > limit {
			t.Errorf("%s: %d %s at once; the limit is %d", site, most, what, limit)
		}
	}
	held("operations", saw.Operations.Most, b.operations)
	held("clones", saw.Clones.Most, b.clones)
	for name, busy := range saw.Templates {
		held("clones of "+name, busy.Most, b.template)
	}
	for name, busy := range saw.Datastores {
		held("clones to "+name, busy.Most, b.datastore)
	}
	if saw.Clones.Most < 2 {
		t.Errorf("%s: never two clones at once; the test shows nothing", site)
	}
	t.Logf("%s: at most %d operations, %d clones, by template %v, by datastore %v", site, saw.Operations.Most, saw.Clones.Most, saw.Templates, saw.Datastores)
}

// stopping stops an executor as an update would, so that its seat changes
// hands at once.
func (y *yard) stopping() harness.Fault {
	return harness.Fault{Name: "stop executor", Weight: 2, Do: func(r *rand.Rand) error {
		p := y.Executors[r.IntN(len(y.Executors))]
		if err := p.Stop(20 * time.Second); err != nil {
			return err
		}
		p.Start()
		return nil
	}}
}

// spoiling has the next tasks and calls of a vCenter fail.
func (y *yard) spoiling() harness.Fault {
	return harness.Fault{Name: "spoil", Weight: 5, Do: func(r *rand.Rand) error {
		var rules []harness.Rule
		for range 6 {
			rules = append(rules, harness.Rule{
				On: one(r, verbs), Fault: one(r, passing), Count: 1 + r.IntN(3), Ghost: r.IntN(3) == 0,
			})
		}
		rules = append(rules,
			harness.Rule{On: one(r, methods), Fault: one(r, passing), Count: 1},
			harness.Rule{On: one(r, verbs), Fault: one(r, lasting), Count: 1},
			harness.Rule{On: one(r, verbs[:2]), Delay: "8s", Count: 3},
		)
		y.Sites[r.IntN(len(y.Sites))].Simulator.Faults(rules...)
		return nil
	}}
}

// cutting cuts the line to a vCenter in the middle of calls.
func (y *yard) cutting() harness.Fault {
	return harness.Fault{Name: "cut line", Weight: 2, Do: func(r *rand.Rand) error {
		p := y.Sites[r.IntN(len(y.Sites))]
		p.Line.Cut()
		time.Sleep(time.Duration(r.IntN(700)) * time.Millisecond)
		p.Line.Heal()
		return nil
	}}
}

// ending ends every session at a vCenter.
func (y *yard) ending() harness.Fault {
	return harness.Fault{Name: "end sessions", Weight: 1, Do: func(r *rand.Rand) error {
		y.Sites[r.IntN(len(y.Sites))].Simulator.Do(http.MethodPost, "/sessions/kill", struct{}{})
		return nil
	}}
}

// lockOut has the second vCenter refuse a login: its executor does not try the
// same one again for minutes, and nothing is held against its nodes. Another
// executor, which knows nothing of it, takes over.
func (y *yard) lockOut() {
	y.TB.Helper()
	at := y.Sites[1].Simulator
	at.Faults(harness.Rule{On: "login", Count: 1})
	at.Do(http.MethodPost, "/sessions/kill", struct{}{})
	harness.Wait(y.TB, "a refused login", 20*time.Second, func() error {
		if !strings.Contains(string(at.Do(http.MethodGet, "/faults", nil)), `"struck":1`) {
			return fmt.Errorf("nobody logged in")
		}
		return nil
	})
	for _, p := range y.Executors[len(y.Executors)/2:] {
		p.Kill()
		p.Start()
	}
}

func one(r *rand.Rand, of []string) string { return of[r.IntN(len(of))] }

// raging rages until done or for long enough, and ends all faults.
func (y *yard) raging(t *testing.T, storm *harness.Storm, done func() bool) {
	t.Helper()
	end := time.Now().Add(time.Duration(harness.Faults(30)) * time.Second)
	for !done() && time.Now().Before(end) {
		storm.Rage(100*time.Millisecond, 1200*time.Millisecond)
	}
	for _, p := range y.Sites {
		p.Simulator.Faults()
	}
}

// refused applies a document that a brake must hold: nothing of it may happen.
func (y *yard) refused(t *testing.T, what, document string) {
	t.Helper()
	r := y.Ctl("apply", "-f", y.File("brake.yaml", document), "--yes")
	if r.Code != 3 || !strings.Contains(r.Out+r.Err, "max") {
		t.Errorf("apply of what %s: exit %d; want 3\n%s%s", what, r.Code, r.Out, r.Err)
	}
}

// ready counts the ready nodes.
func (y *yard) ready(fleet string) int {
	nodes, err := y.Nodes(fleet)
	if err != nil {
		return -1
	}
	return countReady(nodes)
}

// retryAll has failed nodes tried again, as a person would who found them.
func (y *yard) retryAll(fleet string) {
	nodes, err := y.Nodes(fleet)
	if err != nil {
		return
	}
	for _, n := range nodes {
		if n.GetState() == "failed" {
			y.Ctl("retry", "--all", "--fleet", fleet)
			return
		}
	}
}

// mended waits until every node is ready. Those that failed must say one of
// the reasons that lasting faults have, and are tried again.
func (y *yard) mended(t *testing.T, want int) {
	t.Helper()
	reasons := []string{"permission_denied", "spec_unsupported", "name_taken", "not_found", "hot_refused", "machine_busy"}
	harness.Wait(t, fmt.Sprintf("%d ready nodes", want), 4*time.Minute, func() error {
		nodes, err := y.Nodes("crowd")
		if err != nil {
			return err
		}
		waiting := ""
		for _, n := range nodes {
			switch n.GetState() {
			case "ready":
			case "failed":
				if !slices.Contains(reasons, n.GetReason()) {
					t.Errorf("%s failed for %s: %s", n.GetName(), n.GetReason(), n.GetMessage())
				}
				y.Persist("retry", n.GetName())
				fallthrough
			default:
				waiting = fmt.Sprintf("%s is %s: %s %s", n.GetName(), n.GetState(), n.GetReason(), n.GetMessage())
			}
		}
		if got := countReady(nodes); got != want || len(nodes) != want {
			return fmt.Errorf("%d of %d nodes are ready; %s", got, len(nodes), waiting)
		}
		return nil
	})
}

// right checks that the vCenters hold just the fleet's machines, each as its
// node's record says, about as many in either.
func (y *yard) right(t *testing.T, fleet string, want int) {
	t.Helper()
	all := map[string]harness.VM{}
	for _, p := range y.Sites {
		vms, err := p.VCenter.VMs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, vm := range vms {
			if _, twice := all[vm.Name]; twice {
				t.Errorf("%s is there twice", vm.Name)
			}
			all[vm.Name] = vm
		}
		if got := len(vms); got < want/2-want/10 || got > want/2+want/10 {
			t.Errorf("%s holds %d VMs of %d", p.Name, got, want)
		}
	}
	if len(all) != want {
		t.Errorf("the vCenters hold %d VMs; want %d", len(all), want)
	}
	for _, n := range y.mustNodes(t, fleet) {
		vm, ok := all[n.GetName()]
		if !ok {
			t.Errorf("%s has no VM", n.GetName())
			continue
		}
		y.matches(t, fleet, n, vm)
	}
}
