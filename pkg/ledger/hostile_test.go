package ledger_test

import (
	"testing"

	"github.com/nats-io/nats.go"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// A seat is the one record that a planner does not write: whatever an
// executor puts there must not keep anybody from loading.
func TestBadSeatStopsNobody(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	executor := y.connect(subject.ConsumerVSphere("dc1"))
	bad := &nats.Msg{Subject: subject.Seat("dc1"), Data: []byte("\xff\xff\xff"), Header: nats.Header{
		wire.HeaderType: {"something"}, wire.HeaderVersion: {"99"}, wire.HeaderChain: {"no hash"},
	}}
	if _, err := executor.Publish(t.Context(), bus.Rollup(bad)); err != nil {
		t.Fatal(err)
	}
	y.planners("p1")
	y.documents()
}

// A name becomes part of subjects. One that cannot would block the shard, or
// be stored and keep every memory from loading.
func TestNamesThatFitNoSubjectAreRefused(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	stop := y.planners("p1")
	for i, name := range []string{"", "a b", "a.b", "*", ">", "a\nb", "_yard"} {
		metadata := fleet.Metadata{Name: name}
		for _, c := range []plan.Command{
			{ID: "place-" + itoa(uint64(i)), Place: &plan.PlaceFleet{Name: name}},
			{ID: "site-" + itoa(uint64(i)), ApplySite: &fleet.Site{APIVersion: fleet.APIVersion, Kind: fleet.KindSite, Metadata: metadata}},
			{ID: "network-" + itoa(uint64(i)), ApplyNetwork: &fleet.Network{
				APIVersion: fleet.APIVersion, Kind: fleet.KindNetwork, Metadata: metadata,
				Spec: fleet.NetworkSpec{Subnet: "10.0.0.0/16", Range: "10.0.1.1-10.0.1.9", Gateway: "10.0.0.1"},
			}},
		} {
			if r := y.ask(0, plan.YardScope, &c); r.Accepted || r.Code != plan.RefusedInvalid {
				t.Errorf("%s with name %q: accepted %t, code %q; want it refused as invalid", c.ID, name, r.Accepted, r.Code)
			}
		}
	}
	stop()
	y.planners("p2") // loads
	y.documents()
}
