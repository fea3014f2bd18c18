package plan

import (
	"cmp"
	"fmt"

	"yardmaster.dev/pkg/fleet"
)

// over returns a fleet's brakes, which have their defaults, with those of a
// command in their place.
func (b Brakes) over(p fleet.Protect) Brakes {
	return Brakes{
		MaxDestroyPercent: cmp.Or(b.MaxDestroyPercent, p.MaxDestroyPercent),
		MaxCreate:         cmp.Or(b.MaxCreate, p.MaxCreate),
	}
}

// deed is what a command does at once that brakes look at.
type deed struct{ creates, destroys, present int }

// beyond says which brakes the deed runs into. One node may always go: in a
// small fleet every percentage is large.
func (b Brakes) beyond(d deed) []string {
	var out []string
	if d.destroys > 1 && d.destroys*100 > *b.MaxDestroyPercent*d.present {
		out = append(out, fmt.Sprintf(
			"this destroys %d of %d nodes (%.1f %%), the limit is %d %%; raise spec.protect.maxDestroyPercent, or allow it once: --max-destroy-percent %d",
			d.destroys, d.present, percent(d.destroys, d.present), *b.MaxDestroyPercent, (d.destroys*100+d.present-1)/d.present))
	}
	if d.creates > *b.MaxCreate {
		out = append(out, fmt.Sprintf(
			"this makes %d more nodes, the limit is %d; raise spec.protect.maxCreate, or allow it once: --max-create %d",
			d.creates, *b.MaxCreate, d.creates))
	}
	return out
}

func percent(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

// brake refuses a plan that destroys or makes too much at once.
func (p *Plan) brake() {
	b := Brakes{MaxDestroyPercent: &p.DestroyLimit, MaxCreate: &p.CreateLimit}
	if words := b.beyond(deed{creates: p.Creates, destroys: p.Destroys, present: p.Present}); len(words) > 0 {
		p.Code, p.Refusals = RefusedBrake, words
	}
}

// braked refuses a command that destroys or makes too much of a fleet at
// once.
func (f *fleetState) braked(b Brakes, what deed) *Receipt {
	rev := f.spec()
	if rev == nil {
		return nil
	}
	for _, p := range f.pools {
		what.present += p.wanted()
	}
	if words := b.over(rev.spec.Spec.Protect).beyond(what); len(words) > 0 {
		return refuse(RefusedBrake, words...)
	}
	return nil
}

// scaled is what a new target does to a pool at once.
func (f *fleetState) scaled(name string, target int) deed {
	c, p := f.course(name), f.pools[name]
	if p == nil {
		return deed{creates: target}
	}
	c.target = target
	out := deed{creates: max(0, target-p.wanted())}
	for _, i := range p.surplus(c) {
		if p.nodes[i].MachineUUID != "" {
			out.destroys++
		}
	}
	return out
}
