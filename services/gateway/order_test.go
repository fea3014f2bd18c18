package gateway

import (
	"net/http"
	"strings"
	"testing"

	"yardmaster.dev/pkg/guest"
	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// again is the one node of fleet again.
func (f *frontDoor) again(t *testing.T) *v1.NodeView {
	t.Helper()
	resp, err := f.ListNodes(t.Context(), request(&v1.ListNodesRequest{Fleet: "again"}))
	if err != nil {
		t.Fatal(err)
	}
	return resp.Msg.GetNodes()[0]
}

// A guest that takes orders gets one with the answer to its report, as long
// as its next config is not reported; others get none.
func TestOrders(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	y.workers()
	f := y.gateway(Config{})
	rerun := strings.ReplaceAll(strings.ReplaceAll(yardYAML(1), "name: web,", "name: again,"), "replicas: 1\n", "replicas: 1\n      onConfigChange: rerun\n      keepPaths: [/var/lib/data]\n")
	f.apply(t, "", rerun)
	until(t, "it boots", func() bool { return f.again(t).GetState() == string(plan.Booting) })
	right := tokenOf("again", "edge-0")
	if r := f.report(t, "again-edge-0", right, `{"orders":true}`); r.status != http.StatusOK {
		t.Fatalf("phone-home: %d %s", r.status, r.body)
	}
	until(t, "it is ready", func() bool { return f.again(t).GetState() == string(plan.Ready) })
	if r := f.tell(t, "again-edge-0", right, guestSays); r.status != http.StatusNoContent || r.body != "" {
		t.Errorf("a ready node's report: %d %q; want no order", r.status, r.body)
	}
	until(t, "the chores are done", func() bool {
		f.apply(t, "", strings.ReplaceAll(rerun, "{role: static-net}", "{role: static-net}, {role: docker}"))
		return f.again(t).GetState() == string(plan.Rerunning)
	})
	if v := f.again(t); !v.GetOutdated() {
		t.Errorf("a node that has not reported its next config is not outdated: %v", v)
	}
	want := guest.Order{Rerun: hashOf("edge-0"), Keep: []string{"/var/lib/data"}}.String()
	until(t, "the order is due", func() bool { return f.tell(t, "again-edge-0", right, guestSays).body == want })
	if r := f.tell(t, "again-edge-0", "x", guestSays); r.status != http.StatusUnauthorized {
		t.Errorf("an order for whoever asks: %d %s", r.status, r.body)
	}
	f.report(t, "again-edge-0", "next-"+right, `{"orders":true}`)
	until(t, "it is ready", func() bool { return f.again(t).GetState() == string(plan.Ready) })
	if r := f.tell(t, "again-edge-0", right, guestSays); r.body == want {
		t.Error("the order stands after it was obeyed")
	}
	if r := f.tell(t, "again-edge-0", "next-"+right, guestSays); r.status == http.StatusUnauthorized {
		t.Errorf("the next config's token: %d %s", r.status, r.body)
	}
}
