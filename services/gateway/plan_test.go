package gateway

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

func (f *frontDoor) plan(t *testing.T, yaml string) *v1.PlanResponse {
	t.Helper()
	resp, err := f.Plan(t.Context(), request(&v1.PlanRequest{Sources: []*v1.Source{{Filename: "p.yaml", Content: []byte(yaml)}}}))
	if err != nil {
		t.Fatal(err)
	}
	if p := resp.Msg.GetProblems(); len(p) > 0 {
		t.Fatalf("plan: %v", p)
	}
	return resp.Msg
}

// What plan shows is what apply does, and a plan that no longer holds is
// refused.
func TestPlanThenApply(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	f := y.gateway(Config{})

	first := f.plan(t, yardYAML(2))
	if diff := cmp.Diff([]string{"create Site dc1", "create Network dmz"}, actions(first)); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
	// The Network that the fleet needs comes with it.
	if diff := cmp.Diff("create 2", summary(first)); diff != "" {
		t.Errorf("plan of a new fleet (-want +got):\n%s", diff)
	}
	f.apply(t, "", yardYAML(2))

	second := f.plan(t, yardYAML(3))
	if diff := cmp.Diff([]string{"keep Site dc1", "keep Network dmz"}, actions(second)); diff != "" {
		t.Errorf("documents the second time (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("create 1, keep 2", summary(second)); diff != "" {
		t.Errorf("plan of one more (-want +got):\n%s", diff)
	}
	f.apply(t, "", fleetYAML("web", 4)) // somebody else was faster
	resp, err := f.Apply(t.Context(), request(&v1.ApplyRequest{
		Sources:   []*v1.Source{{Filename: "p.yaml", Content: []byte(fleetYAML("web", 3))}},
		PlanBasis: map[string]string{"web": second.GetFleets()[0].GetBasis()},
	}))
	if err != nil {
		t.Fatal(err)
	}
	if r := resp.Msg.GetResults()[0]; r.GetAccepted() || r.GetCode() != plan.RefusedMoved {
		t.Errorf("apply of a plan that no longer holds = %v; want refused as moved", r)
	}
}

// A plan says which fields of a Network change, and leaves it as it is.
func TestPlanOfNetwork(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	f := y.gateway(Config{})
	f.apply(t, "", network)
	for range 2 {
		got := f.plan(t, strings.ReplaceAll(network, "10.0.0.200", "10.0.0.100")).GetDocuments()[0].GetCauses()
		want := []string{"spec.range 10.0.0.10-10.0.0.200 -> 10.0.0.10-10.0.0.100"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("causes (-want +got):\n%s", diff)
		}
	}
}

func actions(p *v1.PlanResponse) []string {
	var out []string
	for _, d := range p.GetDocuments() {
		out = append(out, d.GetAction()+" "+d.GetKind()+" "+d.GetName())
	}
	return out
}

// summary is the first fleet's plan in a line, or why it is refused.
func summary(p *v1.PlanResponse) string {
	f := p.GetFleets()[0]
	if len(f.GetRefusals()) > 0 {
		return strings.Join(f.GetRefusals(), "; ")
	}
	return f.GetSummary()
}

// Every problem of every file comes at once, and nothing is sent.
func TestApplyReportsEveryProblem(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	f := y.gateway(Config{})
	resp, err := f.Apply(t.Context(), request(&v1.ApplyRequest{Sources: []*v1.Source{
		{Filename: "a.yaml", Content: []byte(strings.ReplaceAll(fleetYAML("web", 1), "replicas", "replica"))},
		{Filename: "b.yaml", Content: []byte(strings.ReplaceAll(network, "subnet", "subnett"))},
		{Filename: "c.yaml", Content: []byte(network)},
		{Filename: "d.yaml", Content: []byte(network)},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]bool{}
	for _, p := range resp.Msg.GetProblems() {
		files[p.GetFile()] = true
	}
	if !files["a.yaml"] || !files["b.yaml"] || !files["d.yaml"] || len(resp.Msg.GetResults()) > 0 {
		t.Errorf("problems = %v, results = %v; want problems in a, b and d and no result", resp.Msg.GetProblems(), resp.Msg.GetResults())
	}
}
