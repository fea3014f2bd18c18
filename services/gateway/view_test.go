package gateway

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/specfile"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// Every unfinished node says in words what it waits for.
func TestWaitingFor(t *testing.T) {
	t.Parallel()
	due := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	job := func(a plan.Action) *plan.OpenJob { return &plan.OpenJob{Action: a} }
	none := &poolSpec{}
	byAddress := &poolSpec{pool: &fleet.Pool{Ready: fleet.Ready{By: fleet.ReadyByGuestAddress}}}
	for name, c := range map[string]struct {
		node plan.Node
		spec *poolSpec
		want string
	}{
		"pending":              {plan.Node{State: plan.Pending}, none, "its turn"},
		"without address":      {plan.Node{State: plan.Pending, DueFor: plan.DueAddress, Due: due}, none, "a free address"},
		"rendering":            {plan.Node{State: plan.Rendering, Job: job(plan.ActionRender)}, none, "rendering its config"},
		"cloning":              {plan.Node{State: plan.Provisioning, Job: job(plan.ActionCreate)}, &poolSpec{template: "flatcar-1"}, "cloning flatcar-1"},
		"cloning who knows":    {plan.Node{State: plan.Provisioning, Job: job(plan.ActionCreate)}, none, "cloning its machine"},
		"waiting to try again": {plan.Node{State: plan.Provisioning, DueFor: plan.DueRetry, Due: due}, none, "its next attempt"},
		"withdrawn":            {plan.Node{State: plan.Deleting, Job: &plan.OpenJob{Withdrawn: true}}, none, "the last word of a withdrawn job"},
		"booting":              {plan.Node{State: plan.Booting, DueFor: plan.DueDeadline, Due: due}, none, "its first phone-home"},
		"booting by address":   {plan.Node{State: plan.Booting, DueFor: plan.DueDeadline, Due: due}, byAddress, "its guest address"},
		"blanking":             {plan.Node{State: plan.Ready, Job: job(plan.ActionBlank)}, none, "removing its config from the machine"},
		"ready":                {plan.Node{State: plan.Ready}, none, ""},
		"deleted":              {plan.Node{State: plan.Deleted}, none, ""},
		"failed":               {plan.Node{Fleet: "web", Pool: "db", State: plan.Failed}, none, "a person: yardctl retry web-db-0"},
		"skipped":              {plan.Node{State: plan.Failed, Skipped: true}, none, "nobody: it is skipped"},
		"preserved":            {plan.Node{Fleet: "web", Pool: "db", State: plan.Preserved}, none, "a person: yardctl replace web-db-0"},
		"paused":               {plan.Node{Fleet: "web", State: plan.Rendering, DueFor: plan.DueResume}, none, "the end of a pause: yardctl resume web"},
	} {
		if got := waitingFor(&c.node, c.spec); got != c.want {
			t.Errorf("%s: waitingFor = %q; want %q", name, got, c.want)
		}
	}
}

// Every state and action has its words; a new one must get some.
func TestEveryStateHasWords(t *testing.T) {
	t.Parallel()
	settled := map[plan.State]bool{plan.Ready: true, plan.Deleted: true}
	for _, s := range plan.States() {
		if got := waitingFor(&plan.Node{State: s}, &poolSpec{}); (got == "") != settled[s] && s != plan.Provisioning {
			t.Errorf("a node that is %s waits for %q", s, got)
		}
	}
}

// testWorld is a yard with one fleet that has been through something.
func testWorld(tb testing.TB) *plan.World {
	tb.Helper()
	w := plan.NewWorld(plan.EveryShard)
	docs, problems := specfile.Parse("test.yaml", []byte(yardYAML(3)))
	if len(problems) > 0 {
		tb.Fatal(problems)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, d := range docs {
		switch d := d.Document.(type) {
		case *fleet.Fleet:
			w.Put(&plan.Revision{Fleet: "web", FleetUID: "u1", Number: 2, At: at, Document: *d})
		case *fleet.Network:
			w.Put(&plan.Network{Document: *d, At: at})
		case *fleet.Site:
			w.Put(&plan.Site{Document: *d, At: at})
		}
	}
	w.Put(&plan.Yard{UID: "yard", Format: 1, Shards: 2})
	w.Put(&plan.Place{Fleet: "web", Shard: 1})
	w.Put(&plan.Fleet{
		Name: "web", UID: "u1", Revision: 2, Settled: 1, Created: at,
		Targets: map[string]int{"edge": 3}, Surged: map[string]int{"edge": 1},
	})
	for i, n := range []plan.Node{
		{State: plan.Ready, PoolHash: w.PoolHash("web", "edge")},
		{State: plan.Ready, PoolHash: "old"},
		{State: plan.Failed, PoolHash: w.PoolHash("web", "edge"), Reason: fault.NoSpace},
		{State: plan.Deleted},
	} {
		n.Fleet, n.FleetUID, n.Pool, n.Ordinal, n.Goal, n.Site = "web", "u1", "edge", i, plan.Present, "dc1"
		w.Put(&n)
	}
	w.Put(&plan.DeadLetter{Fleet: "web", Node: "edge-2", Stage: plan.Provisioning, Reason: fault.NoSpace, Attempts: 5, Since: at})
	w.Put(&plan.Claim{Kind: plan.ClaimAddress, Thing: "dmz/10.0.0.10", Fleet: "web", FleetUID: "u1", Node: "edge-0"})
	return w
}

func TestViews(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	created := timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	for name, c := range map[string]struct{ got, want proto.Message }{
		"fleet": {viewFleet(w, w.Fleet("web")), &v1.FleetView{
			Name: "web", Uid: "u1", Revision: 2, Settled: 1, Desired: 3, Ready: 2, Failed: 1, Nodes: 3, Shard: 1,
			Created: created, Labels: map[string]string{"team": "platform"},
		}},
		"pool": {viewPools(w, w.Fleet("web"))[0], &v1.PoolView{
			Fleet: "web", Name: "edge", Desired: 3, SpecReplicas: 3, States: map[string]int32{"ready": 2, "failed": 1},
			Outdated: 1, Backend: "vsphere", Site: "dc1", Surged: 1,
		}},
		"network": {viewNetwork(w, w.Network("dmz")), &v1.NetworkView{
			Name: "dmz", Subnet: "10.0.0.0/24", Range: "10.0.0.10-10.0.0.200", Gateway: "10.0.0.1", Total: 191, Used: 1,
		}},
		"site": {viewSites(w)[0], &v1.SiteView{Name: "dc1", Url: "https://vcenter.example/sdk", Nodes: 3}},
		"failed": {viewFailed(w, w.DeadLetters()[0]), &v1.FailedView{
			Node: "web-edge-2", Fleet: "web", Stage: "provisioning", Reason: "no_space", Attempts: 5, Since: created,
		}},
	} {
		if diff := cmp.Diff(c.want, c.got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestNodesAreFoundByName(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	w.Put(&plan.Node{Fleet: "web-edge", Pool: "x", Ordinal: 0, State: plan.Ready})
	w.Put(&plan.Node{Fleet: "web-edge-x", Pool: "y-z", Ordinal: 12, State: plan.Ready})
	look := newSpecs(w)
	for name, want := range map[string]string{
		"web-edge-0": "web/edge-0", "web-edge-x-0": "web-edge/x-0", "web-edge-x-y-z-12": "web-edge-x/y-z-12",
		"web-edge-3": "web/edge-3", "web-edge-9": "", "web": "", "": "", "-": "", "web-edge-": "", "web-edge--1": "",
	} {
		got := ""
		if n := findNode(w, name); n != nil {
			got = n.Fleet + "/" + n.Key()
		}
		if got != want {
			t.Errorf("findNode(%q) = %q; want %q", name, got, want)
		}
	}
	outdated := func(key string) bool { return look.node(w.Node("web", key)).view().GetOutdated() }
	if outdated("edge-0") || !outdated("edge-1") {
		t.Errorf("outdated: edge-0 %v, edge-1 %v; want only edge-1", outdated("edge-0"), outdated("edge-1"))
	}
}

// The filter of ListNodes leaves out what is gone unless it is asked for.
func TestWantedNodes(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	for name, c := range map[string]struct {
		req  *v1.ListNodesRequest
		want int
	}{
		"all":        {&v1.ListNodesRequest{}, 3},
		"deleted":    {&v1.ListNodesRequest{Deleted: true}, 4},
		"state":      {&v1.ListNodesRequest{State: "ready"}, 2},
		"gone":       {&v1.ListNodesRequest{State: "deleted"}, 1},
		"pool":       {&v1.ListNodesRequest{Pool: "edge"}, 3},
		"other pool": {&v1.ListNodesRequest{Pool: "db"}, 0},
	} {
		got := 0
		for n := range w.Nodes("web") {
			if wanted(c.req, n) {
				got++
			}
		}
		if got != c.want {
			t.Errorf("%s: %d nodes; want %d", name, got, c.want)
		}
	}
}
