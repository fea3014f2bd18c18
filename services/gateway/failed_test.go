package gateway

import (
	"slices"
	"testing"

	"connectrpc.com/connect"

	"yardmaster.dev/pkg/fault"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// A node that needs a person is in the list with its last words, and leaves
// it when it is tried again.
func TestFailedAndRetried(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	y.workers()
	f := y.gateway(Config{})
	f.apply(t, "", site+"---"+network+"---"+fleetYAML("frail", 1))
	failed := func() []*v1.FailedView {
		resp, err := f.ListFailed(t.Context(), request(&v1.ListFailedRequest{Fleet: "frail"}))
		if err != nil {
			t.Fatal(err)
		}
		return resp.Msg.GetFailed()
	}
	until(t, "the node has failed", func() bool { return len(failed()) == 1 })
	if d := failed()[0]; d.GetNode() != "frail-edge-0" || d.GetReason() != string(fault.TemplateMissing) || !slices.Contains(d.GetLog(), "last words") {
		t.Errorf("ListFailed = %v; want the node, the reason and its last words", d)
	}
	_, err := f.Retry(t.Context(), request(&v1.RetryRequest{Fleet: "frail", Nodes: []string{"web-edge-0"}}))
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("Retry of another fleet's node: %v; want an invalid argument", err)
	}
	resp, err := f.Retry(t.Context(), request(&v1.RetryRequest{Fleet: "frail", Nodes: []string{"frail-edge-0"}}))
	if err != nil || !resp.Msg.GetAccepted() {
		t.Fatalf("Retry = %v, %v; want accepted", resp, err)
	}
	if d := failed(); len(d) != 0 {
		t.Errorf("right after Retry the list still holds %v", d)
	}
	until(t, "the second machine boots", func() bool {
		resp, err := f.DescribeNode(t.Context(), request(&v1.DescribeNodeRequest{Node: "frail-edge-0"}))
		return err == nil && resp.Msg.GetNode().GetState() == "booting" && resp.Msg.GetNode().GetIncarnation() == 2
	})
}
