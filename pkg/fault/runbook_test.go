package fault_test

import (
	"os"
	"strings"
	"testing"

	"yardmaster.dev/pkg/fault"
)

func TestEveryReasonHasARunbookHeading(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/runbooks/reasons.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range fault.Reasons {
		if !strings.Contains(string(page), "\n## "+string(r.Reason)+"\n") {
			t.Errorf("docs/runbooks/reasons.md has no heading for %s", r.Reason)
		}
	}
}
