package plan

import (
	"math"
	"testing"
	"time"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// The machine that called is destroyed when its config is made anew: its
// successor has to call itself.
func TestCallOfADestroyedMachineDoesNotCount(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.hung["edge-0 create"] = true
	y.send(applyCommand("c1", testFleet(testPool("edge", 1))))
	y.run()
	y.phoneHome("web", "edge-0", "token-edge-0-1") // the create job's result is not there yet
	y.mishap("edge-0", ActionCreate, &Failure{Kind: fault.Transient, Reason: fault.ConfigMissing})
	delete(y.hung, "edge-0 create")
	y.noBoot["edge-0"] = true
	y.run()
	if n := y.w.Node("web", "edge-0"); n.State != Booting {
		t.Errorf("the node is %s; want booting, since its present machine never called", n.State)
	}
}

// A machine that calls after its node was given up is waited for no longer
// than any other.
func TestLateCallHasADeadline(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	p := testPool("edge", 1)
	p.Ready.By = fleet.ReadyByGuestAddress
	y.noBoot["edge-0"] = true
	y.send(applyCommand("c1", testFleet(p)))
	for range 100 {
		y.wait(time.Hour)
	}
	n := y.w.Node("web", "edge-0")
	if n.State != Failed {
		t.Fatalf("the node is %s; want failed", n.State)
	}
	y.phoneHome("web", "edge-0", n.TokenSHA256)
	for range 100 {
		y.wait(time.Hour)
	}
	if n := y.w.Node("web", "edge-0"); n.State != Ready && n.State != Failed {
		t.Errorf("the node is %s for days, due %v; want it to end", n.State, n.Due)
	}
}

// A worker's numbers are bounded: no answer of one puts a node off for ever.
func TestWaitOfABusyBackendIsBounded(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.mishap("edge-0", ActionCreate, &Failure{Kind: fault.Busy, RetryAfter: math.MaxInt64})
	y.send(applyCommand("c1", testFleet(testPool("edge", 1))))
	y.work()
	y.work()
	n := y.w.Node("web", "edge-0")
	if wait := n.Due.Sub(y.now); wait <= 0 || wait > 24*time.Hour {
		t.Errorf("the node waits %s; want a bounded time", wait)
	}
}
