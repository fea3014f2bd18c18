package fleet

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// Every field of every document stands in the spec reference.
func TestSpecReferenceNamesEveryField(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/spec.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, quoted := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(string(page), -1) {
		for word := range strings.SplitSeq(quoted[1], ".") {
			named[strings.TrimSuffix(strings.Fields(word + " ")[0], ":")] = true
		}
	}
	var walk func(t reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		for field := range typ.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name == "" {
				continue
			}
			if !named[name] {
				t.Errorf("docs/spec.md does not name %s%s", path, name)
			}
			walk(field.Type, path+name+".")
		}
	}
	walk(reflect.TypeFor[Fleet](), "Fleet.")
	walk(reflect.TypeFor[Network](), "Network.")
	walk(reflect.TypeFor[Site](), "Site.")
}
