package plan

import (
	"fmt"
	"maps"
	"slices"
)

// maxBlockers is how many nodes a plan names that hold it up.
const maxBlockers = 5

// blockers says which failed nodes may hold up what the plan does to others:
// they count as unavailable, or as one that exists beyond the target, and the
// plan itself does nothing about them.
func (d *differ) blockers(p *Plan) []string {
	waits, changed := p.budgeted()
	var out []string
	more := 0
	for _, name := range slices.Sorted(maps.Keys(waits)) {
		for _, n := range d.f.pools[name].nodes {
			if n == nil || n.State != Failed || n.Skipped || changed[n.Key()] {
				continue
			}
			if len(out) == maxBlockers {
				more++
				continue
			}
			out = append(out, blocker(n))
		}
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("%s more are so; yardctl failed lists them", nodes(more)))
	}
	return out
}

// budgeted are the pools in which the plan takes nodes down, and all the nodes
// that it changes.
func (p *Plan) budgeted() (pools, changed map[string]bool) {
	pools, changed = map[string]bool{}, map[string]bool{}
	for i := range p.Changes {
		c := &p.Changes[i]
		changed[c.Key] = true
		if c.Action == ChangeReplace || c.Action == ChangeRerun || c.Action == ChangeResize && !c.Hot {
			pools[c.Pool] = true
		}
	}
	return pools, changed
}

func blocker(n *Node) string {
	if n.Goal != Present {
		return fmt.Sprintf("node %s could not be removed (%s) and counts against the budgets of its pool: the rollout may wait for it; yardctl retry %s",
			n.Name(), n.Reason, n.Name())
	}
	return fmt.Sprintf("node %s has failed (%s) and counts as unavailable: the rollout may wait for it; yardctl retry, skip or replace %s",
		n.Name(), n.Reason, n.Name())
}
