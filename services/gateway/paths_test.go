package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/proto/subject"
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

	p := f.plan(t, yardYAML("web", 2))
	var documents []string
	for _, d := range p.GetDocuments() {
		documents = append(documents, d.GetAction()+" "+d.GetKind()+" "+d.GetName())
	}
	if diff := cmp.Diff([]string{"create Site dc1", "create Network dmz"}, documents); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
	first := p.GetFleets()[0]
	if len(first.GetRefusals()) > 0 || len(first.GetNodes()) != 2 || first.GetNodes()[0].GetAction() != "create" {
		t.Fatalf("plan of a new fleet = %v; want two creates and no refusal, the Network comes with it", first)
	}
	f.apply(t, "", yardYAML("web", 2))

	again := f.plan(t, yardYAML("web", 3))
	if again.GetDocuments()[1].GetAction() != "keep" {
		t.Errorf("plan of an equal Network = %v; want keep", again.GetDocuments()[1])
	}
	second := again.GetFleets()[0]
	if second.GetKeep() != 2 || len(second.GetNodes()) != 1 {
		t.Fatalf("plan 2 -> 3 = %v; want 2 kept and 1 created", second)
	}
	f.apply(t, "", fleetYAML("web", 4)) // somebody else was faster
	resp, err := f.Apply(t.Context(), request(&v1.ApplyRequest{
		Sources:   []*v1.Source{{Filename: "p.yaml", Content: []byte(fleetYAML("web", 3))}},
		PlanBasis: map[string]string{"web": second.GetBasis()},
	}))
	if err != nil {
		t.Fatal(err)
	}
	if r := resp.Msg.GetResults()[0]; r.GetAccepted() || r.GetCode() != plan.RefusedMoved {
		t.Errorf("apply of a plan that no longer holds = %v; want refused as moved", r)
	}
	changed := f.plan(t, strings.ReplaceAll(network, "10.0.0.200", "10.0.0.100"))
	if diff := cmp.Diff([]string{`spec.range "10.0.0.10-10.0.0.200" -> "10.0.0.10-10.0.0.100"`}, changed.GetDocuments()[0].GetCauses()); diff != "" {
		t.Errorf("causes (-want +got):\n%s", diff)
	}
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

// A repeated command changes nothing and gets the same answer; a refused
// document keeps what follows from being sent.
func TestCommandsAreAnswered(t *testing.T) {
	t.Parallel()
	y := newYard(t, 2)
	y.planners()
	f := y.gateway(Config{})
	one := f.apply(t, "same", yardYAML("web", 1))
	two := f.apply(t, "same", yardYAML("web", 1))
	if one[2].GetRevision() != 1 || two[2].GetRevision() != 1 || one[2].GetSummary() != two[2].GetSummary() {
		t.Errorf("a repeated command was answered %v, at first %v", two[2], one[2])
	}
	scaled, err := f.Scale(t.Context(), request(&v1.ScaleRequest{Fleet: "web", Pool: "edge", Target: 3}))
	if err != nil || !scaled.Msg.GetAccepted() {
		t.Fatalf("Scale = %v, %v; want accepted", scaled, err)
	}
	if n := len(f.nodes(t, "web")); n != 3 {
		t.Errorf("after scale to 3 there are %d nodes", n)
	}
	refused, err := f.Delete(t.Context(), request(&v1.DeleteRequest{Kind: "network", Name: "dmz"}))
	if err != nil || refused.Msg.GetAccepted() || refused.Msg.GetCode() != plan.RefusedInUse {
		t.Errorf("delete of a Network in use = %v, %v; want refused as in use", refused, err)
	}
	resp, err := f.Apply(t.Context(), request(&v1.ApplyRequest{Sources: []*v1.Source{{Filename: "x.yaml", Content: []byte(
		strings.ReplaceAll(network, "10.0.0.10-", "10.0.0.150-") + "---" + fleetYAML("other", 1),
	)}}}))
	if err != nil {
		t.Fatal(err)
	}
	if r := resp.Msg.GetResults(); !r[0].GetAccepted() && r[1].GetCode() != codeNotSent {
		t.Errorf("results = %v; want the second not sent after the first was refused", r)
	}
	yaml, err := f.GetDocument(t.Context(), request(&v1.GetDocumentRequest{Kind: "fleet", Name: "web"}))
	if err != nil {
		t.Fatal(err)
	}
	f.apply(t, "", yaml.Msg.GetYaml())
	if n := len(f.nodes(t, "web")); n != 3 {
		t.Errorf("applying the fleet's own document undid the scale: %d nodes, want 3", n)
	}
	for name, call := range map[string]func() error{
		"scale of nothing": func() error {
			_, err := f.Scale(t.Context(), request(&v1.ScaleRequest{Fleet: "nope", Pool: "edge"}))
			return err
		},
		"describe of nothing": func() error {
			_, err := f.DescribeNode(t.Context(), request(&v1.DescribeNodeRequest{Node: "web-edge-99"}))
			return err
		},
		"pools of nothing": func() error {
			_, err := f.ListPools(t.Context(), request(&v1.ListPoolsRequest{Fleet: "nope"}))
			return err
		},
	} {
		if err := call(); connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("%s: %v; want not found", name, err)
		}
	}
}

// A stamp from one gateway lets another one answer no earlier.
func TestReadAfterStamp(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	f, other := y.gateway(Config{}), y.gateway(Config{})
	s := f.apply(t, "", network)[0].GetStamp()
	req := request(&v1.ListNetworksRequest{})
	req.Header().Set(HeaderAfter, headerOf(s))
	resp, err := other.ListNetworks(t.Context(), req)
	if err != nil || len(resp.Msg.GetNetworks()) != 1 || resp.Msg.GetNetworks()[0].GetTotal() != 191 {
		t.Errorf("ListNetworks after the stamp = %v, %v; want dmz with 191 addresses", resp, err)
	}
	for header, want := range map[string]connect.Code{
		"rubbish":                   connect.CodeInvalidArgument,
		"0/1/1":                     connect.CodeFailedPrecondition,
		headerOf(&v1.Stamp{Shard: 0}): 0,
	} {
		req := request(&v1.ListNetworksRequest{})
		req.Header().Set(HeaderAfter, header)
		if _, err := other.ListNetworks(t.Context(), req); err != nil && connect.CodeOf(err) != want || err == nil && want != 0 {
			t.Errorf("%s: %s: %v; want %v", HeaderAfter, header, err, want)
		}
	}
}

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
		Sources: []*v1.Source{{Filename: "y.yaml", Content: []byte(yardYAML("web", 1))}}, CommandId: "early",
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
	f.apply(t, "", yardYAML("web", 1))
	before := time.Now()
	y.server.Shutdown()
	until(t, "the gateway notices", func() bool {
		resp, err := f.ListNodes(t.Context(), request(&v1.ListNodesRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		return resp.Msg.GetRead().GetWarning() == warnBus
	})
	resp, err := f.ListNodes(t.Context(), request(&v1.ListNodesRequest{}))
	if err != nil || len(resp.Msg.GetNodes()) != 1 {
		t.Errorf("ListNodes without the bus = %v, %v; want the node from memory", resp, err)
	}
	if asOf := resp.Msg.GetRead().GetAsOf().AsTime(); time.Since(asOf) < time.Millisecond || asOf.Before(before.Add(-time.Minute)) {
		t.Errorf("as_of = %s; want when the bus was last there, about %s", asOf, before)
	}
	_, err = f.Scale(t.Context(), request(&v1.ScaleRequest{Fleet: "web", Pool: "edge", Target: 2}))
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
	y.startBus()
	until(t, "the gateway follows again", func() bool {
		resp, err := f.Scale(t.Context(), request(&v1.ScaleRequest{Fleet: "web", Pool: "edge", Target: 2, CommandId: "again"}))
		return err == nil && resp.Msg.GetAccepted()
	})
}

// The API wants a token when it has one, health does not, and metrics only
// from elsewhere.
func TestTokens(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("# people\nplatform-ci 0123456789abcdef0123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	y := newYard(t, 1)
	y.planners()
	f := y.gateway(Config{TokenFile: file})
	for name, c := range map[string]struct {
		header map[string]string
		status int
	}{
		"none":   {nil, http.StatusUnauthorized},
		"wrong":  {map[string]string{"Authorization": "Bearer 0123456789abcdef0124"}, http.StatusUnauthorized},
		"basic":  {map[string]string{"Authorization": "Basic 0123456789abcdef0123"}, http.StatusUnauthorized},
		"right":  {map[string]string{"Authorization": "Bearer 0123456789abcdef0123"}, http.StatusOK},
		"casing": {map[string]string{"Authorization": "bearer 0123456789abcdef0123"}, http.StatusOK},
	} {
		if c.header == nil {
			c.header = map[string]string{}
		}
		c.header["Content-Type"] = "application/json"
		r := do(t, http.MethodPost, f.url+"/yardmaster.v1.YardService/ListFleets", "{}", c.header)
		if r.status != c.status {
			t.Errorf("token %s: %d %s; want %d", name, r.status, r.body, c.status)
		}
	}
	if r := get(t, f.url+"/metrics"); r.status != http.StatusOK || !strings.Contains(r.body, "yardmaster_gateway_requests_total") {
		t.Errorf("metrics on loopback = %d; want 200 with our own", r.status)
	}
	if _, err := f.Version(t.Context(), request(&v1.VersionRequest{})); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("Version without a token: %v; want unauthenticated", err)
	}
	// The token's name stands in the audit log.
	req := request(&v1.ApplyRequest{Sources: []*v1.Source{{Filename: "y.yaml", Content: []byte(yardYAML("web", 1))}}})
	req.Header().Set("Authorization", "Bearer 0123456789abcdef0123")
	if _, err := f.Apply(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	events := request(&v1.ListEventsRequest{Fleet: "web"})
	events.Header().Set("Authorization", "Bearer 0123456789abcdef0123")
	resp, err := f.ListEvents(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	if e := resp.Msg.GetEvents(); len(e) == 0 || e[0].GetBy() != "platform-ci" {
		t.Errorf("events = %v; want the first by platform-ci", e)
	}
}

// Phone-home tells a node the truth, whatever it is.
func TestPhoneHomePaths(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	f := y.gateway(Config{})
	f.apply(t, "", yardYAML("web", 1))
	f.inState(t, "web", 1, plan.Rendering)
	if r := f.report(t, "web-edge-0", "early", "{}"); r.status != http.StatusServiceUnavailable {
		t.Errorf("before the config is rendered: %d %s; want 503", r.status, r.body)
	}
	y.workers()
	f.inState(t, "web", 1, plan.Booting)
	right := tokenOf("web", "edge-0")
	for name, c := range map[string]struct {
		node, token, body string
		status            int
	}{
		"unknown node":    {"web-edge-1", right, "{}", http.StatusNotFound},
		"hostile name":    {"..%2f..", right, "{}", http.StatusNotFound},
		"wrong token":     {"web-edge-0", "x" + right, "{}", http.StatusUnauthorized},
		"no token":        {"web-edge-0", "", "{}", http.StatusUnauthorized},
		"no JSON":         {"web-edge-0", right, "machine_id=1", http.StatusBadRequest},
		"two objects":     {"web-edge-0", right, "{}{}", http.StatusBadRequest},
		"a list":          {"web-edge-0", right, "[]", http.StatusBadRequest},
		"too large":       {"web-edge-0", right, `{"boot_id":"` + strings.Repeat("x", maxReport) + `"}`, http.StatusBadRequest},
	} {
		if r := f.report(t, c.node, c.token, c.body); r.status != c.status {
			t.Errorf("%s: %d %s; want %d", name, r.status, r.body, c.status)
		}
	}
	for range 2 { // curl may repeat it
		r := f.report(t, "web-edge-0", right, `{"machine_id":"m\u001b[31m","address":"not one","extra":1}`)
		if r.status != http.StatusOK {
			t.Errorf("right token: %d %s; want 200", r.status, r.body)
		}
	}
	f.inState(t, "web", 1, plan.Ready)
	conn := y.connect(subject.UserWatcher)
	defer conn.Close()
	m, err := conn.Last(t.Context(), subject.ShardStream(0), subject.Command(0, "web", "ph-"+hashOf(right)[:32]))
	if err != nil {
		t.Fatal(err)
	}
	checkReport(t, m, right)
}

func checkReport(t *testing.T, m *bus.Message, token string) {
	t.Helper()
	if strings.Contains(string(m.Data), token) {
		t.Error("the stored command holds the node's token")
	}
	if strings.ContainsRune(string(m.Data), '\x1b') {
		t.Error("the stored command holds a terminal's control character")
	}
}

// A watch sends what is there, a marker, and then what happens.
func TestWatch(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	y.workers()
	f := y.gateway(Config{})
	f.apply(t, "", yardYAML("web", 1))
	f.inState(t, "web", 1, plan.Booting)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := f.Watch(ctx, request(&v1.WatchRequest{Fleet: "web"}))
	if err != nil {
		t.Fatal(err)
	}
	var present []string
	for stream.Receive() && !stream.Msg().GetSynced() {
		if n := stream.Msg().GetNode(); n != nil {
			present = append(present, n.GetName()+" "+n.GetState())
		}
	}
	if diff := cmp.Diff([]string{"web-edge-0 booting"}, present); diff != "" {
		t.Errorf("present nodes (-want +got):\n%s", diff)
	}
	if got := testGauge(t, f, "yardmaster_gateway_watch_streams"); got != 1 {
		t.Errorf("watch streams = %v; want 1", got)
	}
	if r := f.report(t, "web-edge-0", tokenOf("web", "edge-0"), "{}"); r.status != http.StatusOK {
		t.Fatalf("phone-home = %d", r.status)
	}
	node, event := false, false
	for (!node || !event) && stream.Receive() {
		node = node || stream.Msg().GetNode().GetState() == string(plan.Ready)
		event = event || stream.Msg().GetEvent().GetFact() == string(plan.FactReported)
	}
	if !node || !event {
		t.Fatalf("watch ended without the ready node (%v) or the event (%v): %v", node, event, stream.Err())
	}
	f.stop() // a gateway that stops ends its watches
	for stream.Receive() {
	}
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

// Status names the planner of every shard, JSON comes by plain HTTP, and
// gRPC works without TLS.
func TestStatusByEveryProtocol(t *testing.T) {
	t.Parallel()
	y := newYard(t, 2)
	y.planners()
	f := y.gateway(Config{})
	f.apply(t, "", yardYAML("web", 1))
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
