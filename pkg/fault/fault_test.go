package fault_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"yardmaster.dev/pkg/fault"
)

func TestOf(t *testing.T) {
	t.Parallel()
	base := errors.New("no space left")
	full := fault.New(fault.Busy, fault.NoSpace, base)
	for name, c := range map[string]struct {
		err    error
		kind   fault.Kind
		reason fault.Reason
	}{
		"nil":             {nil, fault.Transient, ""},
		"unclassified":    {base, fault.Transient, fault.Unknown},
		"classified":      {full, fault.Busy, fault.NoSpace},
		"wrapped":         {fmt.Errorf("clone: %w", full), fault.Busy, fault.NoSpace},
		"hinted":          {fault.WithHint(full, "free some"), fault.Busy, fault.NoSpace},
		"stopped":         {fmt.Errorf("x: %w", context.Canceled), fault.Cancelled, fault.Stopped},
		"timed out":       {context.DeadlineExceeded, fault.Transient, fault.Timeout},
		"classified stop": {fault.New(fault.Permanent, fault.Poison, context.Canceled), fault.Permanent, fault.Poison},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := fault.Of(c.err)
			if got.Kind != c.kind || got.Reason != c.reason {
				t.Errorf("Of(%v) = %v, %v; want %v, %v", c.err, got.Kind, got.Reason, c.kind, c.reason)
			}
			if c.err != nil && !errors.Is(c.err, errors.Unwrap(fmt.Errorf("%w", c.err))) {
				t.Errorf("Of(%v) lost its cause", c.err)
			}
		})
	}
}

func TestOfKeepsTheWholeChain(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("clone web-edge-0: %w", fault.Newf(fault.Permanent, fault.NameTaken, "%s exists", "web-edge-0"))
	if got := fault.Of(err); got.Error() != "clone web-edge-0: web-edge-0 exists" {
		t.Errorf("Of(%v).Error() = %q; want the whole sentence", err, got.Error())
	}
}

func TestReasonsAreUniqueAndExplained(t *testing.T) {
	t.Parallel()
	seen := map[fault.Reason]bool{}
	for _, r := range fault.Reasons {
		if seen[r.Reason] || r.Means == "" || r.Reason == "" {
			t.Errorf("reason %q is listed twice or says nothing", r.Reason)
		}
		seen[r.Reason] = true
	}
}
