package specfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"yardmaster.dev/pkg/fleet"
)

// Together returns what is wrong with documents that are right one by one, as
// far as they are all there: what they refer to may be in the yard already.
// Without it these end as nodes that wait for an address, or as a refusal by
// the planner.
func Together(docs []*Parsed) []Problem {
	t := &together{networks: map[string]*Parsed{}, wanted: map[string]int{}, pools: map[string]*Parsed{}}
	for _, d := range docs {
		if n, ok := d.Document.(*fleet.Network); ok {
			t.network(d, n)
		}
	}
	for _, d := range docs {
		if f, ok := d.Document.(*fleet.Fleet); ok {
			t.fleet(d, f)
		}
	}
	return t.problems
}

type together struct {
	networks map[string]*Parsed
	// wanted counts the addresses of a Network that pools start with.
	wanted map[string]int
	// pools are the beginnings of nodes' names.
	pools    map[string]*Parsed
	problems []Problem
}

func (t *together) report(d *Parsed, p fleet.Problem) {
	t.problems = append(t.problems, d.Locate([]fleet.Problem{p})...)
}

// network compares a Network's range with those of the others on the same
// portgroup.
func (t *together) network(d *Parsed, n *fleet.Network) {
	first, last, ok := n.Spec.Addresses()
	for _, name := range slices.Sorted(maps.Keys(t.networks)) {
		o, is := t.networks[name].Document.(*fleet.Network)
		if !is || !ok || o.Spec.Portgroup != n.Spec.Portgroup {
			continue
		}
		from, to, ok := o.Spec.Addresses()
		if ok && !last.Less(from) && !to.Less(first) {
			t.report(d, fleet.Problem{
				Path: "spec.range", Message: fmt.Sprintf("gives out addresses that Network %s gives out too", name),
				Hint: "split the range, or give them different portgroups if they are different networks",
			})
		}
	}
	t.networks[n.Metadata.Name] = d
}

func (t *together) fleet(d *Parsed, f *fleet.Fleet) {
	for i := range f.Spec.Pools {
		p := &f.Spec.Pools[i]
		at := fmt.Sprintf("spec.pools[%d]", i)
		begin := f.Metadata.Name + "-" + p.Name
		if other := t.pools[begin]; other != nil && other != d {
			t.report(d, fleet.Problem{
				Path: at + ".name", Message: fmt.Sprintf("its nodes would be called %s-N like those of fleet %s", begin, other.Document.DocumentName()),
				Hint: "rename the pool or the fleet",
			})
		}
		t.pools[begin] = d
		for _, wrong := range fleet.Torn(p, t.portgroup) {
			wrong.Path = at + "." + wrong.Path
			t.report(d, wrong)
		}
		for j, ref := range p.Networks {
			if !ref.DHCP {
				t.addresses(d, fmt.Sprintf("%s.networks[%d].ref", at, j), ref.Ref, p.Replicas)
			}
		}
	}
}

// portgroup is that of a Network in the files, empty if it is not there.
func (t *together) portgroup(network string) string {
	if doc := t.networks[network]; doc != nil {
		if n, ok := doc.Document.(*fleet.Network); ok {
			return n.Spec.Portgroup
		}
	}
	return ""
}

// addresses checks that a Network in the files has room for the pools there.
func (t *together) addresses(d *Parsed, path, network string, replicas int) {
	doc := t.networks[network]
	if doc == nil {
		return
	}
	n, ok := doc.Document.(*fleet.Network)
	if !ok {
		return
	}
	before := t.wanted[network]
	t.wanted[network] += replicas
	if size := n.Spec.Size(); t.wanted[network] > size && size > 0 {
		words := []string{fmt.Sprintf("Network %s has %d addresses, the pool wants %d", network, size, replicas)}
		if before > 0 {
			words = append(words, fmt.Sprintf("and pools before it %d", before))
		}
		t.report(d, fleet.Problem{Path: path, Message: strings.Join(words, " "), Hint: "widen spec.range of the Network, or lower replicas"})
	}
}
