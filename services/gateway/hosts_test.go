package gateway

import (
	"strings"
	"testing"
	"time"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

func hosts() *stock {
	return &stock{sites: map[string]lastWord{
		"shed": {host: true, uploads: map[string]wire.Upload{"web-edge-0": {Machine: "web-edge-0", Image: "flatcar-1", Done: 3 << 20, Total: 6<<20 - 1}}},
		"dc1":  {},
	}}
}

func TestAnUploadShowsAtItsNode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		node plan.Node
		want string
	}{
		"on its way":       {plan.Node{Site: "shed", Fleet: "web", Pool: "edge"}, "uploading flatcar-1 to the host, 3 of 6 MiB"},
		"before or after":  {plan.Node{Site: "shed", Fleet: "web", Pool: "edge", Ordinal: 1}, "making its machine on the host"},
		"in a vCenter":     {plan.Node{Site: "dc1", Fleet: "web", Pool: "edge"}, "cloning flatcar-1"},
		"somewhere unseen": {plan.Node{Site: "dc2", Fleet: "web", Pool: "edge"}, "cloning flatcar-1"},
	} {
		c.node.State, c.node.Job = plan.Provisioning, &plan.OpenJob{Action: plan.ActionCreate}
		n := nodeSpec{&c.node, &poolSpec{template: "flatcar-1"}}
		if got := hosts().mark(n.view(), n).GetWaitingFor(); got != c.want {
			t.Errorf("%s: it waits for %q; want %q", name, got, c.want)
		}
	}
	n := nodeSpec{&plan.Node{Site: "shed", State: plan.Ready}, &poolSpec{}}
	if got := hosts().mark(n.view(), n).GetWaitingFor(); got != "" {
		t.Errorf("a ready node waits for %q", got)
	}
}

func TestALoneHostsPoolsMustFit(t *testing.T) {
	t.Parallel()
	f := &fleet.Fleet{Metadata: fleet.Metadata{Name: "web"}, Spec: fleet.FleetSpec{Pools: []fleet.Pool{
		{Name: "fits", VSphere: &fleet.VSphere{Site: "shed", Folder: "web", Datastore: "ds1"}},
		{Name: "elsewhere", VSphere: &fleet.VSphere{Site: "dc1", Cluster: "c1", Tags: []string{"env/prod"}}},
		{Name: "metal"},
		{Name: "not", VSphere: &fleet.VSphere{Site: "shed", Cluster: "c1", Tags: []string{"env/prod"}}},
		{Name: "spread", VSphere: &fleet.VSphere{FailureDomains: []fleet.FailureDomain{
			{Name: "a", Site: "dc1", Cluster: "c1"}, {Name: "b", Site: "shed", Cluster: "c2"},
		}}},
	}}}
	var paths []string
	for _, p := range hosts().fits(f) {
		paths = append(paths, p.Path)
		if p.Hint == "" || !strings.Contains(p.Message, "Site shed is a lone ESXi host") {
			t.Errorf("%s: %s; %s", p.Path, p.Message, p.Hint)
		}
	}
	want := "spec.pools[3].vsphere.cluster spec.pools[3].vsphere.tags spec.pools[4].vsphere.failureDomains[1].cluster"
	if got := strings.Join(paths, " "); got != want {
		t.Errorf("problems at %s; want %s", got, want)
	}
	if got := hosts().fits(&fleet.Network{}); got != nil {
		t.Errorf("a Network has the problems %v", got)
	}
}

func TestALoneHostsImagesAndPlans(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	front := y.gateway(Config{})
	front.apply(t, "", siteWithImages+"---"+network)
	y.hosts(wire.ImageState{Name: "flatcar-4593.2.5", State: wire.ImageReady, Fingerprint: "AB"})
	if i := front.image(t, "flatcar-4593.2.5", wire.ImageReady); i.GetMessage() != "kept by the executor" {
		t.Errorf("the image says %q", i.GetMessage())
	}
	bad := []*v1.Source{{Filename: "web.yaml", Content: []byte(fleetYAML("web", 2))}} // it names a cluster
	resp, err := front.Plan(t.Context(), request(&v1.PlanRequest{Sources: bad}))
	if err != nil || len(resp.Msg.GetProblems()) != 1 || !strings.HasSuffix(resp.Msg.GetProblems()[0].GetPath(), ".cluster") {
		t.Errorf("Plan = %v, %v; want a problem with the cluster", resp, err)
	}
	applied, err := front.Apply(t.Context(), request(&v1.ApplyRequest{Sources: bad}))
	if err != nil || len(applied.Msg.GetProblems()) != 1 {
		t.Errorf("Apply = %v, %v; want a problem with the cluster", applied, err)
	}
	fits := strings.Replace(fleetYAML("web", 2), "cluster: c1, ", "", 1)
	notes := front.plan(t, strings.ReplaceAll(fits, "4593.2.5", "4700.1.0")).GetFleets()[0].GetImages()
	if len(notes) != 1 {
		t.Errorf("the plan's steps are %v; want the image of another release first", notes)
	}
}

// hosts lets the site's executor say that it is a lone host.
func (y *yard) hosts(images ...wire.ImageState) {
	y.t.Helper()
	y.tells(wire.SiteImages{Images: images, Host: true, At: time.Now()})
}
