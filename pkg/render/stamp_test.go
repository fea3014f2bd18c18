package render_test

import (
	"bytes"
	"strings"
	"testing"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/render"
)

func TestStampEqualsTheSlowPath(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*fleet.Fleet{
		"roles": withRoles(),
		"page":  withRoles(page()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := compile(t, f)
			if c.Structural() {
				t.Fatal("Structural() = true; want a stampable pool")
			}
			for i := range 300 {
				n := newNode(i)
				got := stamp(t, c, n).Ignition
				want, err := c.SlowIgnition(n)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("node %d:\nstamped %s\nslow    %s", i, got, want)
				}
			}
		})
	}
}

func TestRenderedNode(t *testing.T) {
	t.Parallel()
	cfg := stamp(t, compile(t, withRoles(page())), newNode(41))
	golden(t, "page.ign", string(cfg.Ignition)+"\n")
	var b strings.Builder
	for _, s := range cfg.Provenance {
		b.WriteString(s.Kind + " " + s.Name + ": " + strings.Join(s.Layers, ", ") + "\n")
	}
	golden(t, "page.provenance", b.String())
	if want := "ip=10.0.0.42::10.0.255.1:255.255.0.0:web-edge-41.example::none:10.0.255.2:10.0.255.3"; cfg.NetworkKargs != want {
		t.Errorf("NetworkKargs = %q; want %q", cfg.NetworkKargs, want)
	}
}

var _ = render.Encoding
