//go:build bench

package bench

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"yardmaster.dev/e2e/harness"
)

// figures runs a benchmark of a package so many times and returns every
// figure of a unit, by the benchmark's full name.
func figures(t *testing.T, pkg, name, unit string, args ...string) map[string][]float64 {
	t.Helper()
	args = append([]string{
		"test", "./" + pkg, "-run", "^$", "-bench", "^" + name + "$", "-count", strconv.Itoa(rounds()),
	}, args...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = filepath.Join(harness.Root(t), "pkg")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
	got := map[string][]float64{}
	line := regexp.MustCompile(`(?m)^(Benchmark\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)
	for _, m := range line.FindAllStringSubmatch(string(out), -1) {
		fields := strings.Fields(m[2])
		for i := 0; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil && fields[i+1] == unit {
				got[m[1]] = append(got[m[1]], v)
			}
		}
	}
	if len(got) == 0 {
		t.Fatalf("no %s in:\n%s", unit, out)
	}
	return got
}

// Stamping a node against Butane for each node, in processor time.
func TestStamp(t *testing.T) {
	got := figures(t, "render", "BenchmarkStampRatio", "butane/stamp", "-benchtime", "2x")
	for _, name := range []string{"base", "base+static-net", "k=1", "k=10", "k=50"} {
		if v := got["BenchmarkStampRatio/"+name]; len(v) > 0 {
			ratio("stamp a node against Butane, "+name, v, 1000)
		}
	}
}

// A plan of ten changes among 100,000 nodes, and what a node costs.
func TestPlan(t *testing.T) {
	ms := figures(t, "plan", "BenchmarkPlan", "ns/op")["BenchmarkPlan"]
	for i := range ms {
		ms[i] /= 1e6
	}
	limit("plan of 10 changes in 100,000 nodes", "ms", ms, 50)
	limit("memory per node in the World", "B", figures(t, "plan", "BenchmarkMemory", "B/node", "-benchtime", "1x")["BenchmarkMemory"], 1024)
}
