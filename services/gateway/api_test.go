package gateway

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

type reply struct {
	status int
	header http.Header
	body   string
}

func do(t *testing.T, method, url, body string, header map[string]string) reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(text)}
}

func get(t *testing.T, url string) reply {
	t.Helper()
	return do(t, http.MethodGet, url, "", nil)
}

// report phones home for a node.
func (f *frontDoor) report(t *testing.T, node, token, body string) reply {
	t.Helper()
	return do(t, http.MethodPost, f.url+"/v1/nodes/"+node+"/phone-home", body, map[string]string{
		"Authorization": "Bearer " + token, "Content-Type": "application/json",
	})
}

func (f *frontDoor) nodes(t *testing.T) []*v1.NodeView {
	t.Helper()
	resp, err := f.ListNodes(t.Context(), request(&v1.ListNodesRequest{Fleet: "web"}))
	if err != nil {
		t.Fatal(err)
	}
	return resp.Msg.GetNodes()
}

// inState waits until so many nodes of fleet web are in a state.
func (f *frontDoor) inState(t *testing.T, want int, state plan.State) {
	t.Helper()
	until(t, "nodes are "+string(state), func() bool {
		n := 0
		for _, node := range f.nodes(t) {
			if node.GetState() == string(state) {
				n++
			}
		}
		return n == want
	})
}

// A fleet goes from its document to ready nodes, and every view shows it.
func TestFleetFromApplyToReady(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	y.workers()
	f := y.gateway(Config{})
	results := f.apply(t, "first", yardYAML(2))
	var order []string
	for _, r := range results {
		order = append(order, r.GetKind()+" "+r.GetName()+" "+r.GetCommandId())
	}
	if diff := cmp.Diff([]string{"Site dc1 first-1", "Network dmz first-2", "Fleet web first-3"}, order); diff != "" {
		t.Errorf("order of the documents (-want +got):\n%s", diff)
	}
	// One's own write is visible at once.
	fleets, err := f.ListFleets(t.Context(), request(&v1.ListFleetsRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	if got := fleets.Msg.GetFleets(); len(got) != 1 || got[0].GetRevision() != 1 || got[0].GetDesired() != 2 {
		t.Fatalf("fleets right after apply = %v; want web at revision 1, 2 desired", got)
	}
	f.inState(t, 2, plan.Booting)
	for _, key := range []string{"edge-0", "edge-1"} {
		r := f.report(t, "web-"+key, tokenOf("web", key), `{"machine_id":"m1","boot_id":"b1","hostname":"h","os_version":"4593.2.5"}`)
		if r.status != http.StatusOK {
			t.Errorf("phone-home of web-%s = %d %s; want 200", key, r.status, r.body)
		}
	}
	f.inState(t, 2, plan.Ready)
	story, err := f.DescribeNode(t.Context(), request(&v1.DescribeNodeRequest{Node: "web-edge-0"}))
	if err != nil {
		t.Fatal(err)
	}
	checkStory(t, story.Msg)
	checkHistory(t, f)
}

// checkHistory wants a whole chain and the newest events of the fleet.
func checkHistory(t *testing.T, f *frontDoor) {
	t.Helper()
	// A node that moves while it is audited is left out.
	until(t, "both chains are whole", func() bool {
		audit, err := f.VerifyAudit(t.Context(), request(&v1.VerifyAuditRequest{Fleet: "web"}))
		if err != nil || len(audit.Msg.GetBreaks()) > 0 {
			t.Fatalf("VerifyAudit = %v, %v; want no break", audit, err)
		}
		return audit.Msg.GetNodes() == 2 && audit.Msg.GetEvents() >= 10
	})
	for limit, want := range map[int32]int{3: 3, 10: 10} {
		events, err := f.ListEvents(t.Context(), request(&v1.ListEventsRequest{Fleet: "web", Limit: limit}))
		if err != nil || len(events.Msg.GetEvents()) != want {
			t.Errorf("ListEvents with limit %d = %v, %v; want %d events", limit, events, err, want)
		}
	}
}

func checkStory(t *testing.T, m *v1.DescribeNodeResponse) {
	t.Helper()
	n, v := m.GetNode(), m.GetVsphere()
	got := []string{n.GetAddresses()[0], n.GetOsVersion(), n.GetMachineId(), v.GetTemplate(), v.GetFolder(), v.GetCluster()}
	want := []string{"10.0.0.10", "4593.2.5", "vm-edge-0", "flatcar-4593.2.5", "web", "c1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("node (-want +got):\n%s", diff)
	}
	var facts []string
	for i, e := range m.GetEvents() {
		if e.GetNumber() != int64(i+1) || e.GetNode() != "web-edge-0" {
			t.Errorf("event %d = %v; want number %d of web-edge-0", i, e, i+1)
		}
		facts = append(facts, e.GetFact())
	}
	story := strings.Join(facts, " ")
	for _, fact := range []string{"created", "rendered", "placed", "reported"} {
		if !strings.Contains(story, fact) {
			t.Errorf("story %q lacks %q", story, fact)
		}
	}
}
