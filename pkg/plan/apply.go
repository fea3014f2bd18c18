package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	p := preview(d.w, doc, c.ApplyFleet.terms(), d.now)
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
	return accept(p.To, "%s", p.Summary())
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
	stamp, digest, ok := strings.Cut(basis, "-")
	_, now, _ := strings.Cut(p.Basis, "-")
	if basis == "" || (ok && digest == now) {
		return nil
	}
	words := []string{"the plan no longer holds; plan again"}
	ms, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return refuse(RefusedMoved, words...)
	}
	since := time.UnixMilli(ms)
	var news []*Node
	for n := range d.w.Nodes(p.Fleet) {
		if n.Since.After(since) {
			news = append(news, n)
		}
	}
	slices.SortStableFunc(news, func(a, b *Node) int { return a.Since.Compare(b.Since) })
	if len(news) > 0 {
		n := news[0]
		words[0] = fmt.Sprintf("the plan no longer holds: node %s became %s at %s; plan again",
			n.Name(), n.State, n.Since.UTC().Format(time.TimeOnly))
	}
	return refuse(RefusedMoved, words...)
}

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
		if s := site(p); s != "" && d.w.Site(s) == nil {
			out = append(out, fmt.Sprintf("%s.vsphere.site: there is no Site %q; apply it first", path, s))
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
