package plan

import (
	"strings"
	"testing"
	"time"
)

// TestBelonging holds the verdict on a machine's mark: only what is over for
// good belongs to nobody.
func TestBelonging(t *testing.T) {
	t.Parallel()
	w := NewWorld(0)
	made := start.Add(-24 * time.Hour)
	w.Put(&Fleet{Name: "web", UID: "u2", Created: start})
	w.Put(&Fleet{Name: "old", UID: "u3", Created: start, Deleted: true})
	for _, n := range []*Node{
		{Fleet: "web", FleetUID: "u2", Pool: "a", Ordinal: 0, Incarnation: 3, State: Ready},
		{Fleet: "web", FleetUID: "u2", Pool: "a", Ordinal: 1, Incarnation: 1, State: Deleted},
		{Fleet: "web", FleetUID: "u2", Pool: "a", Ordinal: 2, Incarnation: 1, State: Preserved},
		{Fleet: "old", FleetUID: "u3", Pool: "a", Ordinal: 0, Incarnation: 2, State: Deleted},
	} {
		w.Put(n)
	}
	for name, c := range map[string]struct {
		fleet   string
		machine OrphanMachine
		want    Belonging
	}{
		"its node's":                   {"web", OrphanMachine{FleetUID: "u2", Node: "a-0", Incarnation: 3}, BelongsToNode},
		"a preserved node's":           {"web", OrphanMachine{FleetUID: "u2", Node: "a-2", Incarnation: 1}, BelongsToNode},
		"an incarnation that is over":  {"web", OrphanMachine{FleetUID: "u2", Node: "a-0", Incarnation: 2}, BelongsToNobody},
		"a deleted node's":             {"web", OrphanMachine{FleetUID: "u2", Node: "a-1", Incarnation: 1}, BelongsToNobody},
		"a deleted fleet's":            {"old", OrphanMachine{FleetUID: "u3", Node: "a-0", Incarnation: 2}, BelongsToNobody},
		"an earlier fleet's":           {"web", OrphanMachine{FleetUID: "u1", Node: "a-0", Incarnation: 3, Made: made}, BelongsToNobody},
		"younger than the ledger":      {"web", OrphanMachine{FleetUID: "u2", Node: "a-0", Incarnation: 4}, BelongsToUnknown},
		"a node that never was":        {"web", OrphanMachine{FleetUID: "u2", Node: "a-9", Incarnation: 1}, BelongsToUnknown},
		"a later fleet of the name":    {"web", OrphanMachine{FleetUID: "u9", Node: "a-0", Incarnation: 1, Made: start.Add(time.Hour)}, BelongsToUnknown},
		"another fleet, without dates": {"web", OrphanMachine{FleetUID: "u9", Node: "a-0", Incarnation: 1}, BelongsToUnknown},
		"an unknown fleet":             {"nobody", OrphanMachine{FleetUID: "u1", Node: "a-0", Incarnation: 1, Made: made}, BelongsToUnknown},
	} {
		got, words := w.Belonging(c.fleet, c.machine)
		if got != c.want || (got == BelongsToNode) != (words == "") {
			t.Errorf("%s: Belonging(%s, %+v) = %v, %q; want %v", name, c.fleet, c.machine, got, words, c.want)
		}
	}
}

// TestRemovedOrphansAreNoted lets the planner refuse what is somebody's and
// note what is nobody's, in the record of a deleted fleet too.
func TestRemovedOrphansAreNoted(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.send(applyCommand("c1", testFleet(testPool("edge", 2))))
	y.run()
	uid := y.w.Fleet("web").UID
	remove := func(id string, machines ...OrphanMachine) *Receipt {
		y.send(command("web", Command{ID: id, Orphans: &RemoveOrphans{Site: "dc1", Machines: machines}}))
		return y.w.Receipt("web", id)
	}
	living := OrphanMachine{ID: "vm-1", FleetUID: uid, Node: "edge-0", Incarnation: 1}
	dead := OrphanMachine{ID: "vm-2", FleetUID: uid, Node: "edge-1", Incarnation: 0}
	if r := remove("c2", dead, living); r.Accepted || r.Code != RefusedInUse || !strings.Contains(r.Refusal[0], "vm-1") {
		t.Errorf("removal of a node's machine: %+v; want a refusal", r)
	}
	if r := remove("c3", dead); !r.Accepted {
		t.Errorf("removal of nobody's machine: %+v", r)
	}
	last := y.events[len(y.events)-1]
	if last.Fact != FactOrphanRemoved || last.By != "alice" || !strings.Contains(last.Message, "vm-2 at site dc1") {
		t.Errorf("the event is %+v", last)
	}
	y.send(command("web", Command{ID: "c4", DeleteFleet: &DeleteFleet{Name: "web"}}))
	y.run()
	if r := remove("c5", living); !r.Accepted || !y.w.Fleet("web").Deleted {
		t.Errorf("removal for a deleted fleet: %+v", r)
	}
	observing := *y.w.Yard()
	observing.ObserveOnly = true
	y.w.Put(&observing)
	if r := remove("c6", living); r.Code != RefusedBrake {
		t.Errorf("removal while the yard only observes: %+v", r)
	}
}
