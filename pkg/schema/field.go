package schema

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"reflect"
	"regexp"
	"strings"
	"sync"

	"yardmaster.dev/pkg/fleet"
)

// Type says how a field is written.
type Type string

// The types.
const (
	Text     Type = "text"
	Number   Type = "number"
	Boolean  Type = "boolean"
	Duration Type = "duration"
	Quantity Type = "quantity"
	Object   Type = "object"
)

// Shape says how often a field's type is written.
type Shape string

// The shapes.
const (
	One  Shape = ""
	List Shape = "list"
	Map  Shape = "map"
)

// Field is a document or a field of one.
type Field struct {
	// Name is as it is written, Path all of it: fleet.spec.pools.
	Name, Path string
	Type       Type
	Shape      Shape
	// Means says what it is, Default what it is when left out.
	Means, Default string
	// OneOf are the values that it may have; none means any.
	OneOf    []string
	Required bool
	// Fields are those of an object, in their order.
	Fields []*Field

	goType string
}

// String is the field's type as people read it.
func (f *Field) String() string {
	switch f.Shape {
	case List:
		return "list of " + string(f.Type)
	case Map:
		return "map of " + string(f.Type)
	case One:
	}
	return string(f.Type)
}

// Documents returns the kinds of documents with all their fields.
var Documents = sync.OnceValue(func() []*Field {
	r := &reader{comments: comments()}
	return []*Field{
		r.document(reflect.TypeFor[fleet.Fleet]()),
		r.document(reflect.TypeFor[fleet.Network]()),
		r.document(reflect.TypeFor[fleet.Site]()),
	}
})

// comments are those of the documents' types and fields: Fleet, Fleet.Spec.
func comments() map[string]string {
	out := map[string]string{}
	files, err := fs.Glob(fleet.Source, "*.go")
	if err != nil {
		panic(err) // the pattern is ours
	}
	for _, file := range files {
		text, err := fleet.Source.ReadFile(file)
		if err != nil {
			panic(err) // it was listed
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ParseComments)
		if err != nil {
			panic(err) // the compiler took it
		}
		for _, decl := range parsed.Decls {
			if d, ok := decl.(*ast.GenDecl); ok {
				collect(d, out)
			}
		}
	}
	return out
}

func collect(d *ast.GenDecl, out map[string]string) {
	for _, spec := range d.Specs {
		t, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		out[t.Name.Name] = d.Doc.Text()
		s, ok := t.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range s.Fields.List {
			for _, name := range f.Names {
				out[t.Name.Name+"."+name.Name] = f.Doc.Text()
			}
		}
	}
}

type reader struct{ comments map[string]string }

func (r *reader) document(t reflect.Type) *Field {
	name := strings.ToLower(t.Name())
	f := &Field{Name: name, Path: name, Type: Object, Required: true, goType: t.Name()}
	f.Means = sentence(r.comments[t.Name()], t.Name(), t.Name())
	f.Fields = r.fields(t, name)
	return f
}

func (r *reader) fields(t reflect.Type, path string) []*Field {
	var out []*Field
	for field := range t.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		f := &Field{Name: name, Path: path + "." + name, Required: options == ""}
		r.shape(f, field.Type)
		f.say(r.comments[t.Name()+"."+field.Name], field.Name)
		if t == reflect.TypeFor[fleet.Layer]() && field.Name == "Role" {
			f.OneOf = fleet.RoleNames()
		}
		out = append(out, f)
	}
	return out
}

// shape finds out how a Go type is written.
func (r *reader) shape(f *Field, t reflect.Type) {
	switch {
	case t == reflect.TypeFor[fleet.Duration]():
		f.Type = Duration
		return
	case t == reflect.TypeFor[fleet.Quantity]():
		f.Type = Quantity
		return
	}
	switch t.Kind() { //nolint:exhaustive // the kinds of the documents' fields
	case reflect.Pointer:
		r.shape(f, t.Elem())
	case reflect.Slice:
		r.shape(f, t.Elem())
		f.Shape = List
	case reflect.Map:
		r.shape(f, t.Elem())
		f.Shape = Map
	case reflect.Struct:
		f.Type, f.goType, f.Fields = Object, t.Name(), r.fields(t, f.Path)
	case reflect.Int:
		f.Type = Number
	case reflect.Bool:
		f.Type = Boolean
	default:
		f.Type = Text
	}
}

var (
	oneOf     = regexp.MustCompile(`(?:^| )One of: ([^.]+)\.`)
	defaultIs = regexp.MustCompile(`(?:^| )Default: (.+)\.$`)
	required  = regexp.MustCompile(`; required\.`)
)

// say takes a field's comment apart.
func (f *Field) say(comment, goName string) {
	text := sentence(comment, goName, f.Name)
	if m := defaultIs.FindStringSubmatchIndex(text); m != nil {
		f.Default, text = text[m[2]:m[3]], text[:m[0]]
	}
	if m := oneOf.FindStringSubmatchIndex(text); m != nil {
		f.OneOf = strings.Split(text[m[2]:m[3]], ", ")
		text = text[:m[0]] + text[m[1]:]
	}
	if required.MatchString(text) {
		// Go cannot tell a pointer that must be there.
		f.Required, text = true, required.ReplaceAllString(text, ".")
	}
	f.Means = strings.TrimSpace(text)
}

// sentence is a comment on one line, with the field's own name.
func sentence(comment, goName, name string) string {
	text := strings.Join(strings.Fields(comment), " ")
	if rest, ok := strings.CutPrefix(text, goName+" "); ok {
		return name + " " + rest
	}
	return text
}

// Find returns the field of a path such as fleet.spec.pools[0].vsphere; its
// error says which part is not there and what is. A path that begins with
// spec, as problems have it, is of the first document that has it.
func Find(path string) (*Field, error) {
	path = index.ReplaceAllString(strings.Trim(path, ". "), "")
	if path != "spec" && !strings.HasPrefix(path, "spec.") {
		return find(path)
	}
	first, err := find(Documents()[0].Name + "." + path)
	if err == nil {
		return first, nil
	}
	for _, doc := range Documents()[1:] {
		if f, err := find(doc.Name + "." + path); err == nil {
			return f, nil
		}
	}
	return nil, err
}

func find(path string) (*Field, error) {
	parts := strings.Split(path, ".")
	fields, at := Documents(), "a document"
	var found *Field
	for i, part := range parts {
		if i == 0 {
			part = strings.ToLower(part)
		}
		found = nil
		names := make([]string, 0, len(fields))
		for _, f := range fields {
			names = append(names, f.Name)
			if f.Name == part {
				found = f
			}
		}
		if found == nil {
			return nil, fmt.Errorf("%s has no %q; %s", at, part, hint(part, names))
		}
		fields, at = found.Fields, found.Path
	}
	return found, nil
}

// index is what stands behind a list in a path of a problem.
var index = regexp.MustCompile(`\[[^\]]*\]`)

func hint(word string, names []string) string {
	if near := fleet.Nearest(word, names); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(names) == 0 {
		return "it has no fields"
	}
	return "known: " + strings.Join(names, ", ")
}
