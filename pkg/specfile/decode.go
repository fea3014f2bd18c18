package specfile

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"yardmaster.dev/pkg/fleet"
)

// decoder fills a document from YAML nodes. It goes on after a problem, so
// that one run finds all of them.
type decoder struct {
	places   *places
	problems []Problem
	// missing are required fields that were not written.
	missing []fleet.Problem
	// broken are the paths that have a problem or were probably meant by a
	// mistyped name.
	broken []string
}

// field is one key of a mapping.
type field struct {
	name       string
	key, value ast.Node
}

// report adds a problem at the value of its path.
func (d *decoder) report(wrong fleet.Problem) {
	d.broken = append(d.broken, wrong.Path)
	d.problems = append(d.problems, d.places.locate(wrong))
}

// explained reports whether a problem of the path was reported already: of
// itself, of something in it or of something around it.
func (d *decoder) explained(path string) bool {
	for _, b := range d.broken {
		if b == path || within(b, path) || within(path, b) {
			return true
		}
	}
	return false
}

// within reports whether inner is a field or item below outer.
func within(inner, outer string) bool {
	rest, ok := strings.CutPrefix(inner, outer)
	return ok && outer != "" && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "["))
}

// value decodes a node into v.
func (d *decoder) value(n ast.Node, v reflect.Value, path string) {
	if _, null := n.(*ast.NullNode); null {
		d.report(fleet.Problem{Path: path, Message: "is empty", Hint: "remove the line or write " + wanted(v.Type())})
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path)
		return
	}
	if _, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		d.text(n, v, path)
		return
	}
	switch v.Kind() { //nolint:exhaustive // the kinds of the documents' fields; TestKinds holds it
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Map:
		d.table(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

// structure decodes a mapping into a struct, strictly.
func (d *decoder) structure(n ast.Node, v reflect.Value, path string) {
	if _, ok := mappingValues(n); !ok {
		d.wrongType(n, v.Type(), path)
		return
	}
	known := fieldsOf(v.Type())
	given := map[string]bool{}
	for _, f := range d.mapping(n, path) {
		at := child(path, f.name)
		d.places.put(at, f.key, f.value)
		given[f.name] = true
		if info, ok := known.byName[f.name]; ok {
			d.value(f.value, v.Field(info.index), at)
			continue
		}
		d.unknown(at, f.name, known.names)
	}
	for _, name := range known.names {
		at := child(path, name)
		if known.byName[name].required && !given[name] && !d.explained(at) {
			d.missing = append(d.missing, fleet.Problem{Path: at, Message: "is missing"})
		}
	}
}

// unknown reports a field that the document does not have.
func (d *decoder) unknown(path, name string, known []string) {
	wrong := fleet.Problem{Path: path, Message: "unknown field"}
	if near := fleet.Nearest(name, known); near != "" {
		wrong.Hint = fmt.Sprintf("did you mean %q?", near)
		d.broken = append(d.broken, child(parent(path), near))
	} else {
		wrong.Hint = "known here: " + strings.Join(known, ", ")
	}
	d.broken = append(d.broken, path)
	d.problems = append(d.problems, d.places.keyed(wrong))
}

// table decodes a mapping with free names.
func (d *decoder) table(n ast.Node, v reflect.Value, path string) {
	out := reflect.MakeMap(v.Type())
	for _, f := range d.mapping(n, path) {
		at := child(path, f.name)
		d.places.put(at, f.key, f.value)
		elem := reflect.New(v.Type().Elem()).Elem()
		d.value(f.value, elem, at)
		out.SetMapIndex(reflect.ValueOf(f.name), elem)
	}
	v.Set(out)
}

// list decodes a sequence.
func (d *decoder) list(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.wrongType(n, v.Type(), path)
		return
	}
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, value := range seq.Values {
		at := item(path, i)
		d.places.put(at, nil, value)
		d.value(value, out.Index(i), at)
	}
	v.Set(out)
}

// text decodes a type that reads itself from text, such as a duration.
func (d *decoder) text(n ast.Node, v reflect.Value, path string) {
	s, ok := stringOf(n)
	if !ok {
		d.wrongType(n, v.Type(), path)
		return
	}
	into, _ := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	if err := into.UnmarshalText([]byte(s)); err != nil {
		message, hint, _ := strings.Cut(err.Error(), "; ")
		d.report(fleet.Problem{Path: path, Message: message, Hint: hint})
	}
}

func (d *decoder) scalar(n ast.Node, v reflect.Value, path string) {
	switch v.Kind() { //nolint:exhaustive // value sent the others elsewhere
	case reflect.String:
		if s, ok := stringOf(n); ok {
			v.SetString(s)
			return
		}
		if isNumber(n) {
			v.SetString(n.GetToken().Value) // so that the rules do not call it missing
		}
	case reflect.Int:
		if _, ok := n.(*ast.IntegerNode); ok {
			// Base 10 only: 010 and 0x10 are somebody's mistake.
			if i, err := strconv.ParseInt(n.GetToken().Value, 10, 32); err == nil && canonical(n.GetToken().Value) {
				v.SetInt(i)
				return
			}
		}
	case reflect.Bool:
		if b, ok := n.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
			return
		}
	}
	d.wrongType(n, v.Type(), path)
}

// canonical reports whether a number is written as we would write it.
func canonical(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	return digits == "0" || !strings.HasPrefix(digits, "0")
}

// wrongType reports a value of the wrong type with what to write instead.
func (d *decoder) wrongType(n ast.Node, t reflect.Type, path string) {
	if t == reflect.TypeFor[fleet.Secret]() {
		// Not even the message repeats it.
		d.report(fleet.Problem{
			Path: path, Message: "a secret's value never stands in a document",
			Hint: "write {file: /run/secrets/name} or {env: NAME}",
		})
		return
	}
	wrong := fleet.Problem{Path: path, Message: described(n) + " is not " + wanted(t)}
	text := n.GetToken().Value
	number := isNumber(n)
	_, boolean := n.(*ast.BoolNode)
	switch {
	case t == reflect.TypeFor[fleet.Quantity]() && number:
		wrong.Message, wrong.Hint = text+" has no unit", "write "+text+"Mi or "+text+"Gi"
	case t == reflect.TypeFor[fleet.Duration]() && number:
		wrong.Message, wrong.Hint = text+" has no unit", "write "+text+"s or "+text+"m"
	case t.Kind() == reflect.String && (number || boolean):
		wrong.Hint = fmt.Sprintf("write %q", text)
	case t.Kind() == reflect.Bool:
		wrong.Hint = "write true or false"
	case t.Kind() == reflect.Struct || t.Kind() == reflect.Map:
		wrong.Hint = "write fields: name: value"
	}
	d.report(wrong)
}

// mapping returns the fields of a mapping in order; a second field of one
// name is reported and left out. It returns nil for anything else.
func (d *decoder) mapping(n ast.Node, path string) []field {
	values, ok := mappingValues(n)
	if !ok {
		d.wrongType(n, reflect.TypeFor[map[string]string](), path)
		return nil
	}
	out := make([]field, 0, len(values))
	seen := map[string]*token.Position{}
	for _, mv := range values {
		at := mv.Key.GetToken().Position
		name, ok := keyName(mv.Key)
		first := seen[name]
		wrong := fleet.Problem{Path: child(path, name)}
		switch {
		case !ok:
			wrong.Message, wrong.Hint = "the name of a field is text", "put it in quotes"
		case first != nil:
			wrong.Message = fmt.Sprintf("is here twice, first in line %d", first.Line)
		default:
			seen[name] = at
			out = append(out, field{name: name, key: mv.Key, value: mv.Value})
			continue
		}
		d.broken = append(d.broken, wrong.Path)
		d.problems = append(d.problems, d.places.at(at, wrong))
	}
	return out
}

func mappingValues(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// keyName returns the text of a mapping's key.
func keyName(key ast.MapKeyNode) (string, bool) {
	if s, ok := key.(*ast.StringNode); ok {
		return s.Value, true
	}
	return key.GetToken().Value, false
}

func stringOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

func isNumber(n ast.Node) bool {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return true
	}
	return false
}

// described says what a node is, for "... is not a list".
func described(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode:
		return shown(n.Value)
	case *ast.LiteralNode:
		return "a block of text"
	}
	if isNumber(n) {
		return "the number " + short(n.GetToken().Value)
	}
	return short(n.GetToken().Value)
}

// wanted says what a type is written as.
func wanted(t reflect.Type) string {
	switch {
	case t.Kind() == reflect.Pointer:
		return wanted(t.Elem())
	case t == reflect.TypeFor[fleet.Quantity]():
		return "a quantity such as 4Gi"
	case t == reflect.TypeFor[fleet.Duration]():
		return "a duration such as 90s"
	}
	switch t.Kind() { //nolint:exhaustive // the kinds of the documents' fields
	case reflect.Struct, reflect.Map:
		return "a mapping"
	case reflect.Slice:
		return "a list"
	case reflect.Int:
		return "a whole number"
	case reflect.Bool:
		return "a boolean"
	}
	return "text"
}

// shown is a user's text as it appears in messages.
func shown(s string) string { return strconv.Quote(short(s)) }

// short cuts text that is too long for a message.
func short(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "..."
}
