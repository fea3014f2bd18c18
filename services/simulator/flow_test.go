package simulator

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCloneBootsAndPhonesHome(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	g := newGateway(t)
	const node, mac, address = "web-edge-0", "02:00:00:00:00:01", "10.20.30.41"
	vm, err := r.clone(t.Context(), r.template(t, "flatcar-4593.2.5"), cloneSpec{
		name: node, folder: r.folder(t), mac: mac,
		extra: guestinfo(ignitionConfig(node, g.URL, mac, address)),
	})
	if err != nil {
		t.Fatalf("clone: %v", err)
	}
	if err := r.powerOn(t.Context(), vm); err != nil {
		t.Fatalf("power on: %v", err)
	}
	m := r.machine(t, node, reported)
	want := Machine{
		Name: node, Ref: vm.Reference().Value, Power: "poweredOn", Phase: PhaseUp, Address: address,
		Hostname: node + ".example", MAC: mac, MachineID: m.MachineID, Reported: true,
	}
	if d := cmp.Diff(want, m); d != "" {
		t.Errorf("machine differs (-want +got):\n%s", d)
	}
	checkPhoneHome(t, g, m)
	p := r.properties(t, vm)
	extra := extraConfig(p)
	if extra[keyData] != deletedData || extra[keyEncoding] != deletedEncoding {
		t.Errorf("after the first boot guestinfo = %q, %q; want %q, %q", extra[keyData], extra[keyEncoding], deletedData, deletedEncoding)
	}
	if p.Guest.IpAddress != address || p.Guest.HostName != node+".example" || p.Guest.ToolsRunningStatus != "guestToolsRunning" {
		t.Errorf("guest = %q, %q, %q", p.Guest.IpAddress, p.Guest.HostName, p.Guest.ToolsRunningStatus)
	}
	if p.Config.Annotation != "made by a test" || p.Config.Flags.DiskUuidEnabled == nil || p.Config.Hardware.NumCPU != 4 {
		t.Errorf("clone spec ignored: %q, %v, %d", p.Config.Annotation, p.Config.Flags.DiskUuidEnabled, p.Config.Hardware.NumCPU)
	}
}

// checkPhoneHome wants one call, just as the unit says it.
func checkPhoneHome(t *testing.T, g *gateway, m Machine) {
	t.Helper()
	calls := g.of(m.Name)
	if len(calls) != 1 {
		t.Fatalf("%d phone-home calls; want 1", len(calls))
	}
	if got := calls[0].header.Get("Authorization"); calls[0].method != "POST" || got != "Bearer token-of-"+m.Name {
		t.Errorf("phone-home = %s with Authorization %q", calls[0].method, got)
	}
	var said struct {
		MachineID string `json:"machine_id"`
		BootID    string `json:"boot_id"`
		Hostname  string `json:"hostname"`
		OSVersion string `json:"os_version"`
	}
	if err := json.Unmarshal([]byte(calls[0].body), &said); err != nil {
		t.Fatalf("phone-home body %q: %v", calls[0].body, err)
	}
	if said.MachineID != m.MachineID || len(said.BootID) != 32 || said.Hostname != m.Hostname || said.OSVersion != "4593.2.5" {
		t.Errorf("phone-home said %+v", said)
	}
}

func TestPhoneHomeIsTriedAgain(t *testing.T) {
	t.Parallel()
	cfg := Config{}
	cfg.PhoneHomeRetry.Duration = 1
	r := start(t, cfg)
	g := newGateway(t)
	g.answer(503)
	const node = "web-edge-0"
	vm, err := r.clone(t.Context(), r.template(t, "flatcar-4593.2.5"), cloneSpec{
		name: node, folder: r.folder(t), extra: guestinfo(ignitionConfig(node, g.URL, "02:00:00:00:00:01", "10.20.30.41")),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.powerOn(t.Context(), vm); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three calls", func() bool { return len(g.of(node)) >= 3 })
	if m := r.machine(t, node, func(m Machine) bool { return m.Reason != "" }); !strings.Contains(m.Reason, "503") || m.Reported {
		t.Errorf("machine says %q, reported %v; want the 503", m.Reason, m.Reported)
	}
	// The config is for another MAC: networkd finds nothing and asks DHCP.
	if m := r.machine(t, node, func(Machine) bool { return true }); !strings.HasPrefix(m.Address, "10.250.") {
		t.Errorf("address = %s; want one of DHCP", m.Address)
	}
	g.answer(200)
	r.machine(t, node, reported)
	n := len(g.of(node))
	if err := r.powerOff(t.Context(), vm); err != nil {
		t.Fatal(err)
	}
	r.machine(t, node, func(m Machine) bool { return m.Phase == PhaseOff })
	if err := r.powerOn(t.Context(), vm); err != nil {
		t.Fatal(err)
	}
	r.machine(t, node, func(m Machine) bool { return m.Phase == PhaseUp })
	if again := len(g.of(node)); again != n {
		t.Errorf("%d calls after a reboot; want %d: the unit removed its environment", again, n)
	}
}

func TestFlatcarRefuses(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	folder := r.folder(t)
	template := r.template(t, "flatcar-4593.2.5")
	for name, c := range map[string]struct {
		extra map[string]string
		want  string
	}{
		"newer spec":      {guestinfo(`{"ignition":{"version":"3.6.0"}}`), "version"},
		"deleted config":  {map[string]string{keyData: deletedData, keyEncoding: "base64"}, "version"},
		"no version":      {guestinfo(`{"storage":{}}`), "version"},
		"not json":        {guestinfo(`variant: flatcar`), "not valid"},
		"wrong encoding":  {map[string]string{keyData: "e30K", keyEncoding: "Base64"}, `unsupported encoding "Base64"`},
		"space in base64": {map[string]string{keyData: "e3 0K", keyEncoding: "base64"}, "base64"},
		"not gzip":        {map[string]string{keyData: "e30K", keyEncoding: "gzip+base64"}, "gunzip"},
		"relative path":   {guestinfo(`{"ignition":{"version":"3.3.0"},"storage":{"files":[{"path":"etc/x"}]}}`), "path not absolute"},
		"kargs":           {map[string]string{keyKargs: "ip=10.0.0.5::10.0.0.1:255.255.255.0:a:ens192:both"}, `method "both"`},
		"kargs address":   {map[string]string{keyKargs: "ip=10.0.0.555::10.0.0.1:24:a:ens192:none"}, "address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := strings.ReplaceAll(name, " ", "-")
			vm, err := r.clone(t.Context(), template, cloneSpec{name: node, folder: folder, extra: c.extra})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.powerOn(t.Context(), vm); err != nil {
				t.Fatal(err)
			}
			m := r.machine(t, node, func(m Machine) bool { return m.Phase == PhaseRefused })
			if !strings.Contains(m.Reason, c.want) || m.Address != "" {
				t.Errorf("reason = %q, address %q; want %q and none", m.Reason, m.Address, c.want)
			}
			if log := readConsole(t, r.World, node); !strings.Contains(log, c.want) || !strings.Contains(log, "emergency") {
				t.Errorf("console:\n%s\nwant %q and the emergency shell", log, c.want)
			}
			if got := extraConfig(r.properties(t, vm))[keyData]; got != c.extra[keyData] {
				t.Errorf("config = %q after a refused boot; want it as it was", got)
			}
		})
	}
}

func TestBootsWithoutConfig(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	folder := r.folder(t)
	for i, extra := range []map[string]string{
		nil,
		{keyData: "#cloud-config\n"},
		{keyData: "#!/bin/sh\n"},
		{keyKargs: "ip=10.0.0.5::10.0.0.1:24:a:ens192:none:10.0.0.53"},
	} {
		node := fmt.Sprintf("plain-%d", i)
		vm, err := r.clone(t.Context(), r.template(t, "flatcar-4593.2.5"), cloneSpec{name: node, folder: folder, extra: extra})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.powerOn(t.Context(), vm); err != nil {
			t.Fatal(err)
		}
		m := r.machine(t, node, func(m Machine) bool { return m.Phase == PhaseUp })
		if m.Hostname != "localhost" || !strings.HasPrefix(m.Address, "10.250.") || m.Reported {
			t.Errorf("machine with %v = %+v; want localhost by DHCP that reports to nobody", extra, m)
		}
	}
}
