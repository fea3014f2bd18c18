package gateway

import (
	"strings"

	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// findNode returns the node of that name, nil if there is none. The name
// alone does not say where the fleet's part ends: web-edge-0 may be pool
// edge of fleet web or pool 0... of fleet web-edge. Names are claimed when a
// fleet is applied, so that at most one of them is not deleted.
func findNode(w *plan.World, name string) *plan.Node {
	var deleted *plan.Node
	for i := range len(name) {
		if name[i] != '-' {
			continue
		}
		n := w.Node(name[:i], name[i+1:])
		if n == nil {
			continue
		}
		if n.State != plan.Deleted {
			return n
		}
		deleted = n
	}
	return deleted
}

// shardOf returns where a fleet lives, false if it was never placed.
func shardOf(w *plan.World, fleet string) (int, bool) {
	if p := w.Place(fleet); p != nil {
		return p.Shard, true
	}
	return 0, false
}

// keyOf returns a node's key from its name.
func keyOf(fleet, node string) (string, bool) { return strings.CutPrefix(node, fleet+"-") }

// fleetsOf returns the fleets that are not deleted; only is the name of one,
// or empty for all.
func fleetsOf(w *plan.World, only string) []*plan.Fleet {
	if only != "" {
		if f := w.Fleet(only); f != nil && !f.Deleted {
			return []*plan.Fleet{f}
		}
		return nil
	}
	var out []*plan.Fleet
	for _, f := range w.Fleets() {
		if !f.Deleted {
			out = append(out, f)
		}
	}
	return out
}

// specs remembers, for the length of one answer, what the present revisions
// say of pools.
type specs struct {
	world *plan.World
	seen  map[poolName]*poolSpec
	// last is what was asked for last: nodes come pool by pool.
	last poolName
	spec *poolSpec
}

type poolName struct{ fleet, pool string }

func newSpecs(w *plan.World) *specs { return &specs{world: w, seen: map[poolName]*poolSpec{}} }

// of returns what the fleet's present revision says of the pool.
func (s *specs) of(fleetName, pool string) *poolSpec {
	name := poolName{fleetName, pool}
	if s.spec != nil && s.last == name {
		return s.spec
	}
	if s.seen[name] == nil {
		s.seen[name] = s.find(fleetName, pool)
	}
	s.last, s.spec = name, s.seen[name]
	return s.spec
}

func (s *specs) find(fleetName, pool string) *poolSpec {
	out := &poolSpec{}
	if f := s.world.Spec(fleetName); f != nil {
		out.attempts = f.Spec.Retry.Attempts
		if p, ok := f.Pool(pool); ok {
			out.pool, out.hash = p, s.world.PoolHash(fleetName, pool)
			out.layers = len(f.Spec.Config) + len(p.Config)
			if p.VSphere != nil {
				out.template = p.VSphere.Source.Template
			}
		}
	}
	return out
}

// nodeSpec is a node with what its fleet's present revision says of it; it
// outlives the look into the World.
type nodeSpec struct {
	*plan.Node
	spec *poolSpec
}

func (s *specs) node(n *plan.Node) nodeSpec { return nodeSpec{n, s.of(n.Fleet, n.Pool)} }

func (n nodeSpec) view() *v1.NodeView { return viewNode(n.Node, n.spec) }
