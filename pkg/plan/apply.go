package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"yardmaster.dev/pkg/fleet"
)

// applyFleet accepts a spec or says why not. The plan that it makes is the
// one that Preview shows.
func (d *decision) applyFleet(c *Command) *Receipt {
	doc := &c.ApplyFleet.Document
	if doc.Metadata.Name != d.in.Fleet {
		return refuse(RefusedInvalid, fmt.Sprintf("the document is fleet %s, the command is for %s", doc.Metadata.Name, d.in.Fleet))
	}
	if d.observing() {
		return refuse(RefusedBrake, observesOnly)
	}
	terms := c.ApplyFleet.terms()
	p := newDiffer(d.w, doc, terms).preview(terms, d.now)
	if moved := d.moved(&p, c.ApplyFleet.PlanBasis); moved != nil {
		return moved
	}
	if p.Code != "" {
		return refuse(p.Code, p.Refusals...)
	}
	f := d.w.fleet(doc.Metadata.Name)
	r := d.nextFleet(f, c.ID)
	if claims := d.nameClaims(r, specThings(doc)); len(claims) > 0 {
		d.claims = append(d.claims, claims...)
		return &Receipt{}
	}
	d.accept(f, &p, c)
	d.advance(f)
	return accept(p.To, "%s%s", p.Summary(), d.whilePaused(f.name))
}

// nextFleet is the fleet's record: a new one, with a UID of its own but with
// the numbers of its predecessors, if none lives under the name.
func (d *decision) nextFleet(f *fleetState, commandID string) *Fleet {
	fresh := f.record == nil || f.record.Deleted
	r := d.fleet(f)
	if !fresh {
		return r
	}
	*r = Fleet{
		Name: f.name, UID: FleetUID(d.w.yard.UID, f.name, commandID), Created: d.now,
		Revision: r.Revision, Event: r.Event,
		Targets: map[string]int{}, SpecReplicas: map[string]int{}, Disrupted: map[string]int{}, Surged: map[string]int{},
	}
	return r
}

// accept writes the new revision, if the document is one, and its targets.
func (d *decision) accept(f *fleetState, p *Plan, c *Command) {
	doc := &c.ApplyFleet.Document
	r := d.fleet(f)
	if p.From == p.To && p.From > 0 {
		return
	}
	r.Revision = p.To
	d.put("revision/"+strconv.Itoa(p.To), &Revision{
		Fleet: f.name, FleetUID: r.UID, Number: p.To, At: d.now, By: d.by, Document: *doc,
	})
	r.Targets, r.SpecReplicas = nextTargets(r, doc, c.ApplyFleet.terms())
	d.trim(f)
	d.fleetEvent(r, FactRevisionChanged, p.Summary())
}

// moved refuses an apply whose plan no longer holds, and says what changed.
func (d *decision) moved(p *Plan, basis string) *Receipt {
	if basis == "" {
		return nil
	}
	was, now := readBasis(basis), readBasis(p.Basis)
	if was.digest == now.digest {
		return nil
	}
	what := d.news(p, was, now)
	if what != "" {
		what = ": " + what
	}
	return refuse(RefusedMoved, "the plan no longer holds"+what+"; plan again")
}

// news says what has changed since a plan was made: another revision, another
// target, or the node that was the first to move.
func (d *decision) news(p *Plan, was, now basis) string {
	f := d.w.fleets[p.Fleet]
	if f == nil || f.record == nil {
		return ""
	}
	if rev := f.spec(); rev != nil && rev.record.At.After(was.at) {
		return fmt.Sprintf("revision %d was applied by %s at %s", rev.record.Number, rev.record.By, clock(rev.record.At))
	}
	for _, pool := range slices.Sorted(maps.Keys(now.targets)) {
		if had, ok := was.targets[pool]; ok && had != now.targets[pool] {
			return fmt.Sprintf("pool %s/%s was scaled from %s to %s", p.Fleet, pool, had, now.targets[pool])
		}
	}
	if n := d.firstMoved(p.Fleet, was.at); n != nil {
		return fmt.Sprintf("node %s became %s at %s", n.Name(), n.State, clock(n.Since))
	}
	return ""
}

// firstMoved is the node of a fleet that has changed its state first since.
func (d *decision) firstMoved(fleetName string, since time.Time) *Node {
	var first *Node
	for n := range d.w.Nodes(fleetName) {
		if n.Since.After(since) && (first == nil || n.Since.Before(first.Since)) {
			first = n
		}
	}
	return first
}

func clock(t time.Time) string { return t.UTC().Format(time.TimeOnly) }

// refusals are the reasons that a document cannot be applied for, all of the
// first kind that is found.
func (d *differ) refusals() (code string, words []string) {
	for _, p := range d.doc.Validate() {
		words = append(words, p.Path+": "+p.Message)
	}
	if len(words) > 0 {
		return RefusedInvalid, words
	}
	if r := d.f.record; r != nil && r.Deleting {
		return RefusedInUse, []string{fmt.Sprintf("fleet %s is being deleted; wait until it is gone", r.Name)}
	}
	if words = d.unknown(); len(words) > 0 {
		return RefusedNotFound, words
	}
	if words = d.torn(); len(words) > 0 {
		return RefusedInvalid, words
	}
	if words = d.collisions(); len(words) > 0 {
		return RefusedCollision, words
	}
	return "", nil
}

// unknown names the documents that the fleet refers to and that do not exist.
func (d *differ) unknown() []string {
	var out []string
	for i := range d.doc.Spec.Pools {
		p := &d.doc.Spec.Pools[i]
		path := fmt.Sprintf("spec.pools[%d]", i)
		for _, s := range p.Sites() {
			if d.w.Site(s) == nil {
				out = append(out, fmt.Sprintf("%s.vsphere.site: there is no Site %q; apply it first", path, s))
			}
		}
		for j, ref := range p.Networks {
			if ref.Ref != "" && d.w.Network(ref.Ref) == nil {
				out = append(out, fmt.Sprintf("%s.networks[%d].ref: there is no Network %q; apply it first", path, j, ref.Ref))
			}
		}
	}
	return out
}

// torn names the network cards that two Networks want to see connected to
// different portgroups.
func (d *differ) torn() []string {
	var out []string
	for i := range d.doc.Spec.Pools {
		for _, wrong := range fleet.Torn(&d.doc.Spec.Pools[i], d.portgroup) {
			out = append(out, fmt.Sprintf("spec.pools[%d].%s: %s; %s", i, wrong.Path, wrong.Message, wrong.Hint))
		}
	}
	return out
}

// portgroup is that of a Network, empty if there is none.
func (d *differ) portgroup(network string) string {
	if n := d.w.Network(network); n != nil {
		return n.Document.Spec.Portgroup
	}
	return ""
}

// collisions names the pools whose nodes would be called like another
// fleet's.
func (d *differ) collisions() []string {
	var out []string
	for i := range d.doc.Spec.Pools {
		name := fleetPool(d.doc, i)
		c := d.w.Claim(ClaimName, name)
		if c != nil && c.Fleet != d.doc.Metadata.Name && !d.w.left(c) {
			out = append(out, fmt.Sprintf("spec.pools[%d].name: nodes %s-<n> are fleet %s's already; choose another name",
				i, name, c.Fleet))
		}
	}
	return out
}

func fleetPool(doc *fleet.Fleet, i int) string {
	return doc.Metadata.Name + "-" + doc.Spec.Pools[i].Name
}
