package render_test

import (
	"strings"
	"testing"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/render"
)

func dmz() []*fleet.Network {
	return []*fleet.Network{{
		Metadata: fleet.Metadata{Name: "dmz"},
		Spec: fleet.NetworkSpec{
			Subnet: "10.0.0.0/24", Range: "10.0.0.254-10.0.1.3", Gateway: "10.0.1.0", DNS: []string{"10.0.0.1"},
			Exclude: []string{"10.0.0.255"}, Portgroup: "VM Network",
		},
	}}
}

func TestOffline(t *testing.T) {
	t.Parallel()
	f := withRoles(page())
	cfg, err := render.Offline(f, dmz(), "web-edge-2", nil)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "offline.ign", string(cfg.Ignition)+"\n")
	for _, want := range []string{render.MarkerToken, render.MarkerSecret("join"), "web-edge-2", "10.0.1.2%2F24"} {
		if !strings.Contains(string(cfg.Ignition), want) {
			t.Errorf("Ignition lacks %s:\n%s", want, cfg.Ignition)
		}
	}
	shown, err := render.Offline(f, dmz(), "edge-2", map[string]string{"join": "told"})
	if err != nil || !strings.Contains(string(shown.Ignition), "told") {
		t.Errorf("Offline with secrets = %v, %v; want the secret", shown, err)
	}
}

// Told all that a living node has, the offline render is what it got.
func TestOfflineOfALivingNode(t *testing.T) {
	t.Parallel()
	f := withRoles(page())
	n := newNode(3)
	n.Networks[0].Prefix, n.Networks[0].Gateway, n.Networks[0].DNS = 24, "10.0.1.0", []string{"10.0.0.1"}
	want := stamp(t, compile(t, f), n)
	got, err := render.OfflineKnown(f, dmz(), n.Name, render.Known{
		UUID: n.UUID, MAC: n.MAC, Hostname: n.Hostname, PhoneHomeURL: n.PhoneHomeURL, PhoneHomeToken: n.PhoneHomeToken,
		Addresses: map[string]string{"dmz": n.Networks[0].Addr}, Secrets: n.Secrets,
	})
	if err != nil || got.Digest != want.Digest {
		t.Errorf("OfflineKnown = %v, %v; want the digest of the living node, %s", got, err, want.Digest)
	}
}

func TestOfflineSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	f := withRoles()
	for name, c := range map[string]struct {
		networks []*fleet.Network
		node     string
		says     string
	}{
		"unknown node":  {dmz(), "web-egde-0", "a node is called web-edge-0"},
		"other fleet":   {dmz(), "app-edge-0", "is not a node of fleet web"},
		"odd ordinal":   {dmz(), "web-edge-01", "is not a node"},
		"no network":    {nil, "web-edge-0", `network "dmz", which is not in the file`},
		"range is full": {dmz(), "web-edge-4", "no address for a node of that ordinal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if cfg, err := render.Offline(f, c.networks, c.node, nil); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Offline = %v, %v; want an error that says %q", cfg, err, c.says)
			}
		})
	}
}

func TestOfflineHostname(t *testing.T) {
	t.Parallel()
	f := withRoles()
	f.Spec.Pools[0].Hostname = "n{{ .node.ordinal }}.{{ .vars.dir }}.example"
	cfg, err := render.Offline(f, dmz(), "web-edge-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, cfg, "/etc/hostname"); got != "n1.srv.example\n" {
		t.Errorf("/etc/hostname = %q; want n1.srv.example", got)
	}
}
