package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"yardmaster.dev/pkg/fleet"
)

// causes are the fields that make a node outdated: those in which the
// revision that it is made from differs from the new document, as far as
// machines are made from them.
func (d *differ) causes(n *Node) []string {
	rev := d.f.revs[n.Revision]
	if rev == nil {
		return []string{fmt.Sprintf("revision %d, which it is made from, is not known any more", n.Revision)}
	}
	return causes(rev.spec, d.next, n.Pool)
}

func causes(was, now *fleet.Fleet, poolName string) []string {
	var out []string
	path := "spec.pools[" + poolName + "]"
	oldPool, _ := was.Pool(poolName)
	newPool, ok := now.Pool(poolName)
	if !ok || oldPool == nil {
		return []string{path + ": no longer in the spec"}
	}
	compare(&out, "spec", shared(was), shared(now))
	compare(&out, path, own(oldPool), own(newPool))
	return out
}

// shared is what all machines of a fleet are made from, own what those of a
// pool are; both as plain JSON values, to be compared field by field.
func shared(f *fleet.Fleet) any {
	return plain(fleet.FleetSpec{OS: f.Spec.OS, Config: f.Spec.Config, Vars: f.Spec.Vars, Secrets: f.Spec.Secrets}, "pools")
}

func own(p *fleet.Pool) any {
	return plain(fleet.Pool{
		Hostname: p.Hostname, Networks: p.Networks, Config: p.Config, Vars: p.Vars, VSphere: p.VSphere,
	}, "name", "replicas")
}

func plain(v any, without ...string) any {
	var out map[string]any
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil { // documents are strings, numbers and lists of them
		return nil
	}
	for _, k := range without {
		delete(out, k)
	}
	return out
}

// compare adds a line for every leaf in which two values differ.
func compare(out *[]string, path string, a, b any) {
	am, aok := a.(map[string]any)
	bm, bok := b.(map[string]any)
	if aok && bok {
		keys := slices.Sorted(maps.Keys(am))
		for k := range bm {
			if _, ok := am[k]; !ok {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		for _, k := range keys {
			compare(out, path+"."+k, am[k], bm[k])
		}
		return
	}
	al, aok := a.([]any)
	bl, bok := b.([]any)
	if aok && bok {
		for i := range max(len(al), len(bl)) {
			compare(out, fmt.Sprintf("%s[%d]", path, i), at(al, i), at(bl, i))
		}
		return
	}
	if x, y := show(a), show(b); x != y {
		*out = append(*out, cause(path, a, b))
	}
}

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// cause writes one difference in a line; of long texts it only says that they
// changed.
func cause(path string, a, b any) string {
	if a == nil {
		return path + " is new"
	}
	if b == nil {
		return path + " is gone"
	}
	x, y := show(a), show(b)
	if len(x)+len(y) > 80 || strings.Contains(x+y, "\n") {
		return path + " changes"
	}
	return path + " " + x + " -> " + y
}

func show(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil { // it came out of JSON
		return fmt.Sprint(v)
	}
	return string(b)
}
