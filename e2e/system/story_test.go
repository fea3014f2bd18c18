//go:build e2e

package system

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"yardmaster.dev/e2e/harness"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

func (y *yard) mustNodes(t *testing.T, fleet string) []*ymv1.NodeView {
	t.Helper()
	nodes, err := y.nodes(fleet)
	if err != nil {
		t.Fatal(err)
	}
	return nodes
}

// remove deletes a fleet and waits until its VMs are gone.
func (y *yard) remove(fleet string) {
	y.tb.Helper()
	y.persist("delete", "fleet", fleet, "--yes")
	harness.Wait(y.tb, "the end of "+fleet, time.Minute, func() error {
		nodes, err := y.nodes(fleet)
		if err != nil {
			return err
		}
		if len(nodes) > 0 {
			return fmt.Errorf("%d nodes are left, such as %s, %s: %s", len(nodes), nodes[0].GetName(), nodes[0].GetState(), nodes[0].GetMessage())
		}
		return nil
	})
}

// noneFailed wants an empty dead-letter list.
func (y *yard) noneFailed(t *testing.T) {
	t.Helper()
	r := y.ctl("failed", "-o", "json")
	if r.code != 0 || strings.Contains(r.out, `"reason"`) {
		t.Errorf("yardctl failed: exit %d, %s%s; want nothing failed", r.code, r.out, r.err)
	}
}

// failed waits until yardctl failed shows the node with this cause, and
// wants every word to be in its message.
func (y *yard) failed(t *testing.T, node, reason string, words ...string) {
	t.Helper()
	var out string
	harness.Wait(t, node+" among the failed", 30*time.Second, func() error {
		r := y.ctl("failed", "-o", "wide")
		out = r.out
		for line := range strings.SplitSeq(r.out, "\n") {
			if strings.Contains(line, node) && strings.Contains(line, reason) {
				return nil
			}
		}
		return fmt.Errorf("yardctl failed says:\n%s%s", r.out, r.err)
	})
	story := y.ctl("describe", "node", node).out
	for _, w := range words {
		if !strings.Contains(story, w) {
			t.Errorf("describe node %s does not speak of %q:\n%s", node, w, story)
		}
	}
	t.Logf("an operator reads:\n%s\n%s", out, story)
}

// described waits until describe node speaks of a reason.
func (y *yard) described(t *testing.T, node, reason string, within time.Duration) string {
	t.Helper()
	var out string
	harness.Wait(t, node+" says "+reason, within, func() error {
		r := y.ctl("describe", "node", node)
		out = r.out
		if !strings.Contains(out, reason) {
			return fmt.Errorf("describe says:\n%s%s", r.out, r.err)
		}
		return nil
	})
	t.Logf("an operator reads:\n%s", out)
	return out
}
