package plan

import (
	"fmt"
	"time"
)

// Belonging is what a machine that carries the yard's mark is to the ledger.
type Belonging int

// A machine is a node's, or what it was made for is over (and so never comes
// back), or the ledger does not know of it: then it may be younger than a
// restored backup.
const (
	BelongsToNode Belonging = iota
	BelongsToNobody
	BelongsToUnknown
)

// RemoveOrphans asks whether machines belong to nobody. What is accepted will
// be removed by the site's executor, which proves the owner once more.
type RemoveOrphans struct {
	Site     string
	Machines []OrphanMachine
}

// OrphanMachine is a machine by its mark.
type OrphanMachine struct {
	ID          string
	FleetUID    string
	Node        string // key
	Incarnation int
	// Made is when it was made, by its hypervisor's clock; zero if unknown.
	Made time.Time
}

// Belonging says what a machine that is marked for a fleet, node and
// incarnation is to this World, and why; name is the fleet's. Only a World
// that has seen every record up to the moment at which the machine was seen
// can tell.
func (w *World) Belonging(name string, m OrphanMachine) (Belonging, string) {
	f := w.Fleet(name)
	if f == nil {
		return BelongsToUnknown, "this ledger knows of no fleet " + name
	}
	if f.UID != m.FleetUID {
		return f.elder(m)
	}
	n := w.Node(name, m.Node)
	switch {
	case n == nil:
		return BelongsToUnknown, fmt.Sprintf("fleet %s never had a node %s", name, m.Node)
	case n.Incarnation > m.Incarnation:
		return BelongsToNobody, fmt.Sprintf("incarnation %d is over, the node is at %d", m.Incarnation, n.Incarnation)
	case n.Incarnation < m.Incarnation:
		return BelongsToUnknown, fmt.Sprintf("incarnation %d is younger than this ledger, which knows %d", m.Incarnation, n.Incarnation)
	case n.State == Deleted:
		return BelongsToNobody, "its node is deleted"
	}
	return BelongsToNode, ""
}

// elderBy is how much older than a fleet a machine must be to be of an earlier
// one: the dates are of two clocks.
const elderBy = time.Minute

// elder is the verdict on a machine of another fleet of the same name. Fleets
// follow one another under a name once all nodes are gone, so one that was
// made before this fleet is over. One that was made later is of a fleet that
// this ledger does not know: it may be an old copy.
func (f *Fleet) elder(m OrphanMachine) (Belonging, string) {
	if !m.Made.IsZero() && m.Made.Before(f.Created.Add(-elderBy)) {
		return BelongsToNobody, "it is of an earlier fleet that was called " + f.Name
	}
	return BelongsToUnknown, "it is of another fleet that was called " + f.Name + ", which this ledger does not know"
}

// removeOrphans notes which machines will be removed, if all of them belong
// to nobody. The record of a deleted fleet takes the note, too.
func (d *decision) removeOrphans(c *RemoveOrphans) *Receipt {
	f := d.w.fleets[d.in.Fleet]
	if d.observing() {
		return refuse(RefusedBrake, observesOnly)
	}
	if f == nil || f.record == nil {
		return refuse(RefusedNotFound, "this ledger knows of no fleet "+d.in.Fleet)
	}
	for _, m := range c.Machines {
		if b, words := d.w.Belonging(f.name, m); b != BelongsToNobody {
			if words == "" {
				words = "it is its node's"
			}
			return refuse(RefusedInUse, fmt.Sprintf("machine %s (%s-%s): %s", m.ID, f.name, m.Node, words))
		}
	}
	for _, m := range c.Machines {
		d.fleetEvent(d.fleet(f), FactOrphanRemoved, fmt.Sprintf("machine %s at site %s: node %s, incarnation %d", m.ID, c.Site, m.Node, m.Incarnation))
	}
	return accept(f.record.Revision, "%d of nobody's machines are removed", len(c.Machines))
}
