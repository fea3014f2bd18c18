package gateway

import (
	"strings"
	"testing"

	"connectrpc.com/connect"

	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// A repeated command changes nothing and gets the same answer.
func TestRepeatedCommand(t *testing.T) {
	t.Parallel()
	y := newYard(t, 2)
	y.planners()
	f := y.gateway(Config{})
	one := f.apply(t, "same", yardYAML(1))
	two := f.apply(t, "same", yardYAML(1))
	for i := range one {
		if one[i].GetRevision() != two[i].GetRevision() || one[i].GetSummary() != two[i].GetSummary() {
			t.Errorf("a repeated command was answered %v, at first %v", two[i], one[i])
		}
	}
	if f.nodes(t)[0].GetRevision() != 1 {
		t.Error("a repeated command made another revision")
	}
}

// A live target outlives the document, which can be read and applied again.
func TestScaleOutlivesApply(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	f := y.gateway(Config{})
	f.apply(t, "", yardYAML(1))
	scaled, err := f.Scale(t.Context(), request(&v1.ScaleRequest{Fleet: "web", Pool: "edge", Target: 3}))
	if err != nil || !scaled.Msg.GetAccepted() {
		t.Fatalf("Scale = %v, %v; want accepted", scaled, err)
	}
	if n := len(f.nodes(t)); n != 3 {
		t.Errorf("right after scale to 3 there are %d nodes", n)
	}
	yaml, err := f.GetDocument(t.Context(), request(&v1.GetDocumentRequest{Kind: "fleet", Name: "web"}))
	if err != nil {
		t.Fatal(err)
	}
	f.apply(t, "", yaml.Msg.GetYaml())
	if n := len(f.nodes(t)); n != 3 {
		t.Errorf("applying the fleet's own document undid the scale: %d nodes, want 3", n)
	}
}

// A refused document keeps what follows from being sent.
func TestRefusedDocument(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	f := y.gateway(Config{})
	f.apply(t, "", yardYAML(1))
	refused, err := f.Delete(t.Context(), request(&v1.DeleteRequest{Kind: "network", Name: "dmz"}))
	if err != nil || refused.Msg.GetAccepted() || refused.Msg.GetCode() != plan.RefusedInUse {
		t.Errorf("delete of a Network in use = %v, %v; want refused as in use", refused, err)
	}
	// The range would leave out an address that a node holds.
	smaller := strings.ReplaceAll(network, "10.0.0.10-", "10.0.0.150-")
	resp, err := f.Apply(t.Context(), request(&v1.ApplyRequest{Sources: []*v1.Source{{
		Filename: "x.yaml", Content: []byte(smaller + "---" + strings.ReplaceAll(fleetYAML("bad", 1), "dmz", "none")),
	}, {
		Filename: "y.yaml", Content: []byte(fleetYAML("other", 1)),
	}}}))
	if err != nil {
		t.Fatal(err)
	}
	results := resp.Msg.GetResults()
	if last := results[len(results)-1]; last.GetCode() != codeNotSent {
		t.Errorf("results = %v; want the last not sent, since one before it was refused", results)
	}
}

// What does not exist is not found, and the answer says how to look.
func TestNotFound(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	f := y.gateway(Config{})
	for name, call := range map[string]func() error{
		"scale": func() error {
			_, err := f.Scale(t.Context(), request(&v1.ScaleRequest{Fleet: "nope", Pool: "edge"}))
			return err
		},
		"describe": func() error {
			_, err := f.DescribeNode(t.Context(), request(&v1.DescribeNodeRequest{Node: "web-edge-99"}))
			return err
		},
		"pools": func() error {
			_, err := f.ListPools(t.Context(), request(&v1.ListPoolsRequest{Fleet: "nope"}))
			return err
		},
		"events": func() error {
			_, err := f.ListEvents(t.Context(), request(&v1.ListEventsRequest{Fleet: "nope"}))
			return err
		},
		"document": func() error {
			_, err := f.GetDocument(t.Context(), request(&v1.GetDocumentRequest{Kind: "Site", Name: "nope"}))
			return err
		},
	} {
		err := call()
		if connect.CodeOf(err) != connect.CodeNotFound || !strings.Contains(err.Error(), "yardctl get") {
			t.Errorf("%s of nothing: %v; want not found, with what to do", name, err)
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
		"rubbish":                     connect.CodeInvalidArgument,
		"0/1/1":                       connect.CodeFailedPrecondition,
		headerOf(&v1.Stamp{Shard: 0}): 0,
	} {
		req := request(&v1.ListNetworksRequest{})
		req.Header().Set(HeaderAfter, header)
		if _, err := other.ListNetworks(t.Context(), req); err != nil && connect.CodeOf(err) != want || err == nil && want != 0 {
			t.Errorf("%s: %s: %v; want %v", HeaderAfter, header, err, want)
		}
	}
}
