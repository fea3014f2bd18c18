//go:build e2e

package system

import (
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/e2e/realyard"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

// When the active replica dies the other one takes over within seconds, and
// a clean stop hands over at once.
func TestTakeOver(t *testing.T) {
	y := newYard(t)
	y.Apply(realyard.FleetOf(t, "over", 2, ""))
	y.Ready("over", 2, time.Minute)

	planner := active(t, y, "planner", y.Planners)
	planner.Kill()
	t.Logf("planner killed: the next command was decided after %.1f s", y.scaled(t, 3, 15*time.Second).Seconds())
	planner.Start()
	y.Ready("over", 3, time.Minute)

	planner = active(t, y, "planner", y.Planners)
	if err := planner.Stop(20 * time.Second); err != nil {
		t.Error(err)
	}
	t.Logf("planner stopped: the next command was decided after %.1f s", y.scaled(t, 4, 10*time.Second).Seconds())
	planner.Start()
	y.Ready("over", 4, time.Minute)

	executor := active(t, y, "vsphere-executor", y.Executors)
	executor.Kill()
	start := time.Now()
	y.scaled(t, 5, 10*time.Second)
	y.Ready("over", 5, 40*time.Second)
	t.Logf("executor killed: the next VM was ready after %.1f s", time.Since(start).Seconds())
	executor.Start()

	executor = active(t, y, "vsphere-executor", y.Executors)
	if err := executor.Stop(20 * time.Second); err != nil {
		t.Error(err)
	}
	start = time.Now()
	y.scaled(t, 6, 10*time.Second)
	y.Ready("over", 6, 20*time.Second)
	t.Logf("executor stopped: the next VM was ready after %.1f s", time.Since(start).Seconds())
	executor.Start()
	y.Settled(time.Minute)
}

// scaled sets the target of the fleet over and returns how long it took until the
// planner had decided.
func (y *yard) scaled(t *testing.T, target int, within time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	y.Persist("scale", "over/w", fmt.Sprint(target))
	harness.Wait(t, "the new target", within, func() error {
		nodes, err := y.Nodes("over")
		if err != nil {
			return err
		}
		if len(nodes) != target {
			return fmt.Errorf("%d nodes", len(nodes))
		}
		return nil
	})
	return time.Since(start)
}

// active returns the process that the status names as active.
func active(t *testing.T, y *yard, service string, procs []*harness.Proc) *harness.Proc {
	t.Helper()
	var found *harness.Proc
	harness.Wait(t, "an active "+service, 30*time.Second, func() error {
		res, err := y.API.Status(t.Context(), connect.NewRequest(&ymv1.StatusRequest{}))
		if err != nil {
			return err
		}
		for _, s := range res.Msg.GetServices() {
			for _, p := range procs {
				if s.GetService() == service && s.GetActive() && s.GetInstance() == p.Name() && p.Running() && time.Since(s.GetSeen().AsTime()) < 4*time.Second {
					found = p
					return nil
				}
			}
		}
		return fmt.Errorf("services: %v", res.Msg.GetServices())
	})
	return found
}
