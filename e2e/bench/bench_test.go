//go:build bench

package bench

import (
	"os"
	"testing"

	"yardmaster.dev/e2e/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	printTable(os.Stdout)
	os.Exit(code)
}

func TestRiverAlone(t *testing.T) {
	if err := harness.HavePostgres(); err != nil {
		t.Skip(err)
	}
	r := newRiver(t)
	got := alternate(2, side{"16", func() sample { return r.bringUp(t, 1000, 16) }}, side{"200", func() sample { return r.bringUp(t, 1000, 200) }})
	t.Log(got)
}
