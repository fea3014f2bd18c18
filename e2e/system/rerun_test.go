//go:build e2e

package system

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/e2e/realyard"
)

// Ignition runs changed configs on the same machines while everything that
// carries the order is killed: at the end every VM is the one that it was, and
// has run the config that yardctl renders, once.
func TestRerunUnderKills(t *testing.T) {
	const nodes = 8
	y := &yard{realyard.New(t, realyard.Options{Simulator: []string{
		"--clone-delay", "800ms", "--power-delay", "100ms", "--boot-delay", "1500ms", "--phone-home-retry", "1s", "--report-every", "2s",
	}})}
	storm := harness.NewStorm(t,
		harness.Killing("planner", 2, y.Planners...),
		harness.Killing("executor", 3, y.Executors...),
		harness.Killing("renderer", 1, y.Renderers...),
		harness.Killing("gateway", 1, y.Gateway),
	)
	document := strings.ReplaceAll(realyard.Network(t)+realyard.FleetOf(t, "size", nodes, "  rollout: {maxUnavailable: 3}\n"),
		"      networks: [{ref: lan}]\n", "      networks: [{ref: lan}]\n      onConfigChange: rerun\n      keepPaths: [/var/lib/data]\n")
	y.Persist("apply", "-f", y.File("rerun.yaml", document), "--yes")
	y.Ready("size", nodes, 2*time.Minute)
	before := y.machines(t, "size")
	for i, word := range []string{"again", "twice"} {
		spec := y.File("rerun-"+word+".yaml", strings.ReplaceAll(document, "word: hello", "word: "+word))
		w := y.watch("size")
		y.Persist("apply", "-f", spec, "--yes")
		y.while(storm, func() bool { return y.renewed(nodes, i+2) == nil })
		harness.Wait(t, fmt.Sprintf("%d nodes that have run %q", nodes, word), 4*time.Minute, func() error { return y.renewed(nodes, i+2) })
		w.stop()
		y.ran(t, spec, word, w)
	}
	if after := y.machines(t, "size"); !maps.Equal(before, after) {
		t.Errorf("the VMs were %v and are %v", before, after)
	}
	y.noneFailed(t)
	y.Settled(time.Minute)
	t.Log(storm)
}

// renewed returns what is missing until every node is ready, of the revision.
func (y *yard) renewed(nodes, revision int) error {
	all, err := y.Nodes("size")
	if err != nil {
		return err
	}
	for _, n := range all {
		if n.GetState() != "ready" || n.GetOutdated() || int(n.GetRevision()) != revision {
			return fmt.Errorf("%s is %s, of revision %d: %s", n.GetName(), n.GetState(), n.GetRevision(), n.GetMessage())
		}
	}
	if len(all) != nodes {
		return fmt.Errorf("%d of %d nodes", len(all), nodes)
	}
	return nil
}

// ran compares the config that each VM was offered last with what yardctl
// renders, and wants it blanked.
func (y *yard) ran(t *testing.T, spec, word string, w *witness) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range y.mustNodes(t, "size") {
		vm, ok := w.seen[n.GetMachineUuid()]
		if !ok {
			t.Errorf("%s: nobody saw its config in guestinfo", n.GetName())
			continue
		}
		if token := y.sameAsRendered(t, spec, n, &vm); token == "" {
			t.Errorf("%s: its config has no token", n.GetName())
		}
		if got, err := vm.Ignition(); err != nil || !strings.Contains(string(got), "%20"+word) {
			t.Errorf("%s: its config does not say %q: %v", n.GetName(), word, err)
		}
	}
	harness.Wait(t, "blank guestinfo", time.Minute, func() error {
		vms, err := y.VCenter.VMs(t.Context())
		if err != nil {
			return err
		}
		for i := range vms {
			b, err := vms[i].Ignition()
			if err != nil {
				return err
			}
			if len(b) > 4 {
				return fmt.Errorf("%s still holds a config of %d bytes", vms[i].Name, len(b))
			}
		}
		return nil
	})
}
