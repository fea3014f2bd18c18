package replay

import "yardmaster.dev/pkg/plan"

// budgets tells the story of each pool again, event by event in the order of
// the stream, and counts what is in use: nodes taken down on purpose and not
// back, and what the events themselves say of it.
func (l *Ledger) budgets(c *complaints, limits map[string]Limits) {
	for _, es := range l.ordered {
		down := map[string]map[string]bool{} // fleet/pool to nodes
		for _, e := range es {
			limit, ok := limits[e.GetFleet()]
			if !ok || e.GetNode() == plan.FleetEvents {
				continue
			}
			pool := e.GetFleet() + "/" + poolOf(e.GetNode())
			if down[pool] == nil {
				down[pool] = map[string]bool{}
			}
			move(down[pool], e)
			if n := len(down[pool]); n > limit.MaxUnavailable+limit.MaxSurge {
				c.add("%s-%s event %d: %d nodes of the pool are down, allowed are %d",
					e.GetFleet(), e.GetNode(), e.GetNumber(), n, limit.MaxUnavailable+limit.MaxSurge)
			}
			if int(e.GetDisrupted()) > limit.MaxUnavailable || int(e.GetSurged()) > limit.MaxSurge {
				c.add("%s-%s event %d: %d disrupted and %d surged, allowed are %d and %d",
					e.GetFleet(), e.GetNode(), e.GetNumber(), e.GetDisrupted(), e.GetSurged(), limit.MaxUnavailable, limit.MaxSurge)
			}
		}
	}
}

// move counts a ready node that the plan replaces as down until it, or its
// name's next machine, is ready, or nobody wants it any more: a smaller
// target may take just the nodes that are down, and others may then follow.
func move(down map[string]bool, e event) {
	node := e.GetNode()
	to, from, fact := plan.State(e.GetTo()), plan.State(e.GetFrom()), plan.Fact(e.GetFact())
	switch {
	case to == plan.Ready, to == plan.Deleted, fact == plan.FactUnwanted:
		delete(down, node)
	case from == plan.Ready && fact == plan.FactOutdated:
		down[node] = true
	}
}

// poolOf takes the ordinal off a node's key.
func poolOf(key string) string {
	for i := len(key) - 1; i >= 0; i-- {
		if key[i] == '-' {
			return key[:i]
		}
	}
	return key
}
