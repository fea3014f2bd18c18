//go:build e2e

package system

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/e2e/realyard"
)

// What one more node costs a vCenter does not grow with those that are there:
// the calls for each node are counted at the vCenter, while a fleet grows. How
// long it takes is told and not judged.
func TestCostOfNodeIsConstant(t *testing.T) {
	harness.NeedSimulator(t, "calls are counted at its control port")
	sizes := []int{40, 160}
	if os.Getenv("YARD_E2E_LONG") != "" {
		sizes = []int{100, 1000, 5000}
	}
	y := &yard{realyard.New(t, realyard.Options{
		Executors: 1, Planners: 1, Simulator: []string{"--clone-delay", "0s", "--power-delay", "0s", "--boot-delay", "0s"},
	})}
	document := strings.ReplaceAll(wide+realyard.FleetOf(t, "grow", sizes[0], "  retry: {attempts: 20}\n"), "ref: lan", "ref: wide")
	y.Persist("apply", "-f", y.File("grow.yaml", document), "--yes")
	var first float64
	had := 0
	for _, size := range sizes {
		start := time.Now()
		if had > 0 {
			y.Persist("scale", "grow/w", fmt.Sprint(size))
		}
		y.AllReady("grow", size, 20*time.Minute)
		y.blanked(t, had, size)
		load := y.Simulator.ResetLoad()
		each := perNode(load.Calls, size-had)
		if first == 0 {
			first = each
		}
		t.Logf("%d to %d nodes: %.2f calls and %.0f ms a node; %v", had, size, each, 1000*time.Since(start).Seconds()/float64(size-had), load.Calls)
		// The first ones pay for what is looked up once.
		if each > first*1.02 {
			t.Errorf("%d to %d nodes: %.2f calls a node; the first %d took %.2f", had, size, each, sizes[0], first)
		}
		had = size
	}
	y.noneFailed(t)
}

// wide has addresses for thousands.
const wide = `---
apiVersion: yardmaster.dev/v1alpha1
kind: Network
metadata: {name: wide}
spec: {subnet: 10.64.0.0/16, range: 10.64.1.0-10.64.40.255, gateway: 10.64.0.1, dns: [10.64.0.1], portgroup: VM Network}
`

// blanked waits until the last chore of each node is done, by the calls that
// the vCenter has seen.
func (y *yard) blanked(t *testing.T, had, size int) {
	t.Helper()
	harness.Wait(t, "the last chores", 5*time.Minute, func() error {
		if n := y.Simulator.Load().Calls["ReconfigVM_Task"]; n < size-had {
			return fmt.Errorf("%d of %d", n, size-had)
		}
		return nil
	})
}

// perNode is how many calls a node took. Looks at tasks and at the inventory
// are for all nodes together, as often as the clock says.
func perNode(calls map[string]int, nodes int) float64 {
	sum := 0
	for method, n := range calls {
		switch {
		case method == "RetrievePropertiesEx(Task)", method == "RetrievePropertiesEx(ContainerView)", strings.HasPrefix(method, "ContinueRetrieve"):
		case method == "RetrievePropertiesEx(VirtualMachine)", method == "RetrievePropertiesEx(Datastore)":
		case strings.HasSuffix(method, "View"):
		default:
			sum += n
		}
	}
	return float64(sum) / float64(nodes)
}
