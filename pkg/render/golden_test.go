package render_test

import (
	"bytes"
	"strings"
	"testing"

	ignition33 "github.com/coreos/ignition/v2/config/v3_3"
	"github.com/google/go-cmp/cmp"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/render"
)

// careful is a server as a careful person writes it in one file, with the
// places that were left to fill in.
func careful(key, hostname, address string) fleet.Layer {
	return butane(
		"passwd:", "  users:", "    - {name: core, ssh_authorized_keys: [\""+key+"\"]}",
		"storage:", "  files:",
		"    - path: /etc/systemd/network/00-static.network", "      mode: 0644", "      contents:", "        inline: |",
		"          [Match]", "          Name=ens192", "", "          [Network]", "          Address="+address+"/24",
		"          Gateway=192.168.7.254", "          DNS=192.168.7.254", "          LinkLocalAddressing=no", "          IPv6AcceptRA=no",
		"    - {path: /etc/hostname, mode: 0644, overwrite: true, contents: {inline: "+hostname+"}}",
		"    - {path: /opt/extensions/docker-compose/docker-compose-2.39.2-x86-64.raw, mode: 0644, contents: {source: \"https://mirror.example/docker-compose-2.39.2-x86-64.raw\"}}",
		"    - {path: /etc/sysupdate.docker-compose.d/docker-compose.conf, contents: {source: \"https://mirror.example/docker-compose.conf\"}}",
		"    - {path: /etc/sysupdate.d/noop.conf, contents: {source: \"https://mirror.example/noop.conf\"}}",
		"    - {path: /etc/docker/daemon.json, mode: 0644, contents: {inline: '{\"default-address-pools\": []}'}}",
		"  links:",
		"    - {path: /etc/systemd/system/multi-user.target.wants/docker.service, target: /usr/lib/systemd/system/docker.service, hard: false, overwrite: true}",
		"    - {path: /etc/extensions/docker-compose.raw, target: /opt/extensions/docker-compose/docker-compose-2.39.2-x86-64.raw, hard: false}",
		"systemd:", "  units:",
		"    - {name: docker.service, enabled: true}",
		"    - {name: systemd-sysupdate.timer, enabled: true}",
		"    - {name: systemd-sysupdate.service, dropins: [{name: docker-compose.conf, contents: \"[Service]\\nExecStartPre=/usr/lib/systemd/systemd-sysupdate -C docker-compose update\\n\"}]}",
	)
}

const goodKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBVfS9Hh3G5yHkvGBTzAqr0Pt/WRbDxRyqyiXvPDXYFp somebody"

// Row 2 of flatcar.md, section 8: whole it passes without a word, with its
// placeholders it is refused for each of them.
func TestCarefulServer(t *testing.T) {
	t.Parallel()
	cfg := stamp(t, compile(t, plain(careful(goodKey, "server", "192.168.7.42"))), newNode(0))
	parsed, rep, err := ignition33.Parse(cfg.Ignition)
	if err != nil || len(rep.Entries) > 0 {
		t.Fatalf("Parse = %v, %s", err, rep)
	}
	if n := len(parsed.Storage.Files) + len(parsed.Storage.Links); n != 8 || len(parsed.Systemd.Units) != 3 {
		t.Errorf("%d storage entries and %d units; want 8 and 3", n, len(parsed.Systemd.Units))
	}
	refused(t, withRoles(careful("your public key", "the host name", "192.168.xxx.xxx")),
		`"your public key" is not one SSH public key`, `"the host name" is not a host name`,
		`Address=192.168.xxx.xxx/24 in /etc/systemd/network/00-static.network is not an address`)
}

// Row 3: a unit arrives as it was written, a file's content uncompressed.
func TestNothingIsChangedOrCompressed(t *testing.T) {
	t.Parallel()
	text := "[Unit]\nDescription=NGINX example\nAfter=docker.service\n\n[Service]\nExecStart=/usr/bin/docker run --name nginx --net host nginx:1\n\n[Install]\nWantedBy=multi-user.target\n"
	long := strings.Repeat("a line that would compress very well\\n", 100)
	cfg := stamp(t, compile(t, plain(
		unit("nginx.service", text),
		file("/etc/long", "      contents: {inline: \""+long+"\"}"),
	)), newNode(0))
	parsed, _, err := ignition33.Parse(cfg.Ignition)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(text, *parsed.Systemd.Units[0].Contents); d != "" {
		t.Errorf("unit (-want +got):\n%s", d)
	}
	contents := parsed.Storage.Files[0].Contents
	if *contents.Compression != "" || !strings.HasPrefix(*contents.Source, "data:,a%20line") {
		t.Errorf("file = %q, %.40s; want escaped text", *contents.Compression, *contents.Source)
	}
	if got, _ := render.PlainText(*contents.Source); got != strings.ReplaceAll(long, `\n`, "\n") {
		t.Error("the file's content is another one")
	}
}

// Row 4: the same bytes each time.
func TestSameInputSameBytes(t *testing.T) {
	t.Parallel()
	var first []byte
	for i := range 200 {
		got := stamp(t, compile(t, plain(careful(goodKey, "server", "192.168.7.42"))), newNode(7)).Ignition
		if first == nil {
			first = got
		}
		if !bytes.Equal(got, first) {
			t.Fatalf("run %d differs:\n%s\n%s", i, got, first)
		}
	}
}

// Row 19: configs of old guides, as people find them.
func TestOldConfigs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		layer fleet.Layer
		says  []string
	}{
		"v1":             {fleet.Layer{Ignition: `{"ignitionVersion": 1, "storage": {}}`}, []string{"Ignition v1 config", "write version 3.3.0"}},
		"v2.0":           {fleet.Layer{Ignition: `{"ignition": {"version": "2.0.0"}, "storage": {"disks": [{"device": "/dev/sda", "partitions": [{"size": 0}]}]}}`}, []string{"Ignition v2.0.0 configs are not supported", "write version 3.3.0"}},
		"v2.1":           {fleet.Layer{Ignition: `{"ignition": {"version": "2.1.0"}, "networkd": {}}`}, []string{"Ignition v2.1.0 configs are not supported"}},
		"CLC":            {fleet.Layer{Butane: "update:\n  group: stable\netcd: {}\n"}, []string{"line 1: this is a Container Linux Config", "spec.os.updates"}},
		"Ignition as":    {fleet.Layer{Butane: `{"ignition": {"version": "3.3.0"}}`}, []string{"this is an Ignition config, not Butane", "- ignition: |"}},
		"Butane as":      {fleet.Layer{Ignition: "variant: flatcar\nversion: 1.0.0\n"}, []string{"not JSON", "this is Butane", "- butane: |"}},
		"cloud-config":   {fleet.Layer{Ignition: "#cloud-config\nhostname: x\n"}, []string{"not Ignition JSON", "vsphere.userData of a pool"}},
		"script":         {fleet.Layer{Butane: "#!/bin/bash\necho\n"}, []string{"not Butane", "vsphere.userData of a pool"}},
		"MIME":           {fleet.Layer{Butane: "MIME-Version: 1.0\n"}, []string{"MIME multipart", "vsphere.userData of a pool"}},
		"v2.2 to merge":  {butane("ignition:", "  config:", "    merge:", `      - source: "data:,%7B%22ignition%22%3A%7B%22version%22%3A%222.2.0%22%7D%7D"`), []string{"merge and replace are not allowed"}},
		"nothing at all": {fleet.Layer{Ignition: " "}, []string{"not JSON"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, withRoles(c.layer), c.says...)
		})
	}
}

// Row 27: a static address and something to fetch need the address twice, for
// the initramfs and for the running system.
func TestStaticAddressAndRemoteFiles(t *testing.T) {
	t.Parallel()
	cfg := stamp(t, compile(t, withRoles(file("/opt/x", `      contents: {source: "https://x.example/a"}`))), newNode(3))
	if want := "ip=10.0.0.4::10.0.255.1:255.255.0.0:web-edge-3.example::none:10.0.255.2:10.0.255.3"; cfg.GuestInfo()[render.GuestInfoNetworkKargs] != want {
		t.Errorf("network-kargs = %q; want %q", cfg.GuestInfo()[render.GuestInfoNetworkKargs], want)
	}
	if text := content(t, cfg, "/etc/systemd/network/00-yardmaster.network"); !strings.Contains(text, "Address=10.0.0.4/16\n") {
		t.Errorf("network file = %s; want the same address", text)
	}
}
