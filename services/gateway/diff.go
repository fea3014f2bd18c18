package gateway

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"yardmaster.dev/pkg/fleet"
)

// differences names the fields in which two documents of one kind differ,
// as the plan's causes: spec.range "a" -> "b".
func differences(old, next fleet.Document) []string {
	return diff("", tree(old), tree(next))
}

// tree is a document as maps, lists and plain values; two documents that
// mean the same have equal trees.
func tree(d fleet.Document) any {
	text, err := fleet.Canonical(d)
	if err != nil {
		return nil
	}
	var out any
	if json.Unmarshal(text, &out) != nil {
		return nil
	}
	return out
}

func diff(path string, old, next any) []string {
	if reflect.DeepEqual(old, next) {
		return nil
	}
	a, isMap := old.(map[string]any)
	b, alsoMap := next.(map[string]any)
	if !isMap || !alsoMap {
		return []string{fmt.Sprintf("%s %s -> %s", path, shown(old), shown(next))}
	}
	keys := maps.Clone(a)
	maps.Copy(keys, b)
	var out []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		at := key
		if path != "" {
			at = path + "." + key
		}
		out = append(out, diff(at, a[key], b[key])...)
	}
	return out
}

// shown is a value on one line, not longer than a line should be.
func shown(v any) string {
	if v == nil {
		return "(not set)"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	const most = 60
	if len(text) > most {
		return string(text[:most]) + "..."
	}
	return string(text)
}
