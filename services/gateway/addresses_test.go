package gateway

import (
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// record writes a record of shard 0 as a planner does.
func (y *yard) record(t *testing.T, r plan.Record) {
	t.Helper()
	conn := y.connect(subject.UserPlanner)
	defer conn.Close()
	m, err := wire.Record(r, nil)
	if err == nil {
		_, err = conn.Publish(t.Context(), bus.Rollup(bus.NewMsg(wire.Subject(0, r), m)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What is set aside is shown with its reason and can be given back; what a
// node holds cannot.
func TestAddresses(t *testing.T) { //nolint:gocyclo // one story, told in order
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	f := y.gateway(Config{})
	f.apply(t, "", network)
	list := func(state string) *v1.ListAddressesResponse {
		t.Helper()
		resp, err := f.ListAddresses(t.Context(), request(&v1.ListAddressesRequest{Network: "dmz", State: state}))
		if err != nil {
			t.Fatal(err)
		}
		return resp.Msg
	}
	if all := list(""); len(all.GetAddresses()) != 1 || all.GetFree() != 191 || all.GetAddresses()[0].GetCount() != 191 {
		t.Errorf("an empty network: %v; want one line of 191 free addresses", all)
	}
	for what, c := range map[string]struct {
		req  *v1.ListAddressesRequest
		code connect.Code
	}{
		"no such network": {&v1.ListAddressesRequest{Network: "nowhere"}, connect.CodeNotFound},
		"no such state":   {&v1.ListAddressesRequest{Network: "dmz", State: "lost"}, connect.CodeInvalidArgument},
	} {
		if _, err := f.ListAddresses(t.Context(), request(c.req)); connect.CodeOf(err) != c.code {
			t.Errorf("%s: %v; want %v", what, err, c.code)
		}
	}
	y.record(t, &plan.Claim{Kind: plan.ClaimAddress, Thing: "dmz/10.0.0.12", Fleet: plan.Aside, Since: time.Now(), Why: "VM printer"})
	shows := func(aside int32) *v1.ListAddressesResponse {
		t.Helper()
		until(t, fmt.Sprintf("%d addresses are set aside", aside), func() bool { return list("aside").GetAside() == aside })
		return list("aside")
	}
	if got := shows(1).GetAddresses(); len(got) != 1 || got[0].GetFirst() != "10.0.0.12" || got[0].GetWhy() != "VM printer" || got[0].GetNode() != "" {
		t.Errorf("set aside: %v; want 10.0.0.12 with its reason", got)
	}
	release := func(network, addr string) (*v1.CommandResponse, error) {
		resp, err := f.ReleaseAddress(t.Context(), request(&v1.ReleaseAddressRequest{Network: network, Address: addr}))
		if err != nil {
			return nil, err
		}
		return resp.Msg, nil
	}
	if r, err := release("dmz", "10.0.0.12"); err != nil || !r.GetAccepted() {
		t.Errorf("release: %v, %v; want it accepted", r, err)
	}
	shows(0)
	if r, err := release("dmz", "10.0.0.12"); err != nil || r.GetCode() != plan.RefusedNotFound {
		t.Errorf("release of a free address: %v, %v; want it refused", r, err)
	}
	if r, err := release("nowhere", "10.0.0.12"); err != nil || r.GetCode() != plan.RefusedNotFound {
		t.Errorf("release in no network: %v, %v; want it refused", r, err)
	}
	if _, err := release("dmz", "ten"); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("release of no address: %v; want it refused", err)
	}
}
