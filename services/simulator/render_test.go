package simulator

import (
	"testing"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/render"
)

// TestBootsWhatTheRendererMakes is the one place where the shipped roles meet
// a guest before the whole system does.
func TestBootsWhatTheRendererMakes(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	g := newGateway(t)
	f := &fleet.Fleet{
		APIVersion: fleet.APIVersion, Kind: fleet.KindFleet, Metadata: fleet.Metadata{Name: "web"},
		Spec: fleet.FleetSpec{
			OS:     fleet.OS{Version: "4593.2.5"},
			Config: []fleet.Layer{{Role: "base"}, {Role: "static-net"}, {Butane: "variant: flatcar\nversion: 1.1.0\n"}},
			Pools: []fleet.Pool{{
				Name: "edge", Replicas: 1, Networks: []fleet.PoolNetwork{{Ref: "dmz"}},
				VSphere: &fleet.VSphere{Site: "dc1"},
			}},
		},
	}
	compiled, err := render.Compile(f, "edge")
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	const node, mac, address = "web-edge-0", "02:00:00:00:00:01", "10.20.30.41"
	cfg, err := compiled.Stamp(render.Node{
		Name: node, Fleet: "web", Pool: "edge", Hostname: "edge-0.example", MAC: mac,
		UUID: "11111111-2222-5333-8444-555555555555",
		Networks: []plan.JobNetwork{{
			Network: "dmz", Addr: address, Prefix: 24, Gateway: "10.20.30.1", DNS: []string{"10.20.30.53"},
		}},
		PhoneHomeURL: g.URL, PhoneHomeToken: "token-of-" + node,
	})
	if err != nil {
		t.Fatalf("Stamp: %v", err)
	}
	vm, err := r.clone(t.Context(), r.template(t, "flatcar-4593.2.5"), cloneSpec{
		name: node, folder: r.folder(t), mac: mac, extra: cfg.GuestInfo(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.powerOn(t.Context(), vm); err != nil {
		t.Fatal(err)
	}
	m := r.machine(t, node, reported)
	if m.Address != address || m.Hostname != "edge-0.example" {
		t.Errorf("machine is %s at %s; want edge-0.example at %s", m.Hostname, m.Address, address)
	}
	checkPhoneHome(t, g, m)
}
