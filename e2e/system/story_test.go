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
	nodes, err := y.Nodes(fleet)
	if err != nil {
		t.Fatal(err)
	}
	return nodes
}

// noneFailed wants an empty dead-letter list.
func (y *yard) noneFailed(t *testing.T) {
	t.Helper()
	r := y.Ctl("failed", "-o", "json")
	if r.Code != 0 || strings.Contains(r.Out, `"reason"`) {
		t.Errorf("yardctl failed: exit %d, %s%s; want nothing failed", r.Code, r.Out, r.Err)
	}
}

// failed waits until yardctl failed shows the node with this cause, and
// wants every word to be in its message.
func (y *yard) failed(t *testing.T, node, reason string, words ...string) {
	t.Helper()
	var out string
	harness.Wait(t, node+" among the failed", 30*time.Second, func() error {
		r := y.Ctl("failed", "-o", "wide")
		out = r.Out
		for line := range strings.SplitSeq(r.Out, "\n") {
			if strings.Contains(line, node) && strings.Contains(line, reason) {
				return nil
			}
		}
		return fmt.Errorf("yardctl failed says:\n%s%s", r.Out, r.Err)
	})
	story := y.Ctl("describe", "node", node).Out
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
		r := y.Ctl("describe", "node", node)
		out = r.Out
		if !strings.Contains(out, reason) {
			return fmt.Errorf("describe says:\n%s%s", r.Out, r.Err)
		}
		return nil
	})
	t.Logf("an operator reads:\n%s", out)
	return out
}
