//go:build e2e

package system

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/e2e/realyard"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if skipped := harness.NotRun(); len(skipped) > 0 {
		fmt.Printf("%d tests and parts were NOT RUN, because they need a simulator of their own:\n  %s\n", len(skipped), strings.Join(skipped, "\n  "))
	}
	os.Exit(code)
}

// A fleet's life, as it goes on a vCenter: made, with the right config in
// guestinfo, scaled, resized in place, replaced, deleted; and nothing is left
// behind.
func TestLife(t *testing.T) {
	nodes := harness.TheTarget(t).Count(6)
	y := newYard(t)
	w := y.watch("life")
	document := realyard.Network(t) + realyard.FleetOf(t, "life", nodes, "")
	spec := y.File("life.yaml", document)
	y.Persist("apply", "-f", spec, "--yes")
	y.Ready("life", nodes, 2*time.Minute)
	w.stop()
	y.exactly(t, "life", nodes, spec, w)

	y.Persist("scale", "life/w", fmt.Sprint(nodes+1))
	y.Ready("life", nodes+1, time.Minute)
	first := y.machines(t, "life")

	document = strings.Replace(document, "replicas: "+fmt.Sprint(nodes), "replicas: "+fmt.Sprint(nodes+1), 1)
	larger := strings.Replace(document, "cpus: 2", "cpus: 4", 1)
	y.Persist("apply", "-f", y.File("larger.yaml", larger), "--yes")
	harness.Wait(t, "larger machines", 2*time.Minute, func() error { return y.sized("life", nodes+1, 4) })
	if now := y.machines(t, "life"); !maps.Equal(first, now) {
		t.Errorf("the VMs were %v and are %v; a resize replaces none", first, now)
	}

	y.Persist("apply", "-f", y.File("other.yaml", strings.Replace(larger, "word: hello", "word: moin", 1)), "--yes")
	harness.Wait(t, "other machines", 3*time.Minute, func() error { return y.sized("life", nodes+1, 4) })
	for name, vm := range y.machines(t, "life") {
		if first[name] == vm {
			t.Errorf("%s is still machine %s; another config replaces it", name, vm)
		}
	}
	y.noOrphans(t)

	y.Remove("life")
	if n := y.left("life"); n != 0 {
		t.Errorf("%d VMs are left", n)
	}
	y.noOrphans(t)
	y.noneFailed(t)
	y.Settled(time.Minute)
}

// noOrphans wants every VM with the yard's mark to be a node's.
func (y *yard) noOrphans(t *testing.T) {
	t.Helper()
	res, err := y.API.ListOrphans(t.Context(), connect.NewRequest(&ymv1.ListOrphansRequest{Site: realyard.Site}))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(res.Msg.GetOrphans()); n > 0 {
		t.Errorf("%d machines or nodes belong to nobody: %v", n, res.Msg)
	}
}
