package render_test

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"testing"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/render"
)

const cloudConfig = "#cloud-config\nssh_authorized_keys: []\n# {{ .node.hostname }} is not ours to fill\n"

func userDataFleet() *fleet.Fleet {
	f := newFleet()
	f.Spec.Pools[0].Ready.By = fleet.ReadyByGuestAddress
	f.Spec.Pools[0].VSphere = &fleet.VSphere{Site: "dc1", UserData: cloudConfig}
	return f
}

// User data arrives byte for byte, and the variables beside it say what the
// Networks gave, as coreos-cloudinit spells it.
func TestUserData(t *testing.T) {
	t.Parallel()
	n := newNode(3)
	n.Networks[0].Routes = []fleet.Route{{To: "10.9.0.0/16", Via: "10.0.255.7"}}
	n.Networks = append(n.Networks,
		plan.JobNetwork{Network: "pub", Addr: "203.0.113.9", Prefix: 29, Gateway: "203.0.113.14", DNS: []string{"10.0.255.2"}, Card: 1, MAC: "02:00:00:00:00:01", Side: true},
		plan.JobNetwork{Network: "lab", DHCP: true, Card: 2, MAC: "02:00:00:00:00:02", Side: true})
	cfg := stamp(t, compile(t, userDataFleet()), n)
	if string(cfg.Ignition) != cloudConfig || !cfg.Opaque {
		t.Errorf("user data = %q; want what was written", cfg.Ignition)
	}
	info := cfg.GuestInfo()
	if raw, err := base64.StdEncoding.DecodeString(info[render.GuestInfoData]); err != nil || len(raw) == 0 {
		t.Errorf("data = %q, %v", info[render.GuestInfoData], err)
	}
	delete(info, render.GuestInfoData)
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(info)) {
		b.WriteString(key + " = " + info[key] + "\n")
	}
	golden(t, "userdata.txt", b.String())
	if got := render.Check(userDataFleet()); len(got) > 0 {
		t.Errorf("Check = %v; want none", got)
	}
}

// Nodes of a pool have one text; their configs must not be one.
func TestUserDataHasADigestPerNode(t *testing.T) {
	t.Parallel()
	c := compile(t, userDataFleet())
	first, second := stamp(t, c, newNode(1)), stamp(t, c, newNode(2))
	if first.Digest == second.Digest {
		t.Error("two nodes have one digest: each would blank the other's config")
	}
	site := curveKeys(t)
	public, err := site.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := render.Seal(first, public)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := render.Open(sealed, site, first.Digest)
	if err != nil || opened.GetGuestinfoVariables()["guestinfo.hostname"] != "web-edge-1.example" {
		t.Errorf("Open = %v, %v; want the variables", opened, err)
	}
	if _, err := render.Open(sealed, site, second.Digest); err == nil {
		t.Error("a node's user data passes for another's")
	}
}

func TestUserDataOffline(t *testing.T) {
	t.Parallel()
	cfg, err := render.Offline(userDataFleet(), dmz(), "web-edge-0", nil)
	if err != nil || cfg.Variables["guestinfo.interface.0.ip.0.address"] != "10.0.0.254/24" {
		t.Errorf("Offline = %+v, %v; want the first address", cfg, err)
	}
	large := userDataFleet()
	large.Spec.Pools[0].VSphere.UserData = "#!/bin/sh\n" + scramble(60000)
	if got := render.Check(large); len(got) != 1 || got[0].Path != "spec.pools[0].vsphere.userData" {
		t.Errorf("Check = %v; want the size", got)
	}
}
