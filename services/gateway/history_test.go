package gateway

import (
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// A fleet's revisions tell who made them, what they changed and how they
// ended, and an earlier one can be gone back to without moving the targets.
func TestHistoryDiffAndRollback(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	f := y.gateway(Config{})
	f.apply(t, "", yardYAML(2))
	f.apply(t, "", strings.ReplaceAll(fleetYAML("web", 3), "team: platform", "team: other"))

	history := func() []*v1.RevisionView {
		resp, err := f.History(t.Context(), request(&v1.HistoryRequest{Fleet: "web"}))
		if err != nil {
			t.Fatal(err)
		}
		return resp.Msg.GetRevisions()
	}
	all := history()
	if len(all) != 2 || all[0].GetNumber() != 2 || all[0].GetOutcome() != outcomeUnderWay || all[1].GetOutcome() != outcomeSuperseded {
		t.Errorf("history = %v; want revision 2 under way, 1 superseded", all)
	}
	if got := all[0].GetSummary(); got != "create 1, keep 2" {
		t.Errorf("summary of revision 2 = %q", got)
	}
	want := []string{"metadata.labels.team platform -> other", "spec.pools[edge].replicas 2 -> 3"}
	if diff := cmp.Diff(want, words(all[0].GetFields())); diff != "" {
		t.Errorf("what revision 2 changed (-want +got):\n%s", diff)
	}
	resp, err := f.Diff(t.Context(), request(&v1.DiffRequest{Fleet: "web", From: 2, To: 1}))
	if err != nil {
		t.Fatal(err)
	}
	want = []string{"metadata.labels.team other -> platform", "spec.pools[edge].replicas 3 -> 2"}
	if diff := cmp.Diff(want, words(resp.Msg.GetDocuments()[0].GetFields())); diff != "" {
		t.Errorf("diff of the revisions (-want +got):\n%s", diff)
	}
	f.rollBack(t)
	if all = history(); all[0].GetSameAs() != 1 || all[0].GetSummary() != "nothing to change, keep 3 nodes" {
		t.Errorf("the rollback is %v; want the same as revision 1, and nothing to change", all[0])
	}
}

// rollBack applies revision 1 again, without moving the targets.
func (f *frontDoor) rollBack(t *testing.T) {
	t.Helper()
	document, err := f.GetDocument(t.Context(), request(&v1.GetDocumentRequest{Kind: "fleet", Name: "web", Revision: 1}))
	if err != nil {
		t.Fatal(err)
	}
	sources := []*v1.Source{{Filename: "revision 1", Content: []byte(document.Msg.GetYaml())}}
	p, err := f.Plan(t.Context(), request(&v1.PlanRequest{Sources: sources, KeepTargets: true}))
	if err != nil {
		t.Fatal(err)
	}
	applied, err := f.Apply(t.Context(), request(&v1.ApplyRequest{
		Sources: sources, KeepTargets: true, PlanBasis: map[string]string{"web": p.Msg.GetFleets()[0].GetBasis()},
	}))
	if err != nil || !applied.Msg.GetResults()[0].GetAccepted() {
		t.Fatalf("rollback: %v, %v", applied, err)
	}
}

func TestDiffOfFiles(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	f := y.gateway(Config{})
	f.apply(t, "", yardYAML(2))
	resp, err := f.Diff(t.Context(), request(&v1.DiffRequest{Sources: []*v1.Source{{
		Filename: "a.yaml", Content: []byte(strings.Join([]string{fleetYAML("web", 4), fleetYAML("new", 1), network}, "---")),
	}}}))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range resp.Msg.GetDocuments() {
		line := d.GetKind() + " " + d.GetName() + ":"
		if d.GetNew() {
			line += " new"
		}
		got = append(got, strings.Join(append([]string{line}, words(d.GetFields())...), " "))
	}
	want := []string{"Network dmz:", "Fleet web: spec.pools[edge].replicas 2 -> 4", "Fleet new: new"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("diff (-want +got):\n%s", diff)
	}
	for _, wrong := range []*v1.DiffRequest{{}, {Fleet: "web", To: 7}, {Fleet: "nobody"}} {
		_, err := f.Diff(t.Context(), request(wrong))
		if code := connect.CodeOf(err); err == nil || code != connect.CodeNotFound && code != connect.CodeInvalidArgument {
			t.Errorf("Diff(%v) = %v; want not found or invalid", wrong, err)
		}
	}
}

func words(fields []*v1.FieldDiff) []string {
	var out []string
	for _, f := range fields {
		out = append(out, plan.FieldChange{Path: f.GetPath(), Was: f.GetWas(), Now: f.GetNow()}.String())
	}
	return out
}
