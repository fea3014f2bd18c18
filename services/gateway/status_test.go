package gateway

import (
	"encoding/json"
	"net/http"
	"testing"

	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// Status names the planner of every shard, JSON comes by plain HTTP, and
// gRPC works without TLS.
func TestStatusByEveryProtocol(t *testing.T) {
	t.Parallel()
	y := newYard(t, 2)
	y.planners()
	f := y.gateway(Config{})
	f.apply(t, "", yardYAML(1))
	until(t, "the planner is known", func() bool {
		resp, err := f.Status(t.Context(), request(&v1.StatusRequest{}))
		return err == nil && len(resp.Msg.GetShards()) == 2 && resp.Msg.GetShards()[1].GetActivePlanner() == "planner-1"
	})
	r := do(t, http.MethodPost, f.url+"/yardmaster.v1.YardService/Status", "{}", map[string]string{"Content-Type": "application/json"})
	var got struct {
		Shards []struct{ Stream, LimitBytes, Messages string }
		Sites  []struct{ Name, URL string }
		Nodes  int
	}
	if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.status != http.StatusOK {
		t.Fatalf("status by JSON = %d %s: %v", r.status, r.body, err)
	}
	if got.Nodes != 1 || got.Shards[1].Stream != "YM_1" || got.Shards[0].LimitBytes != "67108864" || got.Sites[0].Name != "dc1" {
		t.Errorf("status by JSON = %s", r.body)
	}
	grpc := grpcClient(f.url)
	resp, err := grpc.ListNodes(t.Context(), request(&v1.ListNodesRequest{}))
	if err != nil || len(resp.Msg.GetNodes()) != 1 {
		t.Errorf("ListNodes by gRPC = %v, %v; want one node", resp, err)
	}
}
