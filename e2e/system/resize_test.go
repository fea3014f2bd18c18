//go:build e2e

package system

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/e2e/realyard"
)

// Machines get more CPUs while they run, then fewer with a restart, while
// planners and executors are killed: at the end every VM has its size, is on,
// and is the one that it was.
func TestResizeUnderKills(t *testing.T) {
	nodes := harness.TheTarget(t).Count(8)
	y := newYard(t)
	storm := harness.NewStorm(t,
		harness.Killing("planner", 2, y.Planners...),
		harness.Killing("executor", 3, y.Executors...),
	)
	document := realyard.Network(t) + realyard.FleetOf(t, "size", nodes, "  rollout: {maxUnavailable: 3}\n")
	y.Persist("apply", "-f", y.File("size.yaml", document), "--yes")
	y.Ready("size", nodes, 2*time.Minute)
	before := y.machines(t, "size")
	for i, cpus := range []int{4, 1} {
		spec := y.File(fmt.Sprintf("size%d.yaml", i), strings.ReplaceAll(document, "cpus: 2", fmt.Sprintf("cpus: %d", cpus)))
		y.Persist("apply", "-f", spec, "--yes")
		y.while(storm, func() bool { return y.sized("size", nodes, cpus) == nil })
		harness.Wait(t, fmt.Sprintf("%d nodes with %d CPUs", nodes, cpus), 3*time.Minute, func() error { return y.sized("size", nodes, cpus) })
	}
	if after := y.machines(t, "size"); !maps.Equal(before, after) {
		t.Errorf("the VMs were %v and are %v", before, after)
	}
	y.noneFailed(t)
	y.Settled(time.Minute)
	t.Log(storm)
}

// machines are the fleet's VMs by name: their references and UUIDs.
func (y *yard) machines(t *testing.T, fleet string) map[string]string {
	t.Helper()
	vms, err := y.VCenter.VMs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, vm := range vms {
		if vm.Folder == fleet {
			out[vm.Name] = vm.Ref.Value + " " + vm.UUID
		}
	}
	return out
}

// sized returns what is missing until every node is ready, of the newest
// revision, and on a VM with so many CPUs that is on.
func (y *yard) sized(fleet string, nodes, cpus int) error {
	all, err := y.Nodes(fleet)
	if err != nil {
		return err
	}
	for _, n := range all {
		if n.GetState() != "ready" || n.GetOutdated() {
			return fmt.Errorf("%s is %s, of revision %d: %s", n.GetName(), n.GetState(), n.GetRevision(), n.GetMessage())
		}
	}
	vms, err := y.VCenter.VMs(y.TB.Context())
	if err != nil {
		return err
	}
	right := 0
	for _, vm := range vms {
		if vm.Folder == fleet && vm.CPUs == cpus && vm.Power == "poweredOn" {
			right++
		}
	}
	if right != nodes {
		return fmt.Errorf("%d of %d VMs are on and have %d CPUs", right, nodes, cpus)
	}
	return nil
}
