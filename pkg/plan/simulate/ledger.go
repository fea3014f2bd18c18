package simulate

import (
	"fmt"
	"math/rand/v2"

	"yardmaster.dev/pkg/plan"
)

// ledger is what survives a crash: records, jobs and results.
type ledger struct {
	records map[string]plan.Record
	kinds   map[string][]string // keys by kind, in the order of first writing
	claims  map[string]*plan.Claim
	jobs    map[plan.JobRef]*job
	changed bool // by the newest commit
}

// job is a job's subject.
type job struct {
	plan.Job
	withdrawn bool
	// answered is the first result; later ones of the same attempt are
	// refused by the store.
	answered *plan.Result
	// taken means that the planner has decided on the answer.
	taken bool
}

func newLedger() *ledger {
	return &ledger{
		records: map[string]plan.Record{}, kinds: map[string][]string{},
		claims: map[string]*plan.Claim{}, jobs: map[plan.JobRef]*job{},
	}
}

// key is the subject of a record.
func key(r plan.Record) (kind, subject string) {
	switch r := r.(type) {
	case *plan.Fleet:
		return "fleet", "fleet." + r.Name
	case *plan.Revision:
		return "rev", fmt.Sprintf("rev.%s.%d", r.Fleet, r.Number)
	case *plan.Node:
		return "node", "node." + r.Fleet + "." + r.Key()
	case *plan.DeadLetter:
		return "dlq", "dlq." + r.Fleet + "." + r.Node
	case *plan.Receipt:
		return "rcpt", "rcpt." + r.Fleet + "." + r.ID
	case *plan.Claim:
		return "claim", "claim." + r.Kind + "." + r.Thing
	case *plan.Place:
		return "place", "place." + r.Fleet
	case *plan.Site:
		return "site", "site." + r.Document.Metadata.Name
	case *plan.Network:
		return "network", "network." + r.Document.Metadata.Name
	case *plan.Images:
		return "images", "images." + r.Site
	case *plan.Yard:
		return "yard", "yard"
	}
	return "", ""
}

// write overwrites a record.
func (l *ledger) write(rec plan.Record) {
	kind, subject := key(rec)
	if l.records[subject] == nil {
		l.kinds[kind] = append(l.kinds[kind], subject)
	}
	l.records[subject] = rec
	if c, ok := rec.(*plan.Claim); ok {
		if c.Fleet == "" {
			delete(l.claims, subject)
		} else {
			l.claims[subject] = c
		}
	}
	l.changed = true
}

func (l *ledger) node(fleetName, nodeKey string) *plan.Node {
	n, _ := l.records["node."+fleetName+"."+nodeKey].(*plan.Node)
	return n
}

func (l *ledger) fleet(name string) *plan.Fleet {
	f, _ := l.records["fleet."+name].(*plan.Fleet)
	return f
}

func (l *ledger) revision(name string, number int) *plan.Revision {
	r, _ := l.records[fmt.Sprintf("rev.%s.%d", name, number)].(*plan.Revision)
	return r
}

// nodes yields every node record, in the order of first writing.
func (l *ledger) nodes(yield func(*plan.Node) bool) {
	for _, k := range l.kinds["node"] {
		if n, ok := l.records[k].(*plan.Node); ok && !yield(n) {
			return
		}
	}
}

// load is a planner's start: the memory is filled kind by kind, in any order
// of the kinds, because nothing promises one.
func (l *ledger) load(rng *rand.Rand) *plan.World {
	w := plan.NewWorld(0)
	w.Policy.Chunk = 3 // small fleets shall need steps too
	kinds := []string{"yard", "site", "network", "images", "place", "claim", "fleet", "rev", "node", "dlq", "rcpt"}
	rng.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	for _, kind := range kinds {
		for _, k := range l.kinds[kind] {
			w.Put(clone(l.records[k]))
		}
	}
	return w
}

// clone copies a record as far as a World may change it by sharing strings.
func clone(r plan.Record) plan.Record {
	if n, ok := r.(*plan.Node); ok {
		c := *n
		c.Addresses = append([]plan.Address(nil), n.Addresses...)
		return &c
	}
	return r
}
