package simulator

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yardmaster.dev/pkg/fleet"
	report "yardmaster.dev/pkg/guest"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/render"
)

const node, nodeMAC, nodeAddress = "web-edge-0", "02:00:00:00:00:01", "10.20.30.41"

// rendered is what the renderer makes of the shipped roles and a unit.
func rendered(t *testing.T, gateway string, more ...fleet.Layer) map[string]string {
	t.Helper()
	f := &fleet.Fleet{
		APIVersion: fleet.APIVersion, Kind: fleet.KindFleet, Metadata: fleet.Metadata{Name: "web"},
		Spec: fleet.FleetSpec{
			OS: fleet.OS{Version: "4593.2.5"},
			Config: append(more, fleet.Layer{Role: "base"}, fleet.Layer{Role: "static-net"}, fleet.Layer{
				Butane: "variant: flatcar\nversion: 1.1.0\nsystemd: {units: [{name: web.service, enabled: true, contents: \"[Service]\\nExecStart=/bin/true\\n[Install]\\nWantedBy=multi-user.target\\n\"}]}\n",
			}),
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
	cfg, err := compiled.Stamp(render.Node{
		Name: node, Fleet: "web", Pool: "edge", Hostname: "edge-0.example", MAC: nodeMAC,
		UUID: "11111111-2222-5333-8444-555555555555",
		Networks: []plan.JobNetwork{{
			Network: "dmz", Addr: nodeAddress, Prefix: 24, Gateway: "10.20.30.1", DNS: []string{"10.20.30.53"},
		}},
		PhoneHomeURL: gateway, PhoneHomeToken: "token-of-" + node,
	})
	if err != nil {
		t.Fatalf("Stamp: %v", err)
	}
	return cfg.GuestInfo()
}

// bootRendered boots a machine with what the renderer makes.
func bootRendered(t *testing.T, cfg Config) (*running, *gateway) {
	t.Helper()
	r := start(t, cfg)
	g := newGateway(t)
	vm, err := r.clone(t.Context(), r.template(t, "flatcar-4593.2.5"), cloneSpec{
		name: node, folder: r.folder(t), mac: nodeMAC, extra: rendered(t, g.URL),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.powerOn(t.Context(), vm); err != nil {
		t.Fatal(err)
	}
	return r, g
}

// TestBootsWhatTheRendererMakes is the one place where the shipped roles meet
// a guest before the whole system does.
func TestBootsWhatTheRendererMakes(t *testing.T) {
	t.Parallel()
	r, g := bootRendered(t, Config{})
	m := r.machine(t, node, reported)
	if m.Address != nodeAddress || m.Hostname != "edge-0.example" {
		t.Errorf("machine is %s at %s; want edge-0.example at %s", m.Hostname, m.Address, nodeAddress)
	}
	checkPhoneHome(t, g, m)
}

// said waits for a report of the node that is as wanted.
func (g *gateway) said(t *testing.T, wanted func(report.Report) bool) report.Report {
	t.Helper()
	var last report.Report
	eventually(t, "a report as wanted", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, c := range g.calls["/v1/nodes/"+node+"/report"] {
			r, err := report.Parse([]byte(c.body))
			if got := c.header.Get("Authorization"); err != nil || c.method != http.MethodPost || got != "Bearer token-of-"+node {
				t.Fatalf("report = %s %q with Authorization %q: %v", c.method, c.body, got, err)
			}
			if last = r; wanted(r) {
				return true
			}
		}
		return false
	})
	return last
}

// often makes guests report all the time.
func often(rules ...Rule) Config {
	cfg := Config{Faults: rules}
	cfg.ReportEvery.Duration = 1
	return cfg
}

func stages(r report.Report) string {
	var names []string
	for _, s := range r.Stages {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

// A guest reports as its config says: its stages, and the unit that failed.
func TestReports(t *testing.T) {
	t.Parallel()
	r, g := bootRendered(t, often(Rule{On: OnBoot, Unit: "web.service", Count: 1}))
	got := g.said(t, func(r report.Report) bool { return r.State == report.StateDegraded && len(r.Stages) == 4 })
	m := r.machine(t, node, reported)
	if got.MachineID != m.MachineID || got.OSVersion != "4593.2.5" || stages(got) != "ignition network units phone-home" {
		t.Errorf("the guest says %+v", got)
	}
	if len(got.Failed) != 1 || got.Failed[0].Unit != "web.service" || len(got.Failed[0].Log) == 0 {
		t.Errorf("failed units = %+v; want web.service", got.Failed)
	}
	// The second boot is no first one, and no fault strikes.
	r.powerCycle(t, m.Ref)
	again := g.said(t, func(r report.Report) bool { return r.BootID != got.BootID && r.State == report.StateRunning })
	if stages(again) != "system network units" || len(again.Failed) != 0 {
		t.Errorf("after a reboot the guest says %+v", again)
	}
}

func (r *running) powerCycle(t *testing.T, ref string) {
	t.Helper()
	vm := r.vm(reference("VirtualMachine", ref))
	if err := r.powerOff(t.Context(), vm); err != nil {
		t.Fatal(err)
	}
	if err := r.powerOn(t.Context(), vm); err != nil {
		t.Fatal(err)
	}
}

// A guest without a route leaves its word in guestinfo, and takes it away
// when there is a way again or the power goes.
func TestReportsThroughGuestinfo(t *testing.T) {
	t.Parallel()
	r, g := bootRendered(t, often(Rule{On: OnReport, Never: true}))
	m := r.machine(t, node, reported)
	vm := r.vm(reference("VirtualMachine", m.Ref))
	word := func() string { return extraConfig(r.properties(t, vm))[keyReport] }
	eventually(t, "a word in guestinfo", func() bool { return word() != "" })
	text, err := base64.StdEncoding.DecodeString(word())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := report.Parse(text); err != nil || got.MachineID != m.MachineID {
		t.Errorf("guestinfo holds %q: %v", text, err)
	}
	if err := r.control.SetFaults(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.said(t, func(report.Report) bool { return true })
	eventually(t, "no word in guestinfo", func() bool { return word() == "" })
	if err := r.control.SetFaults(t.Context(), Rule{On: OnReport, Never: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a word in guestinfo", func() bool { return word() != "" })
	if err := r.powerOff(t.Context(), vm); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing left after the power went", func() bool { return word() == "" })
}

// The world goes on where it was: a guest that reported reports again.
func TestReportsAfterRestart(t *testing.T) {
	t.Parallel()
	r, g := bootRendered(t, often())
	got := g.said(t, func(r report.Report) bool { return len(r.Stages) == 4 })
	r.stop()
	g.mu.Lock()
	clear(g.calls)
	g.mu.Unlock()
	start(t, Config{Dir: r.cfg.Dir})
	again := g.said(t, func(report.Report) bool { return true })
	got.Up, again.Up = 0, 0
	if d := cmp.Diff(got, again); d != "" {
		t.Errorf("the guest says something else after the world began again:\n%s", d)
	}
}

// User data stays in the machine, for coreos-cloudinit reads it at every boot,
// and gives the guest the name and the address of its variables.
func TestBootsUserData(t *testing.T) {
	t.Parallel()
	f := &fleet.Fleet{
		APIVersion: fleet.APIVersion, Kind: fleet.KindFleet, Metadata: fleet.Metadata{Name: "web"},
		Spec: fleet.FleetSpec{OS: fleet.OS{Version: "4593.2.5"}, Pools: []fleet.Pool{{
			Name: "edge", Replicas: 1, Networks: []fleet.PoolNetwork{{Ref: "dmz"}}, Ready: fleet.Ready{By: fleet.ReadyByGuestAddress},
			VSphere: &fleet.VSphere{Site: "dc1", UserData: "#cloud-config\nhostname: x\n"},
		}}},
	}
	compiled, err := render.Compile(f, "edge")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := compiled.Stamp(render.Node{
		Name: node, Fleet: "web", Pool: "edge", Hostname: "edge-0.example", MAC: nodeMAC,
		Networks: []plan.JobNetwork{{Network: "dmz", Addr: nodeAddress, Prefix: 24, Gateway: "10.20.30.1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, Config{})
	vm, err := r.clone(t.Context(), r.template(t, "flatcar-4593.2.5"), cloneSpec{
		name: node, folder: r.folder(t), mac: nodeMAC, extra: cfg.GuestInfo(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.powerOn(t.Context(), vm); err != nil {
			t.Fatal(err)
		}
		m := r.machine(t, node, func(m Machine) bool { return m.Phase == PhaseUp })
		if m.Address != nodeAddress || m.Hostname != "edge-0.example" {
			t.Errorf("machine is %s at %s; want edge-0.example at %s", m.Hostname, m.Address, nodeAddress)
		}
		if err := r.powerOff(t.Context(), vm); err != nil {
			t.Fatal(err)
		}
	}
}
