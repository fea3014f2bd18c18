package gateway

import (
	"context"
	"net/http"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// A watch sends what is there, a marker, and then what happens.
func TestWatch(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	y.workers()
	f := y.gateway(Config{})
	f.apply(t, "", yardYAML(1))
	f.inState(t, 1, plan.Booting)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := f.Watch(ctx, request(&v1.WatchRequest{Fleet: "web"}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"web-edge-0 booting"}, presentNodes(stream)); diff != "" {
		t.Errorf("present nodes (-want +got):\n%s", diff)
	}
	if got := testGauge(t, f, "yardmaster_gateway_watch_streams"); got != 1 {
		t.Errorf("watch streams = %v; want 1", got)
	}
	if r := f.report(t, "web-edge-0", tokenOf("web", "edge-0"), "{}"); r.status != http.StatusOK {
		t.Fatalf("phone-home = %d", r.status)
	}
	if !sees(stream, func(m *v1.WatchResponse) bool { return m.GetEvent().GetFact() == string(plan.FactReported) }) {
		t.Fatalf("watch ended without the event: %v", stream.Err())
	}
	if !sees(stream, func(m *v1.WatchResponse) bool { return m.GetNode().GetState() == string(plan.Ready) }) {
		t.Fatalf("watch ended without the ready node: %v", stream.Err())
	}
	f.stop() // a gateway that stops ends its watches
	sees(stream, func(*v1.WatchResponse) bool { return false })
	if connect.CodeOf(stream.Err()) != connect.CodeUnavailable {
		t.Errorf("watch of a stopped gateway ended with %v; want unavailable", stream.Err())
	}
}

func testGauge(t *testing.T, f *frontDoor, name string) float64 {
	t.Helper()
	families, err := f.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families {
		if m.GetName() == name {
			return m.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

type watchStream = connect.ServerStreamForClient[v1.WatchResponse]

// presentNodes reads up to the marker.
func presentNodes(stream *watchStream) []string {
	var out []string
	for stream.Receive() && !stream.Msg().GetSynced() {
		if n := stream.Msg().GetNode(); n != nil {
			out = append(out, n.GetName()+" "+n.GetState())
		}
	}
	return out
}

// sees reads until a message is the wanted one.
func sees(stream *watchStream, wanted func(*v1.WatchResponse) bool) bool {
	for stream.Receive() {
		if wanted(stream.Msg()) {
			return true
		}
	}
	return false
}
