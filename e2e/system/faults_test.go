//go:build e2e

package system

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/e2e/realyard"
)

// The faults of reference vCenters: each ends as the executor's fault table
// says, and an operator can read why.
func TestFaults(t *testing.T) {
	y := newYard(t)
	t.Run("session ended by an administrator", y.sessionEnded)
	t.Run("vcenter away for a minute", y.vcenterAway)
	t.Run("task ends in error though the vm exists", y.ghost)
	t.Run("template missing", y.templateMissing)
	t.Run("name taken by a foreign vm", y.nameTaken)
	y.TB = t
	if r := y.Ctl("audit", "verify"); r.Code != 0 {
		t.Errorf("audit verify: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	for _, p := range append(y.Services(), y.Bus.Servers...) {
		for _, d := range p.Deaths() {
			t.Errorf("ended by itself: %s\n%s", d, p.Tail(5))
		}
	}
}

// A session that ends costs a new login and nothing else: no attempt, no
// failed node.
func (y *yard) sessionEnded(t *testing.T) {
	harness.NeedSimulator(t, "sessions are ended at its control port")
	y.Apply(realyard.FleetOf(t, "session", 4, ""))
	for range 4 {
		y.Simulator.Do(http.MethodPost, "/sessions/kill", struct{}{})
		time.Sleep(300 * time.Millisecond) // spread over the creation, whatever it is doing
	}
	y.Ready("session", 4, time.Minute)
	y.noneFailed(t)
	y.Remove("session")
}

// While vCenter does not answer nothing is held against the nodes; when it
// is back they go on by themselves.
func (y *yard) vcenterAway(t *testing.T) {
	harness.NeedSimulator(t, "it is closed at its control port")
	y.Simulator.Away(time.Minute)
	back := time.Now().Add(time.Minute)
	y.Apply(realyard.FleetOf(t, "away", 4, ""))
	seen := y.described(t, "away-w-0", "backend_down", 30*time.Second)
	if !strings.Contains(seen, "does not answer") && !strings.Contains(seen, "refused") {
		t.Errorf("describe does not say that vCenter is away:\n%s", seen)
	}
	y.noneFailed(t)
	y.Ready("away", 4, time.Until(back)+90*time.Second)
	for _, n := range y.mustNodes(t, "away") {
		if n.GetAttempt() > 1 {
			t.Errorf("%s: attempt %d; a vCenter that is away costs none", n.GetName(), n.GetAttempt())
		}
	}
	y.Remove("away")
}

// A clone that reports an error and has made its VM all the same is adopted:
// there is one VM in the end, not two.
func (y *yard) ghost(t *testing.T) {
	harness.NeedSimulator(t, "faults are switched on at its control port")
	y.Simulator.Faults(harness.Rule{On: "clone", VM: "ghost-w-*", Count: 2, Fault: "SystemError", Ghost: true})
	defer y.Simulator.Faults()
	y.Apply(realyard.FleetOf(t, "ghost", 3, "  retry: {backoff: 1s}\n"))
	y.Ready("ghost", 3, time.Minute)
	if n := y.left("ghost"); n != 3 {
		t.Errorf("%d VMs; want 3", n)
	}
	y.noneFailed(t)
	y.Remove("ghost")
}

// A template that does not exist fails the node at once, by name.
func (y *yard) templateMissing(t *testing.T) {
	y.Apply(realyard.From(t, realyard.FleetOf(t, "lost", 2, ""), "flatcar-gone"))
	y.failed(t, "lost-w-0", "template_missing", "flatcar-gone")
	y.failed(t, "lost-w-1", "template_missing", "flatcar-gone")
	y.Remove("lost")
}

// A VM of somebody else is never touched; the node says whose name it wants,
// and goes on when it is told to after the name has become free.
func (y *yard) nameTaken(t *testing.T) {
	harness.NeedSimulator(t, "it makes and removes a VM that is not the yard's")
	if err := y.VCenter.Foreign(t.Context(), harness.Template, "taken", "taken-w-1"); err != nil {
		t.Fatal(err)
	}
	y.Apply(realyard.FleetOf(t, "taken", 3, ""))
	y.failed(t, "taken-w-1", "name_taken", "taken-w-1")
	harness.Wait(t, "the others", time.Minute, func() error {
		if n := countReady(y.mustNodes(t, "taken")); n != 2 {
			return fmt.Errorf("%d ready nodes; want 2", n)
		}
		return nil
	})
	vms, err := y.VCenter.VMs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, vm := range vms {
		if vm.Name == "taken-w-1" && (vm.Owner() != "" || vm.Power != "poweredOff") {
			t.Errorf("the foreign VM was touched: owner %q, %s", vm.Owner(), vm.Power)
		}
	}
	if err := y.VCenter.Remove(t.Context(), "taken-w-1"); err != nil {
		t.Fatal(err)
	}
	y.Persist("retry", "taken-w-1")
	y.Ready("taken", 3, time.Minute)
	y.Remove("taken")
}
