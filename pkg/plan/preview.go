package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"yardmaster.dev/pkg/fleet"
)

// Plan is what applying a document would do. It is computed by the function
// that decides on the apply.
type Plan struct {
	Fleet string
	// From is the newest revision, 0 for a new fleet, To the one after it;
	// they are equal if the document is the newest revision's.
	From int
	To   int
	// ID names the plan: equal documents on equal states have equal plans.
	ID string
	// Basis, sent with the apply, holds the planner to this very plan.
	Basis   string
	Changes []Change
	// Keep counts the nodes that nothing happens to.
	Keep    int
	Creates int
	// Resizes counts machines that are changed where they are, Restarts those
	// of them that are restarted for it.
	Resizes  int
	Restarts int
	// Reruns counts machines on which Ignition runs again.
	Reruns   int
	Replaces int
	Deletes  int
	// Present counts the nodes before; Destroys those of them whose machine
	// goes, which the brake limits to DestroyLimit per cent.
	Present      int
	Destroys     int
	DestroyLimit int
	// CreateLimit is the most nodes that may be made without being confirmed.
	CreateLimit    int
	MaxUnavailable int
	MaxSurge       int
	// Code and Refusals say why the apply would be refused; empty if it
	// would not.
	Code     string
	Refusals []string
	Notes    []string
	// Addresses and Disks are what it needs, Forecast how long it takes.
	Addresses []AddressNeed
	Disks     []DiskNeed
	Forecast  Forecast
}

// DestroyPercent is the share of the present nodes that the plan destroys.
func (p *Plan) DestroyPercent() float64 {
	return percent(p.Destroys, p.Present)
}

// Summary counts what the plan does, in a line.
func (p *Plan) Summary() string {
	if len(p.Changes) == 0 {
		return "nothing to change, keep " + nodes(p.Keep)
	}
	var parts []string
	for _, c := range []struct {
		count int
		word  string
	}{{p.Creates, "create"}, {p.Resizes, "resize"}, {p.Reruns, "rerun"}, {p.Replaces, "replace"}, {p.Deletes, "delete"}, {p.Keep, "keep"}} {
		if c.count > 0 {
			parts = append(parts, c.word+" "+strconv.Itoa(c.count))
		}
	}
	return strings.Join(parts, ", ")
}

// Preview says what applying the document would do now. It reads the World
// only.
func Preview(w *World, doc *fleet.Fleet, now time.Time) Plan {
	return PreviewWith(w, doc, Terms{}, now)
}

// Terms are what an apply says besides its document.
type Terms struct {
	Brakes
	KeepTargets bool
}

func (a *ApplyFleet) terms() Terms { return Terms{Brakes: a.Brakes, KeepTargets: a.KeepTargets} }

// PreviewWith is Preview on an apply's terms.
func PreviewWith(w *World, doc *fleet.Fleet, t Terms, now time.Time) Plan {
	d := newDiffer(w, doc, t)
	p := d.preview(t, now)
	if p.Basis != "" {
		d.forecast(&p)
		d.notes(&p)
	}
	return p
}

// preview is what decides; a forecast and notes are for readers.
func (d *differ) preview(t Terms, now time.Time) Plan {
	doc := d.doc
	limits := t.over(d.next.Spec.Protect)
	p := Plan{Fleet: doc.Metadata.Name, DestroyLimit: *limits.MaxDestroyPercent, CreateLimit: *limits.MaxCreate}
	p.MaxUnavailable, p.MaxSurge = *d.next.Spec.Rollout.MaxUnavailable, *d.next.Spec.Rollout.MaxSurge
	if p.Code, p.Refusals = d.refusals(); p.Code != "" {
		return p
	}
	d.revisions(&p)
	for _, pd := range d.pools() {
		p.Changes = append(p.Changes, pd.changes...)
		p.Keep += pd.keep
		p.Present += pd.present
	}
	p.tally()
	digest := d.digest(p.Changes)
	p.Basis = writeBasis(now, digest, d.f.record)
	p.ID = shortHash(digest, string(canonical(doc)))
	p.brake()
	return p
}

func (d *differ) revisions(p *Plan) {
	p.To = 1
	if d.f.record == nil {
		return
	}
	p.From, p.To = d.f.record.Revision, d.f.record.Revision+1
	if rev := d.f.spec(); rev != nil && !d.f.record.Deleted && equal(&rev.record.Document, d.doc) {
		p.To = p.From
	}
	if d.f.record.Deleted {
		p.From = 0
	}
}

func (p *Plan) tally() {
	for i := range p.Changes {
		c := &p.Changes[i]
		switch c.Action {
		case ChangeCreate:
			p.Creates++
		case ChangeResize:
			p.Resizes++
			if !c.Hot {
				p.Restarts++
			}
		case ChangeRerun:
			p.Reruns++
		case ChangeReplace:
			p.Replaces++
		case ChangeDelete:
			p.Deletes++
		}
		if c.Action != ChangeCreate && c.Destroys {
			p.Destroys++
		}
	}
}

// digest covers what the plan was computed from, as far as it matters for the
// outcome: the fleet, its revision and targets, and what happens to whom.
func (d *differ) digest(changes []Change) string {
	h := sha256.New()
	if r := d.f.record; r != nil {
		fmt.Fprintf(h, "%s %d %v\n", r.UID, r.Revision, r.Deleted)
		for _, name := range slices.Sorted(maps.Keys(r.Targets)) {
			fmt.Fprintf(h, "%s=%d\n", name, r.Targets[name])
		}
	}
	for i := range changes {
		c := &changes[i]
		h.Write([]byte(c.Key))
		h.Write([]byte{' '})
		h.Write([]byte(c.Action))
		if c.Hot {
			h.Write([]byte(" hot"))
		}
		h.Write([]byte{'\n'})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func shortHash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:4])
}

func canonical(doc fleet.Document) []byte {
	b, err := fleet.Canonical(doc)
	if err != nil { // strings, numbers and lists of them
		panic(err)
	}
	return b
}

// notes says what a reader of the plan should know besides.
func (d *differ) notes(p *Plan) {
	if p.From == p.To && p.From > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("the document is revision %d already", p.From))
	}
	for _, n := range d.waiting() {
		p.Notes = append(p.Notes, fmt.Sprintf(
			"node %s does not take its new size while it runs, and no node may be missing: set spec.rollout.maxUnavailable to 1 or more", n.Name()))
	}
	p.Notes = append(p.Notes, d.blockers(p)...)
	if d.w.halted(p.Fleet) {
		p.Notes = append(p.Notes, d.w.haltWords(p.Fleet)+": nothing is begun until then")
	}
	for _, a := range p.Addresses {
		if a.Free < a.Needs {
			p.Notes = append(p.Notes, fmt.Sprintf("Network %s has %d free addresses, %d are needed: the rest of the nodes wait",
				a.Network, a.Free, a.Needs)+d.w.asideWords(a.Network))
		}
	}
}
