package fleet

import (
	"strings"
	"testing"
	"time"
)

// The words of every rule are in pkg/specfile/testdata/wrong; here is what
// has edges of its own.

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"replicas", "name", "memory", "vsphere", "config"}
	for word, want := range map[string]string{
		"replica": "replicas", "Replicas": "replicas", "repilcas": "replicas", "nam": "name", "mame": "name", "memmory": "memory",
		"vSphere": "vsphere", "colour": "", "": "", strings.Repeat("n", 1000): "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q; want %q", word, got, want)
		}
	}
}

func TestQuantityHint(t *testing.T) {
	t.Parallel()
	for q, want := range map[string]string{
		"4GB": "write 4Gi (4096 MiB) or 4G", "4 GiB": "write 4Gi (4096 MiB) or 4G", "512mb": "write 512Mi (512 MiB) or 512M", "1.5Gi": "write 1536Mi",
		"2TB": "write 2Ti (2097152 MiB) or 2T", "lots": "", "": "", "-4GB": "", "4XB": "", "1e300G": "", "NaNG": "", "0GB": "",
	} {
		if got := quantityHint(q); got != want {
			t.Errorf("quantityHint(%q) = %q; want %q", q, got, want)
		}
		if _, hint, ok := strings.Cut(want, "write "); ok {
			if _, err := Quantity(strings.Fields(hint)[0]).Bytes(); err != nil {
				t.Errorf("the hint for %q is no quantity: %v", q, err)
			}
		}
	}
}

func TestRoundText(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		24 * time.Hour: "24h", 10 * time.Minute: "10m", 90 * time.Minute: "1h30m", 10 * time.Second: "10s", time.Second: "1s",
		100 * time.Second: "1m40s", time.Hour + time.Second: "1h0m1s", 0: "0s", 1500 * time.Millisecond: "1.5s",
	} {
		if got := roundText(d); got != want {
			t.Errorf("roundText(%v) = %q; want %q", d, got, want)
		}
	}
}

// TestHostnamePlaceholders holds that a hostname that is accepted is one
// that the planner can fill in.
func TestHostnamePlaceholders(t *testing.T) {
	t.Parallel()
	for _, name := range hostnamePlaceholders {
		f := &Fleet{Metadata: Metadata{Name: "web"}}
		c := &checker{}
		c.hostname("hostname", f, &Pool{Name: "edge", Replicas: 1, Hostname: "x-{{ ." + name + " }}"})
		if len(c.problems) > 0 {
			t.Errorf("hostname x-{{ .%s }}: %v; want no problem", name, c.problems)
		}
	}
}

func TestNetworkSize(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec NetworkSpec
		want int
	}{
		"plain":     {NetworkSpec{Range: "10.0.0.10-10.0.0.19"}, 10},
		"one":       {NetworkSpec{Range: "10.0.0.10-10.0.0.10"}, 1},
		"gateway":   {NetworkSpec{Range: "10.0.0.1-10.0.0.10", Gateway: "10.0.0.1"}, 9},
		"excludes":  {NetworkSpec{Range: "10.0.0.1-10.0.0.10", Exclude: []string{"10.0.0.5", "10.0.0.5", "10.9.9.9"}}, 9},
		"backwards": {NetworkSpec{Range: "10.0.0.10-10.0.0.1"}, 0},
		"nonsense":  {NetworkSpec{Range: "many"}, 0},
	} {
		if got := c.spec.Size(); got != c.want {
			t.Errorf("%s: Size of %+v = %d; want %d", name, c.spec, got, c.want)
		}
	}
}
