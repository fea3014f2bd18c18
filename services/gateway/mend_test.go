package gateway

import (
	"testing"

	"connectrpc.com/connect"

	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// A failed node that is skipped stays in the list and needs nobody; one that
// is preserved leaves it.
func TestSkippedAndPreserved(t *testing.T) { //nolint:gocyclo // one story, told in order
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	y.workers()
	f := y.gateway(Config{})
	f.apply(t, "", site+"---"+network+"---"+fleetYAML("frail", 1))
	node := func() *v1.NodeView {
		resp, err := f.DescribeNode(t.Context(), request(&v1.DescribeNodeRequest{Node: "frail-edge-0"}))
		if err != nil {
			t.Fatal(err)
		}
		return resp.Msg.GetNode()
	}
	until(t, "the node has failed", func() bool { return node().GetState() == "failed" })
	mend := func(m plan.Mend, nodes ...string) *v1.CommandResponse {
		t.Helper()
		resp, err := f.Mend(t.Context(), request(&v1.MendRequest{Fleet: "frail", Mend: string(m), Nodes: nodes}))
		if err != nil {
			t.Fatal(err)
		}
		return resp.Msg
	}
	if r := mend(plan.MendSkip); !r.GetAccepted() || !node().GetSkipped() || node().GetWaitingFor() != "nobody: it is skipped" {
		t.Errorf("skip = %v; the node %v", r, node())
	}
	failed, err := f.ListFailed(t.Context(), request(&v1.ListFailedRequest{}))
	if err != nil || len(failed.Msg.GetFailed()) != 1 || !failed.Msg.GetFailed()[0].GetSkipped() {
		t.Errorf("ListFailed = %v, %v; want the node, skipped", failed, err)
	}
	if r := mend("dance"); r.GetAccepted() || r.GetCode() != plan.RefusedInvalid {
		t.Errorf("a decision that nobody knows = %v", r)
	}
	if r := mend(plan.MendPreserve, "frail-edge-0"); !r.GetAccepted() || node().GetState() != string(plan.Preserved) {
		t.Errorf("preserve = %v; the node %v", r, node())
	}
	for name, m := range map[string]*v1.MendRequest{
		"another fleet's": {Fleet: "frail", Mend: "skip", Nodes: []string{"web-edge-0"}},
		"cancel of all":   {Fleet: "frail", Mend: "cancel"},
	} {
		if _, err := f.Mend(t.Context(), request(m)); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("Mend of %s: %v; want an invalid argument", name, err)
		}
	}
}

// The pause of a yard holds the fleets of every shard and is shown with each;
// everything goes on when it ends.
func TestPausedYard(t *testing.T) { //nolint:gocyclo // one story, told in order
	t.Parallel()
	y := newYard(t, 2)
	y.planners()
	f := y.gateway(Config{})
	pause := func(m *v1.PauseRequest) *v1.CommandResponse {
		t.Helper()
		resp, err := f.Pause(t.Context(), request(m))
		if err != nil {
			t.Fatal(err)
		}
		return resp.Msg
	}
	if r := pause(&v1.PauseRequest{Paused: true}); !r.GetAccepted() || r.GetKind() != "Yard" {
		t.Fatalf("Pause of the yard = %v", r)
	}
	f.apply(t, "", site+"---"+network+"---"+fleetYAML("web", 1)+"---"+fleetYAML("core", 1))
	fleets := func() []*v1.FleetView {
		resp, err := f.ListFleets(t.Context(), request(&v1.ListFleetsRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		return resp.Msg.GetFleets()
	}
	count := func() map[string]int32 {
		out := map[string]int32{}
		for _, v := range fleets() {
			out[v.GetName()] = v.GetNodes()
		}
		return out
	}
	for _, v := range fleets() {
		if !v.GetPaused().GetYard() || v.GetPaused().GetBy() == "" || v.GetNodes() != 0 {
			t.Errorf("fleet %s = %v; want it paused with the yard and without nodes", v.GetName(), v)
		}
	}
	if s, err := f.Status(t.Context(), request(&v1.StatusRequest{})); err != nil || !s.Msg.GetPaused().GetYard() {
		t.Errorf("Status = %v, %v; want the yard paused", s, err)
	}
	pause(&v1.PauseRequest{Fleet: "core", Paused: true, CallBack: true})
	pause(&v1.PauseRequest{})
	until(t, "web alone has its node", func() bool { n := count(); return n["web"] == 1 && n["core"] == 0 })
	pause(&v1.PauseRequest{Fleet: "core"})
	until(t, "core has its node", func() bool { return count()["core"] == 1 })
	if _, err := f.Pause(t.Context(), request(&v1.PauseRequest{Paused: true, CallBack: true})); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("calling everything back: %v; want an invalid argument", err)
	}
}
