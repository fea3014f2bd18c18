package render_test

import (
	"fmt"
	"testing"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/render"
)

// manyItems is k files and k units, one in five with values of the node.
func manyItems(k int) fleet.Layer {
	lines := []string{"storage:", "  files:"}
	value := func(i int) string {
		if i%5 == 0 {
			return "{{ .node.hostname }} {{ .node.address }}"
		}
		return "the same everywhere"
	}
	for i := range k {
		lines = append(lines, fmt.Sprintf("    - path: /etc/bench/f%d", i), "      mode: 0644", "      contents:", "        inline: |",
			"          # File of a benchmark, about as long as real ones are.", "          option = "+value(i), "          level = info")
	}
	lines = append(lines, "systemd:", "  units:")
	for i := range k {
		lines = append(lines, fmt.Sprintf("    - name: bench%d.service", i), "      enabled: true", "      contents: |",
			"        [Unit]", "        Description=Unit of a benchmark", "        After=network-online.target", "        [Service]",
			"        ExecStart=/usr/bin/echo "+value(i), "        Restart=always", "        [Install]", "        WantedBy=multi-user.target")
	}
	return butane(lines...)
}

// BenchmarkRender compares a node's config by stamping with translating it
// anew by Butane, which is what the slow path does. Run it with -benchmem;
// the ratio of stamp to full is the figure, not the times.
func BenchmarkRender(b *testing.B) {
	for _, c := range []struct {
		name string
		f    *fleet.Fleet
	}{
		{"k=1", newFleet(manyItems(1))},
		{"k=10", newFleet(manyItems(10))},
		{"k=50", newFleet(manyItems(50))},
		{"base", newFleet(fleet.Layer{Role: "base"})},
		{"base+static-net", withRoles()},
		{"page", withRoles(page())},
	} {
		compiled := compile(b, c.f)
		n := newNode(7)
		b.Run(c.name+"/full", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := compiled.SlowIgnition(n); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+"/stamp", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := compiled.StampIgnition(&n); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+"/stamp+guestinfo", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := compiled.Stamp(n); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+"/compile", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := render.Compile(c.f, "edge"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
