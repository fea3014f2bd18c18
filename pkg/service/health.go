package service

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
)

// Health collects the checks of a process: it is ready when every check is.
type Health struct {
	mu     sync.Mutex
	checks map[string]error
}

// NewHealth returns a Health without checks, which is ready.
func NewHealth() *Health { return &Health{checks: map[string]error{}} }

// Set states how a check stands; nil is fine. A service sets its checks to
// an error when it starts and to nil once it can work.
func (h *Health) Set(check string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks[check] = err
}

// Report writes one line for each check and returns whether all are fine.
func (h *Health) Report(w io.Writer) bool {
	h.mu.Lock()
	checks := maps.Clone(h.checks)
	h.mu.Unlock()
	return writeChecks(w, checks)
}

func writeChecks(w io.Writer, checks map[string]error) bool {
	ready := true
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		if err := checks[name]; err != nil {
			ready = false
			_, _ = fmt.Fprintf(w, "%s: %v\n", name, err)
			continue
		}
		_, _ = fmt.Fprintf(w, "%s: ok\n", name)
	}
	return ready
}

// ServeHTTP answers 200 when ready and 503 when not, with a line per check.
func (h *Health) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h.mu.Lock()
	checks := maps.Clone(h.checks)
	h.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !writeChecks(io.Discard, checks) {
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	writeChecks(w, checks)
}
