package render_test

import (
	"fmt"
	"runtime"
	"slices"
	"syscall"
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

// benched is a pool of the benchmark, once as a fleet and once as the texts
// that Butane alone would translate.
type benched struct {
	name  string
	fleet *fleet.Fleet
	texts []string
}

func benchedPools() []benched {
	base, pinned := render.RoleFile("base"), render.RoleFile("base-updates")
	out := []benched{
		{"base", newFleet(fleet.Layer{Role: "base"}), []string{base, pinned}},
		{"base+static-net", withRoles(), []string{base, pinned, render.RoleFile("static-net-0")}},
	}
	for _, k := range []int{1, 10, 50} {
		layer := manyItems(k)
		out = append(out, benched{fmt.Sprintf("k=%d", k), newFleet(layer), []string{layer.Butane}})
	}
	return out
}

// BenchmarkRender measures a node's config: stamped, with guestinfo, by the
// slow path, and the compiling of its pool.
func BenchmarkRender(b *testing.B) {
	for _, c := range benchedPools() {
		compiled, n := compile(b, c.fleet), newNode(7)
		for _, m := range []struct {
			name string
			run  func() error
		}{
			{"stamp", func() error { _, err := compiled.StampIgnition(&n); return err }},
			{"stamp+guestinfo", func() error { _, err := compiled.Stamp(n); return err }},
			{"slow", func() error { _, err := compiled.SlowIgnition(n); return err }},
			{"compile", func() error { _, err := render.Compile(c.fleet, "edge"); return err }},
		} {
			b.Run(c.name+"/"+m.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := m.run(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkStampRatio is how many times the processor's time Butane takes for
// a node, compared with stamping it: both in turns, the median of the rounds.
// Run it with -benchtime 6x; one loop is a round.
func BenchmarkStampRatio(b *testing.B) {
	const butanes, stamps = 4, 4000
	values := map[string]string{
		"node.hostname": "web-edge-7", "node.address": "10.0.0.8", "node.name": "web-edge-7",
		"node.phoneHomeURL": "http://10.0.0.1:7070/v1/nodes/web-edge-7/phone-home", "node.phoneHomeToken": "0123456789abcdef",
		"node.reportURL":   "http://10.0.0.1:7070/v1/nodes/web-edge-7/report",
		"node.networkFile": `[Match]\nMACAddress=02:0a:0b:0c:0d:07\n\n[Network]\nAddress=10.0.0.8/16\nGateway=10.0.255.1\nDNS=10.0.255.2\n`,
	}
	for _, c := range benchedPools() {
		compiled, n := compile(b, c.fleet), newNode(7)
		b.Run(c.name, func(b *testing.B) {
			var ratios, plain []float64
			for b.Loop() {
				full := processorTime(b, butanes, func() error { return render.ButaneAlone(c.texts, values, true) })
				uncompressed := processorTime(b, butanes, func() error { return render.ButaneAlone(c.texts, values, false) })
				stamp := processorTime(b, stamps, func() error { _, err := compiled.StampIgnition(&n); return err })
				ratios, plain = append(ratios, full/stamp), append(plain, uncompressed/stamp)
			}
			b.ReportMetric(median(ratios), "butane/stamp")
			b.ReportMetric(median(plain), "uncompressed/stamp")
			b.ReportMetric(0, "ns/op") // a round's length says nothing
		})
	}
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// processorTime returns the processor time of one call, the garbage
// collector's included.
func processorTime(b *testing.B, calls int, run func() error) float64 {
	b.Helper()
	used := func() float64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return float64(u.Utime.Nano() + u.Stime.Nano())
	}
	runtime.GC()
	before := used()
	for range calls {
		if err := run(); err != nil {
			b.Fatal(err)
		}
	}
	return (used() - before) / float64(calls)
}
