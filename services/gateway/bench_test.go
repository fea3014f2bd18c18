package gateway

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"yardmaster.dev/pkg/guest"
	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// largeWorld is testWorld with 100,000 nodes more.
func largeWorld(tb testing.TB) *plan.World {
	tb.Helper()
	w := testWorld(tb)
	hash := w.PoolHash("web", "edge")
	for i := range 100_000 {
		w.Put(&plan.Node{
			Fleet: "web", FleetUID: "u1", Pool: "edge", Ordinal: 10 + i, State: plan.Ready, Goal: plan.Present, Site: "dc1",
			PoolHash: hash, Since: time.Unix(1, 0), Created: time.Unix(1, 0), Addresses: []plan.Address{{Network: "dmz", Addr: "10.0.0.1"}},
		})
	}
	return w
}

// The part of ListNodes that keeps the mirror waiting, at 100,000 nodes.
func BenchmarkPresentLocked(b *testing.B) {
	w := largeWorld(b)
	for b.Loop() {
		presentOf(w, "")
	}
}

// The part that does not.
func BenchmarkPresentViews(b *testing.B) {
	_, nodes := presentOf(largeWorld(b), "")
	for b.Loop() {
		for _, n := range nodes {
			n.view()
		}
	}
}

// One change for 1,000 watchers.
func BenchmarkTell(b *testing.B) {
	h := newHub(newMetrics(prometheus.NewRegistry()))
	var all []*watcher
	for range 1000 {
		all = append(all, h.join(""))
	}
	for b.Loop() {
		h.tell("web", func() *v1.WatchResponse { return event(1) })
		for _, w := range all {
			<-w.changes
		}
	}
}

// What a heartbeat costs beside HTTP: to read it and to see that it says
// nothing new.
func BenchmarkHeartbeat(b *testing.B) {
	g, now := newGuests(), time.Now()
	for b.Loop() {
		now = now.Add(time.Minute)
		if !g.may(aKey, now) {
			b.Fatal("refused")
		}
		said, err := guest.Parse([]byte(guestSays))
		if err != nil {
			b.Fatal(err)
		}
		g.hear(aKey, word{said, 1, viaGateway, now})
	}
}
