package render_test

import (
	"strings"
	"testing"
	"time"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/render"
)

// The table of what spec.os says and what update.conf then holds.
func TestUpdates(t *testing.T) {
	t.Parallel()
	const conf = "/etc/flatcar/update.conf"
	window := &fleet.Window{Start: "Thu 04:00", Length: fleet.Duration{Duration: time.Hour}}
	for name, c := range map[string]struct {
		os   fleet.OS
		want string
	}{
		"pin":        {fleet.OS{Version: "4593.2.5"}, "SERVER=disabled\n"},
		"channel":    {fleet.OS{Channel: "lts"}, ""},
		"group":      {fleet.OS{Version: "4593.2.5", Updates: &fleet.Updates{Group: "lts-2024"}}, "GROUP=lts-2024\n"},
		"server":     {fleet.OS{Updates: &fleet.Updates{Server: "http://nebraska.example/v1/update/"}}, "SERVER=http://nebraska.example/v1/update/\n"},
		"off":        {fleet.OS{Updates: &fleet.Updates{Reboot: "off"}}, "REBOOT_STRATEGY=off\n"},
		"window":     {fleet.OS{Updates: &fleet.Updates{Reboot: "etcd-lock", Window: window}}, "REBOOT_STRATEGY=etcd-lock\nLOCKSMITHD_REBOOT_WINDOW_START=\"Thu 04:00\"\nLOCKSMITHD_REBOOT_WINDOW_LENGTH=1h0m0s\n"},
		"coordinate": {fleet.OS{Updates: &fleet.Updates{Group: "beta", Coordinator: "kured"}}, "GROUP=beta\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := withRoles()
			f.Spec.OS = c.os
			cfg := stamp(t, compile(t, f), newNode(3))
			masked := strings.Contains(string(cfg.Ignition), `"mask":true,"name":"locksmithd.service"`)
			if want := c.os.Updates != nil && c.os.Updates.Coordinator != ""; masked != want {
				t.Errorf("locksmithd masked = %v; want %v", masked, want)
			}
			if c.want == "" {
				if strings.Contains(string(cfg.Ignition), conf) {
					t.Error("update.conf is written although nothing is said about updates")
				}
				return
			}
			if got, want := content(t, cfg, conf), c.want+"MACHINE_ALIAS=\"web-edge-3\"\n"; got != want {
				t.Errorf("%s = %q; want %q", conf, got, want)
			}
		})
	}
}

func TestUpdatesNeedTheBaseRole(t *testing.T) {
	t.Parallel()
	f := newFleet(fleet.Layer{Role: "static-net"})
	f.Spec.OS.Updates = &fleet.Updates{Group: "stable"}
	f.Spec.Pools[0].Ready.By = fleet.ReadyByGuestAddress
	got := (&render.RefusedError{Problems: render.Check(f)}).Error()
	if !strings.Contains(got, "spec.os.updates is written by role base") {
		t.Errorf("Check = %s; want it to miss role base", got)
	}
}

// Where a node has several addresses, each can be named.
func TestAddressesByName(t *testing.T) {
	t.Parallel()
	f := withRoles(file("/etc/x", `      contents: {inline: "{{ .node.address }} {{ .node.publicAddress }} {{ .node.privateAddress }} {{ .node.addresses.lan }} {{ .node.addresses.lan | lastOctet }}"}`))
	f.Spec.Pools[0].Networks = []fleet.PoolNetwork{{Ref: "dmz"}, {Ref: "lan"}}
	n := newNode(1)
	n.Networks[0].Addr = "203.0.113.9"
	n.Networks = append(n.Networks, n.Networks[0])
	n.Networks[1].Network, n.Networks[1].Addr = "lan", "10.1.2.3"
	if got, want := content(t, stamp(t, compile(t, f), n), "/etc/x"), "203.0.113.9 203.0.113.9 10.1.2.3 10.1.2.3 3"; got != want {
		t.Errorf("/etc/x = %q; want %q", got, want)
	}
	refused(t, withRoles(file("/etc/x", `      contents: {inline: "{{ .node.addresses.lan }}"}`)),
		`line 6: {{ .node.addresses.lan }}: the pool's nodes have no static address of Network "lan"; known: dmz`)
}
