package plan

import "testing"

// The executor of one site has no word about another site's machines.
func TestObservationOfAnotherSiteIsIgnored(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.send(applyCommand("c1", testFleet(testPool("edge", 1))))
	y.run()
	n := y.w.Node("web", "edge-0")
	y.send(Input{ID: "obs", Fleet: "web", Observation: &Observation{Site: "dc2", Node: "edge-0", Incarnation: n.Incarnation, Lost: true}})
	if n := y.w.Node("web", "edge-0"); n.State != Ready {
		t.Errorf("the node is %s after site dc2 called it lost; want ready", n.State)
	}
	y.send(Input{ID: "obs", Fleet: "web", Observation: &Observation{Site: "dc1", Node: "edge-0", Incarnation: n.Incarnation, Lost: true}})
	if n := y.w.Node("web", "edge-0"); n.State == Ready {
		t.Error("the node is ready although its own site called it lost")
	}
}

// Nor has it one about another site's or another worker's jobs.
func TestResultOfAnotherWorkerIsIgnored(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.send(applyCommand("c1", testFleet(testPool("edge", 1))))
	n := y.w.Node("web", "edge-0")
	r := Result{
		Node: "edge-0", Job: n.Job.Number, Attempt: 1, Incarnation: 1, Worker: WorkerRender, Site: "dc1", Action: ActionRender,
		ConfigDigest: "forged", TokenSHA256: "forged",
	}
	for _, forged := range []struct {
		worker Worker
		site   string
	}{{WorkerVSphere, "dc1"}, {WorkerRender, "dc2"}} {
		f := r
		f.Worker, f.Site = forged.worker, forged.site
		y.send(Input{ID: "res", Fleet: "web", Result: &f})
		if n := y.w.Node("web", "edge-0"); n.State != Rendering {
			t.Errorf("the node is %s after an answer of %s at %s; want rendering", n.State, forged.worker, forged.site)
		}
	}
	y.send(Input{ID: "res", Fleet: "web", Result: &r})
	if n := y.w.Node("web", "edge-0"); n.State != Provisioning {
		t.Errorf("the node is %s after the right answer; want provisioning", n.State)
	}
}
