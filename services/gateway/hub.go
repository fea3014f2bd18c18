package gateway

import (
	"sync"

	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// backlog is how many changes a watcher may be behind before it is cut.
const backlog = 4096

// hub hands changes to watchers. A change is rendered once, however many
// watch, and not at all when nobody does.
type hub struct {
	mu       sync.Mutex
	watchers map[*watcher]struct{}
	stopped  bool
	metrics  *metrics
}

// watcher is one open watch.
type watcher struct {
	fleet string // empty watches all
	// changes holds what is to be sent; it is closed when the watch ends,
	// and why says whether that was because its reader was too slow.
	changes chan *v1.WatchResponse
	// resync asks for the present state to be sent again.
	resync chan struct{}
	slow   bool
}

func newHub(m *metrics) *hub { return &hub{watchers: map[*watcher]struct{}{}, metrics: m} }

// join adds a watcher; it returns nil when the hub has stopped.
func (h *hub) join(fleet string) *watcher {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return nil
	}
	w := &watcher{fleet: fleet, changes: make(chan *v1.WatchResponse, backlog), resync: make(chan struct{}, 1)}
	h.watchers[w] = struct{}{}
	h.metrics.watches.Set(float64(len(h.watchers)))
	return w
}

// leave removes a watcher; leaving twice is harmless.
func (h *hub) leave(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(w)
}

func (h *hub) remove(w *watcher) {
	if _, ok := h.watchers[w]; !ok {
		return
	}
	delete(h.watchers, w)
	close(w.changes)
	h.metrics.watches.Set(float64(len(h.watchers)))
}

// tell hands a change of a fleet to those who watch it. It never waits: a
// reader that is too far behind is cut.
func (h *hub) tell(fleet string, render func() *v1.WatchResponse) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var change *v1.WatchResponse
	for w := range h.watchers {
		if w.fleet != "" && w.fleet != fleet {
			continue
		}
		if change == nil {
			if change = render(); change == nil {
				return
			}
		}
		select {
		case w.changes <- change:
		default:
			w.slow = true
			h.metrics.cut.Inc()
			h.remove(w)
		}
	}
}

// reloaded asks every watcher to send the present state again: the read
// model was loaded anew and changes may have been missed.
func (h *hub) reloaded() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		select {
		case w.resync <- struct{}{}:
		default:
		}
	}
}

// stop ends every watch.
func (h *hub) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	for w := range h.watchers {
		h.remove(w)
	}
}

// wasSlow says why a watch ended.
func (h *hub) wasSlow(w *watcher) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return w.slow
}
