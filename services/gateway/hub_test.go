package gateway

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	v1 "yardmaster.dev/proto/yardmaster/v1"
)

func event(number int64) *v1.WatchResponse {
	return &v1.WatchResponse{Change: &v1.WatchResponse_Event{Event: &v1.EventView{Number: number}}}
}

// A reader that is too far behind is cut, and nobody else notices.
func TestSlowWatcherIsCut(t *testing.T) {
	t.Parallel()
	h := newHub(newMetrics(prometheus.NewRegistry()))
	slow, brisk := h.join(""), h.join("")
	for i := range int64(backlog + 1) {
		h.tell("web", func() *v1.WatchResponse { return event(i) })
		if m := <-brisk.changes; m.GetEvent().GetNumber() != i {
			t.Fatalf("the brisk watcher got %v; want event %d", m, i)
		}
	}
	if !h.wasSlow(slow) || h.wasSlow(brisk) {
		t.Errorf("slow = %v, brisk = %v; want only the slow one cut", h.wasSlow(slow), h.wasSlow(brisk))
	}
	for range backlog {
		if _, ok := <-slow.changes; !ok {
			t.Fatal("what was queued before the cut is lost")
		}
	}
	if _, ok := <-slow.changes; ok {
		t.Error("the slow watcher still gets changes")
	}
	h.leave(slow) // a second leave is harmless
	h.leave(brisk)
}

// A change is rendered once for all, and not at all for nobody.
func TestHubRendersOnce(t *testing.T) {
	t.Parallel()
	h := newHub(newMetrics(prometheus.NewRegistry()))
	rendered := 0
	render := func() *v1.WatchResponse { rendered++; return event(1) }
	h.tell("web", render)
	a, b, other := h.join("web"), h.join(""), h.join("db")
	h.tell("web", render)
	if rendered != 1 || len(a.changes) != 1 || len(b.changes) != 1 || len(other.changes) != 0 {
		t.Errorf("rendered %d times for %d, %d and %d watchers; want once, for those of web and of all",
			rendered, len(a.changes), len(b.changes), len(other.changes))
	}
	h.reloaded()
	h.reloaded()
	if len(a.resync) != 1 {
		t.Errorf("two reloads ask for %d resyncs; want one", len(a.resync))
	}
	h.stop()
	if h.join("web") != nil {
		t.Error("a stopped hub takes watchers")
	}
}
