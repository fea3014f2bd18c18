//go:build bench

package bench

import (
	"fmt"
	"testing"
	"time"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/e2e/realyard"
)

const (
	vms     = 500
	clients = 8 // the executor's default limit of clones
)

// Apply of 200 nodes on the simulated vCenter, durable writes and all,
// against govmomi by hand with the same concurrency, and against govc in a
// loop. Every side has a simulator of its own, so that none suffers from the
// inventory that another left.
func TestApply(t *testing.T) {
	fast := []string{"--clone-delay", "0s", "--power-delay", "0s", "--boot-delay", "0s"}
	y := realyard.New(t, realyard.Options{Simulator: fast, Renderers: 1, Executors: 1, Planners: 1})
	raw := newRawVCenter(t, harness.StartNamedSimulator(t, "raw", fast...).Login())
	govc := harness.StartNamedSimulator(t, "govc", fast...)
	n := 0
	got := alternate(
		max(2, rounds()/2),
		side{"ours", func() sample {
			n++
			name := fmt.Sprintf("ours%d", n)
			start := time.Now()
			y.Apply(realyard.FleetOf(t, name, vms, ""))
			took := y.PoweredOn(name, vms, start)
			y.Remove(name)
			return sample{ops: vms, took: took}
		}},
		side{"govmomi", func() sample { return raw.create(t, fmt.Sprintf("raw%d", n), vms, clients) }},
		side{"govc", func() sample { return govcLoop(t, govc.Login(), fmt.Sprintf("govc%d", n), vms/10) }},
	)
	compare(fmt.Sprintf("apply of %d nodes, govmomi with %d workers", vms, clients), "VM/s", got["ours"], got["govmomi"], 0.9)
	compare(fmt.Sprintf("apply of %d nodes, govc in a loop", vms), "VM/s", got["ours"], got["govc"], 8)
	planned(t, y)
}

// terraformRefresh is what a plan without changes takes Terraform for each VM
// (1.11.4 with provider v2.6.1, on a machine like this one, 50 and 200 VMs).
// Its vSphere provider is no Go module that could be built here.
const terraformRefresh = 70 * time.Millisecond

// planned measures `yardctl plan` of a fleet that needs no change, from the
// start of the process to its end.
func planned(t *testing.T, y *realyard.Yard) {
	t.Helper()
	spec := y.File("planned.yaml", realyard.FleetOf(t, "planned", vms, ""))
	y.Persist("apply", "-f", spec, "--yes")
	y.Ready("planned", vms, 5*time.Minute)
	got := alternate(max(5, rounds()), side{"ours", func() sample {
		start := time.Now()
		if r := y.Ctl("plan", "-f", spec, "--exit-code"); r.Code != 0 {
			t.Errorf("plan without changes: exit %d\n%s%s", r.Code, r.Out, r.Err)
		}
		return sample{ops: vms, took: time.Since(start)}
	}})
	compare(fmt.Sprintf("plan without changes of %d nodes, Terraform's %s a VM", vms, terraformRefresh), "nodes/s",
		got["ours"], []float64{float64(time.Second) / float64(terraformRefresh)}, 100)
	y.Remove("planned")
}
