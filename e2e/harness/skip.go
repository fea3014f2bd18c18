package harness

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Need runs a part of a suite that this machine may be unable to run. If it
// is (missing is not nil), the test fails and says so, unless the part is
// named in YARD_E2E_SKIP (a comma-separated list): what was not run must not
// look like success. Need reports whether the part can run.
func Need(tb testing.TB, part string, missing error) bool {
	tb.Helper()
	if Skipped(part) {
		tb.Logf("NOT RUN: %s: skipped by name in YARD_E2E_SKIP", part)
		return false
	}
	if missing == nil {
		return true
	}
	tb.Errorf("NOT RUN: %s: %v\nrun where that is possible, or say YARD_E2E_SKIP=%s", part, missing, part)
	return false
}

// Skipped reports whether part is named in YARD_E2E_SKIP.
func Skipped(part string) bool {
	list := os.Getenv("YARD_E2E_SKIP") //nolint:forbidigo // a test's setting
	return slices.Contains(strings.Split(list, ","), part)
}
