package specfile

import (
	"reflect"
	"strings"
)

// fieldInfo is a struct's field as documents see it.
type fieldInfo struct {
	index int
	// required fields carry neither omitempty nor omitzero.
	required bool
}

// fields are a struct's fields by their names in documents.
type fields struct {
	names  []string
	byName map[string]fieldInfo
}

// fieldsOf reads a struct's json tags. Every exported field of a document
// has one; TestTags holds it.
func fieldsOf(t reflect.Type) fields {
	out := fields{byName: map[string]fieldInfo{}}
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		out.names = append(out.names, name)
		out.byName[name] = fieldInfo{index: i, required: options == ""}
	}
	return out
}
