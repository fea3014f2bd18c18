package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// Without a planner reads say so, and commands are stored and pending; they
// are decided when one comes.
func TestNoPlanner(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	f := y.gateway(Config{})
	until(t, "the gateway knows that it is alone", func() bool {
		resp, err := f.ListFleets(t.Context(), request(&v1.ListFleetsRequest{}))
		return err == nil && resp.Msg.GetRead().GetWarning() == warnLonely
	})
	resp, err := f.Apply(t.Context(), request(&v1.ApplyRequest{
		Sources: []*v1.Source{{Filename: "y.yaml", Content: []byte(yardYAML(1))}}, CommandId: "early",
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resp.Msg.GetResults() {
		if !r.GetPending() || !strings.Contains(r.GetSummary(), warnLonely) {
			t.Errorf("result = %v; want pending, with the reason", r)
		}
	}
	y.planners()
	until(t, "the fleet is there", func() bool {
		resp, err := f.ListFleets(t.Context(), request(&v1.ListFleetsRequest{}))
		return err == nil && len(resp.Msg.GetFleets()) == 1 && resp.Msg.GetRead().GetWarning() == ""
	})
}

// When the bus is away reads go on and are marked, commands and phone-homes
// are put off; when it is back all goes on.
func TestBusAway(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	f := y.gateway(Config{})
	f.apply(t, "", yardYAML(1))
	before := time.Now()
	y.server.Shutdown()
	until(t, "the gateway notices", func() bool {
		resp, err := f.ListNodes(t.Context(), request(&v1.ListNodesRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		return resp.Msg.GetRead().GetWarning() == warnBus
	})
	checkReadsAway(t, f, before)
	checkWritesAway(t, f)
	y.startBus()
	until(t, "the gateway follows again", func() bool {
		resp, err := f.Scale(t.Context(), request(&v1.ScaleRequest{Fleet: "web", Pool: "edge", Target: 2, CommandId: "again"}))
		return err == nil && resp.Msg.GetAccepted()
	})
}

// checkReadsAway wants answers from memory that say how old they are.
func checkReadsAway(t *testing.T, f *frontDoor, before time.Time) {
	t.Helper()
	resp, err := f.ListNodes(t.Context(), request(&v1.ListNodesRequest{}))
	if err != nil || len(resp.Msg.GetNodes()) != 1 {
		t.Errorf("ListNodes without the bus = %v, %v; want the node from memory", resp, err)
	}
	if asOf := resp.Msg.GetRead().GetAsOf().AsTime(); time.Since(asOf) < time.Millisecond || asOf.Before(before.Add(-time.Minute)) {
		t.Errorf("as_of = %s; want when the bus was last there, about %s", asOf, before)
	}
}

// checkWritesAway wants everything that would need the bus to be put off.
func checkWritesAway(t *testing.T, f *frontDoor) {
	t.Helper()
	_, err := f.Scale(t.Context(), request(&v1.ScaleRequest{Fleet: "web", Pool: "edge", Target: 2}))
	if connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("Scale without the bus: %v; want unavailable", err)
	}
	r := do(t, http.MethodPost, f.url+"/yardmaster.v1.YardService/Scale", `{"fleet":"web","pool":"edge","target":2}`,
		map[string]string{"Content-Type": "application/json"})
	if r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" {
		t.Errorf("Scale by JSON = %d, Retry-After %q; want 503 with it", r.status, r.header.Get("Retry-After"))
	}
	for _, node := range []string{"web-edge-0", "web-edge-7"} {
		// 7 does not exist, but who knows while the bus is away.
		if r := f.report(t, node, "x", "{}"); r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" {
			t.Errorf("phone-home of %s without the bus = %d; want 503 and Retry-After", node, r.status)
		}
	}
}
