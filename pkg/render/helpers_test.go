package render_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/render"
)

// newFleet is a fleet of one pool, edge, with an address on network dmz.
func newFleet(layers ...fleet.Layer) *fleet.Fleet {
	return &fleet.Fleet{
		APIVersion: fleet.APIVersion, Kind: fleet.KindFleet, Metadata: fleet.Metadata{Name: "web"},
		Spec: fleet.FleetSpec{
			OS:      fleet.OS{Channel: "stable", Version: "4593.2.5"},
			Config:  layers,
			Vars:    map[string]string{"greeting": "Grüße & <b>", "dir": "srv"},
			Secrets: map[string]fleet.Secret{"join": {Env: "YARD_SECRET_JOIN"}, "hash": {File: "hash"}},
			Pools:   []fleet.Pool{{Name: "edge", Replicas: 3, Networks: []fleet.PoolNetwork{{Ref: "dmz"}}}},
		},
	}
}

func withRoles(layers ...fleet.Layer) *fleet.Fleet {
	return newFleet(append([]fleet.Layer{{Role: "base"}, {Role: "static-net"}}, layers...)...)
}

func newNode(ordinal int) render.Node {
	name := fmt.Sprintf("web-edge-%d", ordinal)
	return render.Node{
		Name: name, Fleet: "web", Pool: "edge", Ordinal: ordinal, Hostname: name + ".example",
		UUID: fmt.Sprintf("5f0f6e2a-0b7e-5d3f-9c1b-0000000000%02x", ordinal%256), MAC: fmt.Sprintf("02:0a:0b:0c:0d:%02x", ordinal%256),
		Networks: []plan.JobNetwork{{
			Network: "dmz", Addr: fmt.Sprintf("10.0.%d.%d", ordinal/250, 1+ordinal%250), Prefix: 16, Gateway: "10.0.255.1",
			DNS: []string{"10.0.255.2", "10.0.255.3", "10.0.255.4"},
		}},
		PhoneHomeURL: "http://10.0.255.9:7070/", PhoneHomeToken: fmt.Sprintf("0123456789abcdef-%d", ordinal),
		Secrets: map[string]string{"join": `s3cr3t%&"\<>'` + "\u2028 é", "hash": "$6$salt$hash"},
	}
}

func butane(lines ...string) fleet.Layer {
	return fleet.Layer{Butane: "variant: flatcar\nversion: 1.0.0\n" + strings.Join(lines, "\n") + "\n"}
}

func ignition(rest string) fleet.Layer {
	return fleet.Layer{Ignition: `{"ignition": {"version": "3.3.0"}` + rest + `}`}
}

func compile(tb testing.TB, f *fleet.Fleet) *render.Compiled {
	tb.Helper()
	c, err := render.Compile(f, "edge")
	if err != nil {
		tb.Fatalf("Compile: %v", err)
	}
	return c
}

func stamp(tb testing.TB, c *render.Compiled, n render.Node) *render.Config {
	tb.Helper()
	cfg, err := c.Stamp(n)
	if err != nil {
		tb.Fatalf("Stamp(%s): %v", n.Name, err)
	}
	return cfg
}

// golden compares got with a file, or writes it with YARD_UPDATE=1.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if os.Getenv("YARD_UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s differs; run with YARD_UPDATE=1 and look at the diff.\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

func page() fleet.Layer {
	return butane(
		`storage:`,
		`  files:`,
		`    - path: /{{ .vars.dir }}/www/index.html`,
		`      mode: 0644`,
		`      contents:`,
		`        inline: |`,
		`          {{ .vars.greeting }} from {{ .node.hostname }} at {{ .node.address }} ({{ .node.address | lastOctet }})`,
		`          join with {{ .secrets.join }}`,
		`systemd:`,
		`  units:`,
		`    - name: web.service`,
		`      enabled: true`,
		`      contents: |`,
		`        [Service]`,
		`        Environment="ME={{ .node.hostname }}" JOIN={{ .secrets.join }}`,
		`        ExecStart=/bin/true`,
		`        [Install]`,
		`        WantedBy=multi-user.target`,
		`      dropins:`,
		`        - name: 10-node.conf`,
		`          contents: |`,
		`            [Unit]`,
		`            Description=Node {{ .ordinal }} of {{ .fleet }}/{{ .pool }}`,
	)
}
