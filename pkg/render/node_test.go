package render_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	ignition33 "github.com/coreos/ignition/v2/config/v3_3"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nkeys"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/render"
)

// What a node is called comes from elsewhere; nothing of it may end in a
// config unless it has the form of what it claims to be.
func TestNodeValuesAreCheckedByType(t *testing.T) {
	t.Parallel()
	c := compile(t, withRoles(page(), file("/etc/id", "      contents: {inline: \"{{ .node.uuid }} {{ .node.mac }} {{ .node.name }} {{ .node.fleet }}\"}")))
	for name, spoil := range map[string]func(*render.Node){
		"name":           func(n *render.Node) { n.Name = "a\nkernel evil" },
		"fleet":          func(n *render.Node) { n.Fleet = "Web" },
		"pool":           func(n *render.Node) { n.Pool = "" },
		"hostname":       func(n *render.Node) { n.Hostname = "a b" },
		"hostname label": func(n *render.Node) { n.Hostname = strings.Repeat("a", 64) },
		"hostname size":  func(n *render.Node) { n.Hostname = strings.Repeat("a.", 40) + "a" },
		"MAC":            func(n *render.Node) { n.MAC = "${net0/mac}" },
		"MAC case":       func(n *render.Node) { n.MAC = "02:0A:0B:0C:0D:0E" },
		"UUID":           func(n *render.Node) { n.UUID = "x" },
		"no address":     func(n *render.Node) { n.Networks = nil },
		"address":        func(n *render.Node) { n.Networks[0].Addr = "10.0.0.300" },
		"IPv6":           func(n *render.Node) { n.Networks[0].Addr = "2001:db8::1" },
		"prefix":         func(n *render.Node) { n.Networks[0].Prefix = 33 },
		"gateway":        func(n *render.Node) { n.Networks[0].Gateway = "x\nDHCP=yes" },
		"DNS":            func(n *render.Node) { n.Networks[0].DNS[1] = "1.1.1.1 " },
		"URL":            func(n *render.Node) { n.PhoneHomeURL = "http://x.example/`id`" },
		"URL scheme":     func(n *render.Node) { n.PhoneHomeURL = "file:///etc" },
		"URL password":   func(n *render.Node) { n.PhoneHomeURL = "http://a:b@x.example" },
		"token":          func(n *render.Node) { n.PhoneHomeToken = "short" },
		"token text":     func(n *render.Node) { n.PhoneHomeToken = "0123456789abcdef\nX=1" },
		"no secret":      func(n *render.Node) { n.Secrets = nil },
		"empty secret":   func(n *render.Node) { n.Secrets["join"] = "" },
		"binary secret":  func(n *render.Node) { n.Secrets["join"] = "\xff" },
		"NUL in secret":  func(n *render.Node) { n.Secrets["join"] = "a\x00b" },
		"lines in unit":  func(n *render.Node) { n.Secrets["join"] = "a\n[Service]\nExecStart=/evil" },
		"joined lines":   func(n *render.Node) { n.Secrets["join"] = `a\` },
		"a comment":      func(n *render.Node) { n.Secrets["join"] = "#a" },
		"long in unit":   func(n *render.Node) { n.Secrets["join"] = strings.Repeat("a", 513) },
		"huge secret":    func(n *render.Node) { n.Secrets["join"] = strings.Repeat("a", 33<<10) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(1)
			spoil(&n)
			cfg, err := c.Stamp(n)
			if !errors.Is(err, render.ErrValue) {
				t.Fatalf("Stamp = %v, %v; want %v", cfg, err, render.ErrValue)
			}
			if secret := n.Secrets["join"]; strings.Contains(name, "secret") && len(secret) > 1 && strings.Contains(err.Error(), secret) {
				t.Errorf("the error quotes the secret: %v", err)
			}
		})
	}
}

// Every value that JSON or a data: URL would have to escape.
func TestValuesArriveAsTheyAre(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for r := rune(' '); r < 0x120; r++ {
		all.WriteRune(r)
	}
	all.WriteString("\u2028\u2029\ufeff\U0001f600 z")
	f := withRoles(
		file("/etc/x", "      contents: {inline: \"<{{ .secrets.hash }}>\"}"),
		unit("a.service", "[Service]\nEnvironment=A={{ .secrets.hash }}"),
		ignition(`, "storage": {"files": [{"path": "/etc/raw", "contents": {"source": "data:,{{ .secrets.hash }}"}}]}`),
	)
	n := newNode(1)
	n.Secrets["hash"] = strings.ReplaceAll(all.String(), "\x7f", "")
	cfg := stamp(t, compile(t, f), n)
	parsed, rep, err := ignition33.Parse(cfg.Ignition)
	if err != nil || len(rep.Entries) > 0 {
		t.Fatalf("Parse = %v, %s", err, rep)
	}
	for _, f := range parsed.Storage.Files {
		want := map[string]string{"/etc/x": "<" + n.Secrets["hash"] + ">", "/etc/raw": n.Secrets["hash"]}[f.Path]
		if got, _ := render.PlainText(*f.Contents.Source); want != "" && got != want {
			t.Errorf("%s holds %q; want %q", f.Path, got, want)
		}
	}
	if want := "[Service]\nEnvironment=A=" + n.Secrets["hash"] + "\n"; *parsed.Systemd.Units[2].Contents != want {
		t.Errorf("unit = %q; want %q", *parsed.Systemd.Units[2].Contents, want)
	}
	slow, err := compile(t, f).SlowIgnition(n)
	if err != nil || !bytes.Equal(slow, cfg.Ignition) {
		t.Errorf("the slow path differs: %v\n%s\n%s", err, slow, cfg.Ignition)
	}
}

func TestGuestInfoIsWhatFlatcarReads(t *testing.T) {
	t.Parallel()
	cfg := stamp(t, compile(t, withRoles(page())), newNode(7))
	info := cfg.GuestInfo()
	if diff := cmp.Diff("gzip+base64", info["guestinfo.ignition.config.data.encoding"]); diff != "" {
		t.Error(diff)
	}
	if info["guestinfo.afterburn.initrd.network-kargs"] != cfg.NetworkKargs || len(info) != 3 {
		t.Errorf("GuestInfo() = %v; want data, encoding and network-kargs", info)
	}
	raw, err := base64.StdEncoding.DecodeString(info["guestinfo.ignition.config.data"])
	if err != nil {
		t.Fatal(err)
	}
	gz, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if back, err := io.ReadAll(gz); err != nil || !bytes.Equal(back, cfg.Ignition) {
		t.Errorf("decoded = %s, %v; want the config", back, err)
	}
	if len(info["guestinfo.ignition.config.data"]) != cfg.Size {
		t.Errorf("Size = %d; want %d", cfg.Size, len(info["guestinfo.ignition.config.data"]))
	}
}

func TestSealedForOneSite(t *testing.T) {
	t.Parallel()
	cfg := stamp(t, compile(t, withRoles(page())), newNode(7))
	site, other := curveKeys(t), curveKeys(t)
	public, err := site.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := render.Seal(cfg, public)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("ignition")) {
		t.Error("the sealed config can be read")
	}
	opened, err := render.Open(sealed, site, cfg.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(opened.GetIgnition(), cfg.Ignition) || opened.GetGuestinfoData() != cfg.Encoded || opened.GetNetworkKargs() != cfg.NetworkKargs {
		t.Error("Open gives another config than Seal was given")
	}
	if _, err := render.Open(sealed, other, cfg.Digest); err == nil {
		t.Error("another site can open the config")
	}
	if _, err := render.Open(sealed, site, strings.Repeat("0", 64)); err == nil {
		t.Error("a config passes for one of another digest")
	}
}

func TestSealRefusesDamage(t *testing.T) {
	t.Parallel()
	cfg := stamp(t, compile(t, withRoles()), newNode(7))
	site := curveKeys(t)
	public, err := site.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := render.Seal(cfg, public)
	if err != nil {
		t.Fatal(err)
	}
	sealed[len(sealed)-1] ^= 1
	if _, err := render.Open(sealed, site, cfg.Digest); err == nil {
		t.Error("a changed config can be opened")
	}
	if _, err := render.Seal(cfg, "XNOTAKEY"); err == nil {
		t.Error("Seal to no key = nil; want an error")
	}
	if _, err := render.Open(nil, site, cfg.Digest); err == nil {
		t.Error("Open(nothing) = nil; want an error")
	}
}

func curveKeys(t *testing.T) nkeys.KeyPair {
	t.Helper()
	key, err := nkeys.CreateCurveKeys()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestDHCPNeedsNoKargs(t *testing.T) {
	t.Parallel()
	f := newFleet(fleet.Layer{Role: "base"})
	f.Spec.Pools[0].Networks = []fleet.PoolNetwork{{DHCP: true}}
	n := newNode(1)
	n.Networks = []plan.JobNetwork{{DHCP: true}}
	if cfg := stamp(t, compile(t, f), n); cfg.NetworkKargs != "" || len(cfg.GuestInfo()) != 2 {
		t.Errorf("NetworkKargs = %q; want none", cfg.NetworkKargs)
	}
}

func TestTwoAddressesAndDHCP(t *testing.T) {
	t.Parallel()
	n := newNode(1)
	n.Networks = append(n.Networks,
		plan.JobNetwork{Network: "san", Addr: "192.0.2.9", Prefix: 30, Gateway: "192.0.2.10"},
		plan.JobNetwork{DHCP: true})
	cfg := stamp(t, compile(t, withRoles()), n)
	want := "[Match]\nMACAddress=02:0a:0b:0c:0d:01\n\n[Network]\nAddress=10.0.0.2/16\nGateway=10.0.255.1\nDNS=10.0.255.2\nDNS=10.0.255.3\nDNS=10.0.255.4\nAddress=192.0.2.9/30\nDHCP=ipv4\n"
	if got := content(t, cfg, "/etc/systemd/network/00-yardmaster.network"); got != want {
		t.Errorf("network file (-want +got):\n%s", cmp.Diff(want, got))
	}
}

// A card for each network, one with two addresses; the default route goes by
// the one that says so.
func TestSeveralCards(t *testing.T) {
	t.Parallel()
	f := withRoles(file("/etc/lan", "      contents: {inline: \"{{ .node.address }} {{ .node.addresses.lan }}\"}"))
	entries := []fleet.PoolNetwork{
		{Ref: "dmz"}, {Ref: "lan", DefaultRoute: new(true)}, {Ref: "extra", NIC: new(0), Portgroup: "other"}, {DHCP: true},
	}
	f.Spec.Pools[0].Networks = entries
	n := newNode(1)
	n.Networks = append(n.Networks,
		plan.JobNetwork{Network: "lan", Addr: "10.1.0.9", Prefix: 24, Gateway: "10.1.0.1", Routes: []fleet.Route{{To: "10.9.0.0/16", Via: "10.1.0.2"}}},
		plan.JobNetwork{Network: "extra", Addr: "10.2.0.9", Prefix: 24, Gateway: "10.2.0.1"},
		plan.JobNetwork{DHCP: true})
	plan.Plug(entries, n.Networks, n.MAC)
	cfg := stamp(t, compile(t, f), n)
	want := map[string]string{
		"0": "[Match]\nMACAddress=02:0a:0b:0c:0d:01\n\n[Network]\nAddress=10.0.0.2/16\nDNS=10.0.255.2\nDNS=10.0.255.3\nDNS=10.0.255.4\nAddress=10.2.0.9/24\n",
		"1": "[Match]\nMACAddress=" + plan.CardMAC(n.MAC, 1) + "\n\n[Network]\nAddress=10.1.0.9/24\nGateway=10.1.0.1\n\n[Route]\nDestination=10.9.0.0/16\nGateway=10.1.0.2\n",
		"2": "[Match]\nMACAddress=" + plan.CardMAC(n.MAC, 2) + "\n\n[Network]\nDHCP=ipv4\n\n[DHCPv4]\nUseGateway=false\n",
	}
	got := map[string]string{}
	for card := range want {
		got[card] = content(t, cfg, "/etc/systemd/network/0"+card+"-yardmaster.network")
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("network files (-want +got):\n%s", d)
	}
	if got, want := cfg.NetworkKargs, "ip=10.1.0.9::10.1.0.1:255.255.255.0:web-edge-1.example::none"; got != want {
		t.Errorf("NetworkKargs = %q; want %q", got, want)
	}
	if got, want := content(t, cfg, "/etc/lan"), "10.0.0.2 10.1.0.9"; got != want {
		t.Errorf("addresses %q; want %q", got, want)
	}
	if n.Networks[2].Portgroup != "other" {
		t.Errorf("portgroup %q; want other", n.Networks[2].Portgroup)
	}
}

// content returns the text of a file in a config.
func content(t *testing.T, cfg *render.Config, path string) string {
	t.Helper()
	var parsed struct {
		Storage struct {
			Files []struct {
				Path     string
				Contents struct{ Source string }
			}
		}
	}
	if err := json.Unmarshal(cfg.Ignition, &parsed); err != nil {
		t.Fatal(err)
	}
	for _, f := range parsed.Storage.Files {
		if f.Path == path {
			text, ok := render.PlainText(f.Contents.Source)
			if !ok {
				t.Fatalf("%s holds no text: %s", path, f.Contents.Source)
			}
			return text
		}
	}
	t.Fatalf("the config has no %s", path)
	return ""
}
