package vcenter

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/guest"
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

// wordOf is what a guest that has run for up leaves in guestinfo.
func wordOf(up time.Duration) string {
	r := guest.Report{State: guest.StateDegraded, Up: up, Failed: []guest.Failed{{Unit: "web.service"}}}
	return base64.StdEncoding.EncodeToString([]byte(r.String()))
}

// What a guest leaves in guestinfo is told when it changes, and what is no
// report is nothing.
func TestWordsOfGuests(t *testing.T) {
	t.Parallel()
	s := newSightings()
	seen := fleetOf(1)
	s.sweep(seen, testYard)
	for name, c := range map[string]struct {
		word string
		news int
	}{
		"nothing":    {"", 0},
		"a report":   {wordOf(time.Minute), 1},
		"no base64":  {"yardmaster", 0},
		"no report":  {base64.StdEncoding.EncodeToString([]byte("hello")), 0},
		"too long":   {wordOf(time.Minute) + strings.Repeat("A", 2*guest.MaxBytes), 0},
		"the next":   {wordOf(time.Hour), 1},
		"gone again": {"", 0},
	} {
		e := seen[vmRef("edge-0")]
		e.word = c.word
		seen[vmRef("edge-0")] = e
		news, _ := s.sweep(seen, testYard)
		if len(news) != c.news || c.news == 1 && (news[0].Said == nil || news[0].Said.State != guest.StateDegraded || news[0].Node != "edge-0") {
			t.Errorf("%s: news %+v; want %d", name, news, c.news)
		}
		if again, _ := s.sweep(seen, testYard); len(again) != 0 {
			t.Errorf("%s: the same again was news: %+v", name, again)
		}
	}
}

// The watch reads the one key that guests write, of machines that are ours.
func TestWatchReadsWhatGuestsLeave(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	if _, err := b.Create(t.Context(), jobOf(0, 1)); err != nil {
		t.Fatal(err)
	}
	vm := w.vm(t, "web-edge-0")
	done(t)(vm.Reconfigure(t.Context(), types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: keyReport, Value: wordOf(time.Minute)},
	}}))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var said *executor.Sighting
	err := b.Watch(ctx, testYard, func(s executor.Sighting) {
		if s.Said != nil {
			said = &s
			cancel()
		}
	})
	if err != nil || said == nil || said.Fleet != "web" || said.Node != "edge-0" || said.Said.Failed[0].Unit != "web.service" {
		t.Errorf("Watch = %v and saw %+v; want what the guest left", err, said)
	}
}

func FuzzReadWord(f *testing.F) {
	f.Add(wordOf(time.Minute))
	f.Add("eWFyZG1hc3Rlci1yZXBvcnQgMQo=")
	f.Fuzz(func(t *testing.T, word string) {
		r, err := readWord(word)
		if err == nil && len(r.String()) > guest.MaxBytes {
			t.Errorf("readWord(%q) is larger than a report may be", word)
		}
	})
}
