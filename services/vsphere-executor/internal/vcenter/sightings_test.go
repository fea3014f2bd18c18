package vcenter

import (
	"testing"
	"time"

	"yardmaster.dev/pkg/executor"
)

func vmRef(id string) ref { return ref{Type: "VirtualMachine", Value: id} }

// fleetOf is a sweep that sees n machines of fleet web.
func fleetOf(n int) map[ref]entry {
	seen := map[ref]entry{}
	for i := range n {
		o := jobOf(i, 1).Owner
		seen[vmRef(o.Node)] = entry{name: "web-" + o.Node, owner: o.String(), address: "10.0.0.1"}
	}
	return seen
}

func TestSweepLearnsWhatIsOurs(t *testing.T) {
	t.Parallel()
	s := newSightings()
	seen := fleetOf(1)
	seen[vmRef("other yard")] = entry{name: "web-edge-1", owner: "yard-2/uid-1/edge-1/1", address: "10.0.0.2"}
	seen[vmRef("foreign")] = entry{name: "mail", address: "10.0.0.3"}
	seen[vmRef("renamed")] = entry{name: "old", owner: jobOf(9, 1).Owner.String(), address: "10.0.0.4"}
	news, _ := s.sweep(seen, testYard)
	want := executor.Sighting{Fleet: "web", Node: "edge-0", Incarnation: 1, Address: "10.0.0.1"}
	if len(news) != 1 || news[0] != want {
		t.Errorf("news %+v; want %+v alone", news, want)
	}
	if news, _ := s.sweep(seen, testYard); len(news) != 0 {
		t.Errorf("the same again was news: %+v", news)
	}
	s.retell()
	if news, _ := s.sweep(seen, testYard); len(news) != 1 {
		t.Errorf("after retell: news %+v; want the address again", news)
	}
}

func TestLostTakesTwoSweeps(t *testing.T) {
	t.Parallel()
	s := newSightings()
	s.sweep(fleetOf(4), testYard)
	seen := fleetOf(4)
	delete(seen, vmRef("edge-2"))
	if _, missing := s.sweep(seen, testYard); len(missing) != 0 {
		t.Errorf("missing after one sweep: %+v", missing)
	}
	_, missing := s.sweep(seen, testYard)
	if len(missing) != 1 || missing[0].owner.Node != "edge-2" {
		t.Fatalf("missing %+v; want edge-2", missing)
	}
	if news := s.lost(missing[0]); !news.Lost || news.Fleet != "web" || news.Node != "edge-2" {
		t.Errorf("news %+v; want web's edge-2 lost", news)
	}
	if _, missing := s.sweep(seen, testYard); len(missing) != 0 {
		t.Errorf("missing again: %+v", missing)
	}
}

// A VM on a datastore that went away is listed without its config.
func TestUnreadableIsNotLost(t *testing.T) {
	t.Parallel()
	s := newSightings()
	s.sweep(fleetOf(1), testYard)
	seen := map[ref]entry{vmRef("edge-0"): {name: "web-edge-0"}}
	for range 2 * lostAfter {
		if news, missing := s.sweep(seen, testYard); len(news)+len(missing) != 0 {
			t.Errorf("news %+v, missing %+v; want neither", news, missing)
		}
	}
}

func TestMassLossIsDistrusted(t *testing.T) {
	t.Parallel()
	s := newSightings()
	s.sweep(fleetOf(5), testYard)
	for range 2 * lostAfter {
		if _, missing := s.sweep(fleetOf(1), testYard); len(missing) != 0 {
			t.Errorf("missing %d at once; want it distrusted", len(missing))
		}
	}
	s.distrust = s.distrust.Add(-distrustFor - time.Second)
	s.sweep(fleetOf(1), testYard)
	if _, missing := s.sweep(fleetOf(1), testYard); len(missing) != 4 {
		t.Errorf("missing %d after a while; want all 4", len(missing))
	}
}

func TestWhatWeRemoveIsNotLost(t *testing.T) {
	t.Parallel()
	s := newSightings()
	s.sweep(fleetOf(3), testYard)
	s.dismiss(jobOf(1, 1).Owner)
	s.sweep(fleetOf(3), testYard) // it is still there
	seen := fleetOf(3)
	delete(seen, vmRef("edge-1"))
	for range 2 * lostAfter {
		if _, missing := s.sweep(seen, testYard); len(missing) != 0 {
			t.Errorf("missing %+v; want none", missing)
		}
	}
}
