package specfile

import (
	"encoding"
	"encoding/json"
	"reflect"
	"testing"
)

// TestDocumentTypes holds what the decoder and the writer rely on: every
// field of a document has a name, and a type that both of them know.
func TestDocumentTypes(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		checkType(t, string(k.kind), reflect.TypeOf(k.make()).Elem())
	}
}

func checkType(t *testing.T, path string, typ reflect.Type) {
	t.Helper()
	if reflect.PointerTo(typ).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		if !typ.Implements(reflect.TypeFor[json.Marshaler]()) {
			t.Errorf("%s: %s reads itself from text but writes itself not as JSON", path, typ)
		}
		return
	}
	switch typ.Kind() { //nolint:exhaustive // the others are what must not be
	case reflect.Struct:
		for f := range typ.Fields() {
			if f.Tag.Get("json") == "" || !f.IsExported() {
				t.Errorf("%s.%s has no json tag or is not exported", path, f.Name)
			}
			checkType(t, path+"."+f.Name, f.Type)
		}
	case reflect.Pointer, reflect.Slice:
		checkType(t, path+"[]", typ.Elem())
	case reflect.Map:
		if typ.Key().Kind() != reflect.String {
			t.Errorf("%s: a map of documents has text as keys, not %s", path, typ.Key())
		}
		checkType(t, path+"{}", typ.Elem())
	case reflect.String, reflect.Int, reflect.Bool:
	default:
		t.Errorf("%s: %s is of a kind that documents do not use", path, typ)
	}
}
