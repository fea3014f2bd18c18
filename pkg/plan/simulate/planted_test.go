package simulate

import (
	"slices"
	"strings"
	"testing"

	"yardmaster.dev/pkg/plan"
)

// TestPlantedBugs shows that the simulation can fail: each bug, planted into
// what the planner writes or the workers do, is seen within a few seeds.
func TestPlantedBugs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options Options
		want    string
	}{
		"a worker that does not look for its earlier machine":   {Options{Careless: true}, "two machines for"},
		"a worker that does not change what it says it changed": {Options{Idle: true}, "its machine has"},
		"a planner that restarts more than it may":              {Options{Tamper: spendthrift}, "restarted on purpose"},
		"a planner that says of every change that it was made":  {Options{Tamper: pretend}, "its machine has"},
		"a planner that lets more run again than it may":        {Options{Tamper: spendthrift}, "run again on purpose"},
		"a planner that takes a former config's report":         {Options{Tamper: forgetToken}, "its machine has"},
		"a planner that spends more than maxUnavailable":        {Options{Tamper: spendthrift}, "taken down on purpose"},
		"a planner that forgets to withdraw jobs":               {Options{Tamper: forgetWithdrawals}, "is given out while job"},
		"a planner that frees addresses in use":                 {Options{Tamper: freeEarly}, "is freed while"},
		"a planner that gives one address twice":                {Options{Tamper: sameAddress}, "without a claim"},
		"a planner that loses an event":                         {Options{Tamper: loseEvent}, "event"},
		"a planner that leaves the table":                       {Options{Tamper: jump}, "is not in the table"},
		"a planner that destroys a ready machine":               {Options{Tamper: destroyReady}, "is destroyed by job"},
		"a planner that hides what it spends":                   {Options{Tamper: hideSpending}, "does not write the fleet's record"},
		"a planner that begins something in a paused fleet":     {Options{Tamper: hidePause}, "is begun while"},
		"a planner that does not clear its dead letters":        {Options{Tamper: keepLetters}, "still among the failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for s := range uint64(400) {
				o := c.options
				o.Seed = s + 1
				r := Run(o)
				if r.Err == nil {
					continue
				}
				if strings.Contains(r.Err.Error(), c.want) {
					return
				}
			}
			t.Errorf("400 seeds did not show %q", c.want)
		})
	}
}

func spendthrift(out *plan.Outcome) {
	for _, r := range out.Records {
		if rev, ok := r.(*plan.Revision); ok {
			rev.Document.Spec.Rollout.MaxUnavailable = new(5)
		}
	}
}

func pretend(out *plan.Outcome) {
	for _, j := range out.Jobs {
		if j.Action == plan.ActionResize {
			v := *j.VSphere
			v.CPUs = 1
			j.VSphere = &v
		}
	}
}

// forgetToken lets the report of the former config count for the next.
func forgetToken(out *plan.Outcome) {
	for _, r := range out.Records {
		if n, ok := r.(*plan.Node); ok && n.State == plan.Rerunning && n.Job == nil {
			n.TokenSHA256 = n.FormerToken
		}
	}
}

func forgetWithdrawals(out *plan.Outcome) { out.Withdrawn = nil }

func freeEarly(out *plan.Outcome) {
	for _, r := range out.Records {
		n, ok := r.(*plan.Node)
		if !ok || n.State != plan.Draining && n.State != plan.Deleting {
			continue
		}
		for _, a := range n.Addresses {
			out.Releases = append(out.Releases, &plan.Claim{
				Kind: plan.ClaimAddress, Thing: a.Network + "/" + a.Addr, FleetUID: n.FleetUID, Node: n.Key(),
			})
		}
	}
}

func sameAddress(out *plan.Outcome) {
	for _, r := range out.Records {
		if n, ok := r.(*plan.Node); ok && n.State == plan.Booting && len(n.Addresses) > 0 {
			n.Addresses = []plan.Address{{Network: n.Addresses[0].Network, Addr: "10.0.0.10"}}
		}
	}
}

func loseEvent(out *plan.Outcome) {
	for i, e := range out.Events {
		if e.Fact == plan.FactReported {
			out.Events = append(out.Events[:i:i], out.Events[i+1:]...)
			return
		}
	}
}

func jump(out *plan.Outcome) {
	for _, e := range out.Events {
		if e.Fact == plan.FactPlaced {
			e.To = plan.Ready
		}
	}
}

func destroyReady(out *plan.Outcome) {
	for _, j := range out.Jobs {
		if j.Action == plan.ActionBlank {
			j.Action = plan.ActionDelete
		}
	}
}

func hideSpending(out *plan.Outcome) {
	out.Records = slices.DeleteFunc(out.Records, func(r plan.Record) bool {
		f, ok := r.(*plan.Fleet)
		return ok && f.Event > 1 && len(out.Jobs) > 0 && len(out.Events) > 2
	})
}

// hidePause lets the memory of the planner that comes next know of no pause.
func hidePause(out *plan.Outcome) {
	for _, r := range out.Records {
		if n, ok := r.(*plan.Node); ok && n.DueFor == plan.DueResume {
			out.Jobs = append(out.Jobs, &plan.Job{JobRef: plan.JobRef{Worker: plan.WorkerVSphere, Site: "dc1", Fleet: n.Fleet, Node: n.Key(), Number: n.Event}, Action: plan.ActionCreate})
		}
	}
}

func keepLetters(out *plan.Outcome) {
	for _, r := range out.Records {
		if l, ok := r.(*plan.DeadLetter); ok && l.Reason == "" {
			l.Reason = "unknown"
		}
	}
}
