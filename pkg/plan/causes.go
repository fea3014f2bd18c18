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
	out := causes(rev.spec, d.next, n.Pool)
	if len(out) == 0 && n.refused() {
		out = []string{"its machine does not take the change while it runs"}
	}
	return out
}

func causes(was, now *fleet.Fleet, poolName string) []string {
	path := "spec.pools[" + poolName + "]"
	oldPool, _ := was.Pool(poolName)
	newPool, ok := now.Pool(poolName)
	if !ok || oldPool == nil {
		return []string{path + ": no longer in the spec"}
	}
	var fields []FieldChange
	compare(&fields, "spec", shared(was), shared(now))
	compare(&fields, path, own(oldPool), own(newPool))
	return lines(fields)
}

func lines(fields []FieldChange) []string {
	var out []string
	for _, f := range fields {
		out = append(out, f.String())
	}
	return out
}

// shared is what all machines of a fleet are made from, own what those of a
// pool are; both as plain JSON values, to be compared field by field.
func shared(f *fleet.Fleet) any {
	return plain(fleet.FleetSpec{OS: f.Spec.OS, Config: f.Spec.Config, Vars: f.Spec.Vars, Secrets: f.Spec.Secrets}, "pools")
}

func own(p *fleet.Pool) any {
	made := fleet.Pool{Hostname: p.Hostname, Networks: p.Networks, Config: p.Config, Vars: p.Vars}
	if p.VSphere != nil {
		v := *p.VSphere
		v.AntiAffinity = ""
		made.VSphere = &v
	}
	return plain(made, "name", "replicas")
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

// FieldChange is one field in which two documents differ.
type FieldChange struct {
	// Path is the field: spec.pools[edge].vsphere.cpus.
	Path string
	// Was and Now are the values; an empty one is not set. They may have
	// several lines.
	Was, Now string
}

// Differences returns the fields in which two documents of one kind differ,
// in the order of their paths. Elements of lists that have names are compared
// by name.
func Differences(was, now fleet.Document) []FieldChange {
	var out []FieldChange
	compare(&out, "", plain(was), plain(now))
	return out
}

// compare adds every leaf in which two values differ.
func compare(out *[]FieldChange, path string, a, b any) {
	am, aok := a.(map[string]any)
	bm, bok := b.(map[string]any)
	if aok && bok {
		for _, k := range slices.Sorted(maps.Keys(both(am, bm))) {
			compare(out, strings.TrimPrefix(path+"."+k, "."), am[k], bm[k])
		}
		return
	}
	al, aok := a.([]any)
	bl, bok := b.([]any)
	if aok && bok {
		compareLists(out, path, al, bl)
		return
	}
	if x, y := show(a), show(b); x != y {
		*out = append(*out, FieldChange{Path: path, Was: x, Now: y})
	}
}

func compareLists(out *[]FieldChange, path string, a, b []any) {
	an, aok := named(a)
	bn, bok := named(b)
	if aok && bok {
		for _, k := range slices.Sorted(maps.Keys(both(an, bn))) {
			compare(out, path+"["+k+"]", an[k], bn[k])
		}
		return
	}
	for i := range max(len(a), len(b)) {
		compare(out, fmt.Sprintf("%s[%d]", path, i), at(a, i), at(b, i))
	}
}

// both has the keys of two maps.
func both(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// named returns the elements of a list by their names, if all have one.
func named(list []any) (map[string]any, bool) {
	out := map[string]any{}
	for _, e := range list {
		m, _ := e.(map[string]any)
		name, ok := m["name"].(string)
		if !ok {
			return nil, false
		}
		out[name] = e
	}
	return out, len(out) == len(list)
}

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// String writes the difference in a line; of long texts it only says that
// they changed.
func (c FieldChange) String() string {
	switch {
	case c.Was == "":
		return c.Path + " is new"
	case c.Now == "":
		return c.Path + " is gone"
	case len(c.Was)+len(c.Now) > 80 || strings.Contains(c.Was+c.Now, "\n"):
		return c.Path + " changes"
	}
	return c.Path + " " + c.Was + " -> " + c.Now
}

func show(v any) string {
	if v == nil {
		return ""
	}
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil { // it came out of JSON
		return fmt.Sprint(v)
	}
	return string(b)
}
