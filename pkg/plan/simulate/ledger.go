package simulate

import (
	"fmt"
	"math/rand/v2"
	"time"

	"yardmaster.dev/pkg/plan"
)

// ledger is what survives a crash: records, jobs and results.
type ledger struct {
	records map[string]plan.Record
	kinds   map[string][]string // keys by kind, in the order of first writing
	claims  map[string]*plan.Claim
	jobs    map[plan.JobRef]*job
	answers map[place]*plan.Result
	changed bool // by the newest commit
}

// job is a job's subject.
type job struct {
	plan.Job
	withdrawn bool
	// taken means that the planner has decided on the answer.
	taken bool
}

// place is the subject of an answer; it outlives a power cut that undid its
// job, and may be that of another job then.
type place struct {
	plan.JobRef
	attempt int
}

// answered reports whether a job has its answer, and not that of another one
// with its number that was undone.
func (l *ledger) answered(j *job) bool {
	a := l.answers[place{j.JobRef, j.Attempt}]
	return a != nil && a.Made == j.Made
}

// store stores an answer where none is, or where that of an undone job stands
// in the way of the job's own.
func (l *ledger) store(j *job, res *plan.Result) bool {
	at := place{j.JobRef, j.Attempt}
	if there, stands := l.answers[at], l.jobs[j.JobRef]; there != nil && (stands == nil || there.Made == stands.Made || j.Made != stands.Made) {
		return false
	}
	l.answers[at] = res
	return true
}

func newLedger() *ledger {
	return &ledger{
		records: map[string]plan.Record{}, kinds: map[string][]string{},
		claims: map[string]*plan.Claim{}, jobs: map[plan.JobRef]*job{}, answers: map[place]*plan.Result{},
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
	w.Policy.Aside = 30 * time.Minute
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
