package yardmaster

import (
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/simulator"
)

// What the vCenter refuses by itself comes to whoever looks: a missing right by
// its name and for a person at once, a full datastore as something to wait for.
func TestARefusalOfVCenterIsTold(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	o.Dir = t.TempDir()
	o.Example = "../../examples/first.yaml"
	o.Gateway, o.NATS, o.VCenter, o.Control = freeAddr(t), freeAddr(t), freeAddr(t), freeAddr(t)
	session(t, o, "stop   Ctrl-C", func() {
		control := simulator.ControlClient{Address: o.Control}
		deny := func(d ...simulator.Denial) {
			if err := control.SetDenied(t.Context(), d...); err != nil {
				t.Error(err)
			}
		}
		deny(simulator.Denial{Privilege: "VirtualMachine.Interact.PowerOn", On: "web"})
		scale(t, o, 4)
		waitNode(t, o, "web-edge-3", condition{"failed", "permission_denied", "VirtualMachine.Interact.PowerOn"})
		deny()
		if _, err := owner(t, o).Retry(t.Context(), connect.NewRequest(&yardmasterv1.RetryRequest{Fleet: "web", Nodes: []string{"web-edge-3"}})); err != nil {
			t.Errorf("retry: %v", err)
		}
		waitNode(t, o, "web-edge-3", condition{state: "ready"})
		if _, err := control.SetDatastoreSize(t.Context(), "100Gi"); err != nil {
			t.Error(err)
		}
		scale(t, o, 5)
		waitNode(t, o, "web-edge-4", condition{"provisioning", "no_space", "NoDiskSpace: datastore ds1"})
	})
}

func scale(t *testing.T, o Options, target int32) {
	t.Helper()
	if _, err := owner(t, o).Scale(t.Context(), connect.NewRequest(&yardmasterv1.ScaleRequest{Fleet: "web", Pool: "edge", Target: target})); err != nil {
		t.Errorf("scale to %d: %v", target, err)
	}
}

// condition is a node's state, the reason that it tells, and a part of what it
// says.
type condition struct{ state, reason, message string }

// waitNode waits until a node is in a condition.
func waitNode(t *testing.T, o Options, name string, want condition) {
	t.Helper()
	var last string
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		answer, err := owner(t, o).ListNodes(t.Context(), connect.NewRequest(&yardmasterv1.ListNodesRequest{Fleet: "web"}))
		if err != nil {
			t.Error(err)
			return
		}
		for _, n := range answer.Msg.GetNodes() {
			if n.GetName() != name {
				continue
			}
			last = n.String()
			if n.GetState() == want.state && n.GetReason() == want.reason && strings.Contains(n.GetMessage(), want.message) {
				return
			}
		}
	}
	t.Errorf("%s does not become %+v; it is %s", name, want, last)
}
