package replay

import (
	"fmt"

	"yardmaster.dev/pkg/plan"
)

// budgets tells the story of each pool again, batch by batch in the order of
// the stream, and holds it against the counts of that moment: ready nodes may
// only be taken down while fewer than maxUnavailable of the target are
// missing, and none may be made beyond target + maxSurge. Within a batch the
// events stand node by node, not in the order of the decisions; a batch is
// atomic, so that only its end was ever true.
func (l *Ledger) budgets(c *complaints, limits map[string]Limits) {
	for _, es := range l.ordered {
		pools := map[string]*pool{}
		for len(es) > 0 {
			n := batchOf(es)
			for _, e := range es[:n] {
				if limit, ok := limits[e.GetFleet()]; ok {
					take(pools, e, limit, c)
				}
			}
			for _, p := range pools {
				p.judge(c, es[n-1])
			}
			es = es[n:]
		}
	}
}

// batchOf is how many of the first events landed together.
func batchOf(es []event) int {
	n := 1
	for n < len(es) && es[n].batch == es[0].batch && es[0].batch != "" {
		n++
	}
	return n
}

// pool is the state of a pool's nodes at a moment of the replay.
type pool struct {
	name         string
	limit        Limits
	target       int
	ready, total int
	states       map[string]plan.State
	// What the present batch did.
	taken, made     int
	lowest, highest int // target
}

func take(pools map[string]*pool, e event, limit Limits, c *complaints) {
	if e.GetNode() == plan.FleetEvents {
		retarget(pools, e)
		return
	}
	key := e.GetFleet() + "/" + poolOf(e.GetNode())
	if pools[key] == nil {
		pools[key] = &pool{
			name: key, limit: limit, states: map[string]plan.State{},
			target: limit.Target, lowest: limit.Target, highest: limit.Target,
		}
	}
	pools[key].take(e)
	if int(e.GetDisrupted()) > limit.MaxUnavailable || int(e.GetSurged()) > limit.MaxSurge {
		c.add("%s-%s event %d: %d disrupted and %d surged, allowed are %d and %d",
			e.GetFleet(), e.GetNode(), e.GetNumber(), e.GetDisrupted(), e.GetSurged(), limit.MaxUnavailable, limit.MaxSurge)
	}
}

// retarget follows the fleet's own events: their words are the only place
// where a target's past stands.
func retarget(pools map[string]*pool, e event) {
	var name string
	var was, now int
	if e.GetFact() != string(plan.FactScaled) {
		return
	}
	if _, err := fmt.Sscanf(e.GetMessage(), "pool %s target %d -> %d", &name, &was, &now); err != nil {
		return
	}
	if p := pools[e.GetFleet()+"/"+name[:len(name)-1]]; p != nil {
		p.target, p.lowest, p.highest = now, min(p.lowest, now), max(p.highest, now)
	}
}

func (p *pool) take(e event) {
	from, to := p.states[e.GetNode()], plan.State(e.GetTo())
	p.states[e.GetNode()] = to
	if from == plan.Ready && to != plan.Ready {
		p.ready--
		if fact := plan.Fact(e.GetFact()); fact == plan.FactOutdated || fact == plan.FactRestarting {
			p.taken++
		}
	}
	if from != plan.Ready && to == plan.Ready {
		p.ready++
	}
	if gone(from) && !gone(to) {
		p.total++
		p.made++
	}
	if !gone(from) && gone(to) {
		p.total--
	}
}

// judge looks at the end of a batch. Where the target moved within it, the
// decision may have seen either value.
func (p *pool) judge(c *complaints, at event) {
	if missing := p.lowest - p.ready; p.taken > 0 && missing > p.limit.MaxUnavailable {
		c.add("%s at %s-%s event %d: %d ready nodes were taken down and %d of %d are missing, allowed are %d",
			p.name, at.GetFleet(), at.GetNode(), at.GetNumber(), p.taken, missing, p.lowest, p.limit.MaxUnavailable)
	}
	if p.made > 0 && p.total > p.highest+p.limit.MaxSurge {
		c.add("%s at %s-%s event %d: %d nodes were made and there are %d for a target of %d, allowed are %d more",
			p.name, at.GetFleet(), at.GetNode(), at.GetNumber(), p.made, p.total, p.highest, p.limit.MaxSurge)
	}
	p.taken, p.made, p.lowest, p.highest = 0, 0, p.target, p.target
}

func gone(s plan.State) bool { return s == plan.Nothing || s == plan.Deleted }

// poolOf takes the ordinal off a node's key.
func poolOf(key string) string {
	for i := len(key) - 1; i >= 0; i-- {
		if key[i] == '-' {
			return key[:i]
		}
	}
	return key
}
