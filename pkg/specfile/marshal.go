package specfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"yardmaster.dev/pkg/fleet"
)

// Marshal writes a document as YAML that Parse reads as the same document.
// Fields stand in the documents' order; what is not set is left out.
func Marshal(doc fleet.Document) ([]byte, error) {
	w := &writer{}
	w.fields(reflect.ValueOf(doc).Elem(), 0)
	if w.err != nil {
		return nil, fmt.Errorf("write %s %s: %w", doc.DocumentKind(), doc.DocumentName(), w.err)
	}
	return w.buf.Bytes(), nil
}

// writer emits the subset of YAML that documents need.
type writer struct {
	buf bytes.Buffer
	err error
}

func (w *writer) indent(depth int) { w.buf.WriteString(strings.Repeat("  ", depth)) }

// fields writes a struct's set and required fields, one per line.
func (w *writer) fields(v reflect.Value, depth int) {
	known := fieldsOf(v.Type())
	for _, name := range known.names {
		info := known.byName[name]
		if f := v.Field(info.index); info.required || !unset(f) {
			w.indent(depth)
			w.entry(name, f, depth)
		}
	}
}

// entry writes "name: value" after the indentation.
func (w *writer) entry(name string, v reflect.Value, depth int) {
	w.buf.WriteString(scalarText(name))
	w.buf.WriteByte(':')
	w.value(v, depth)
}

// value writes what follows a colon, with the end of its last line.
func (w *writer) value(v reflect.Value, depth int) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v = reflect.New(v.Type().Elem())
		}
		v = v.Elem()
	}
	if m, ok := reflect.TypeAssert[json.Marshaler](v); ok {
		w.marshaled(m)
		return
	}
	switch v.Kind() { //nolint:exhaustive // the kinds of the documents' fields
	case reflect.Struct:
		w.structure(v, depth)
	case reflect.Map:
		w.table(v, depth)
	case reflect.Slice:
		w.list(v, depth)
	case reflect.String:
		w.text(v.String(), depth)
	case reflect.Int:
		fmt.Fprintf(&w.buf, " %d\n", v.Int())
	case reflect.Bool:
		fmt.Fprintf(&w.buf, " %t\n", v.Bool())
	default:
		w.err = fmt.Errorf("a %s cannot be written", v.Type())
	}
}

// marshaled writes a type that reads itself from text; its JSON is a string.
func (w *writer) marshaled(m json.Marshaler) {
	var s string
	b, err := m.MarshalJSON()
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		w.err = err
		return
	}
	fmt.Fprintf(&w.buf, " %s\n", scalarText(roundDuration.ReplaceAllString(s, "$1")))
}

// roundDuration finds the zeros that Go writes behind 10m and 1h.
var roundDuration = regexp.MustCompile(`^([0-9]+h|(?:[0-9]+h)?[0-9]+m)(?:0m)?0s$`)

func (w *writer) structure(v reflect.Value, depth int) {
	before := w.buf.Len()
	w.buf.WriteByte('\n')
	start := w.buf.Len()
	w.fields(v, depth+1)
	if w.buf.Len() == start {
		w.buf.Truncate(before)
		w.buf.WriteString(" {}\n")
	}
}

func (w *writer) table(v reflect.Value, depth int) {
	names := map[string]reflect.Value{}
	for it := v.MapRange(); it.Next(); {
		names[it.Key().String()] = it.Value()
	}
	if len(names) == 0 {
		w.buf.WriteString(" {}\n")
		return
	}
	w.buf.WriteByte('\n')
	for _, name := range slices.Sorted(maps.Keys(names)) {
		w.indent(depth + 1)
		w.entry(name, names[name], depth+1)
	}
}

// list writes a sequence; the first field of a struct stands behind its dash.
func (w *writer) list(v reflect.Value, depth int) {
	if v.Len() == 0 {
		w.buf.WriteString(" []\n")
		return
	}
	w.buf.WriteByte('\n')
	for i := range v.Len() {
		w.indent(depth + 1)
		w.buf.WriteByte('-')
		if v.Index(i).Kind() != reflect.Struct {
			w.value(v.Index(i), depth+1)
			continue
		}
		body := &writer{}
		body.fields(v.Index(i), depth+2)
		w.err = firstError(w.err, body.err)
		if body.buf.Len() == 0 {
			w.buf.WriteString(" {}\n")
			continue
		}
		w.buf.WriteByte(' ')
		w.buf.Write(bytes.TrimLeft(body.buf.Bytes(), " "))
	}
}

// text writes a string: plain, in quotes, or as a block when it has lines.
func (w *writer) text(s string, depth int) {
	if !blockable(s) {
		fmt.Fprintf(&w.buf, " %s\n", scalarText(s))
		return
	}
	header := "|"
	if !strings.HasSuffix(s, "\n") {
		header = "|-"
	}
	fmt.Fprintf(&w.buf, " %s\n", header)
	for line := range strings.Lines(s) {
		line = strings.TrimSuffix(line, "\n")
		if line != "" {
			w.indent(depth + 1)
		}
		w.buf.WriteString(line + "\n")
	}
}

// blockable reports whether text reads well, and comes back the same, as a
// block: several lines of printable text, the first not indented or empty,
// one line end at most at its end.
func blockable(s string) bool {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	if len(lines) == 1 && !strings.HasSuffix(s, "\n") {
		return false
	}
	if lines[0] == "" || lines[0][0] == ' ' || lines[len(lines)-1] == "" {
		return false
	}
	for _, line := range lines {
		if strings.TrimRight(line, " ") != line {
			return false
		}
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return false
		}
	}
	return true
}

// plain is text that no YAML reader takes for anything but a string.
var plain = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./+@-]*( [A-Za-z0-9_./+@-]+)*$|^[0-9]+\.[0-9]+\.[0-9]+(\.[0-9]+)*(/[0-9]+)?$|^[0-9.]+-[0-9]+\.[0-9.]+$|^[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T)$|^[0-9.]+(ms|s|m|h)([0-9.]+(s|m))*$`)

// notPlain are words that some YAML reader takes for something else.
var notPlain = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|true|false|null|nan|inf)$`)

// scalarText writes a string on one line, in quotes unless it is harmless.
func scalarText(s string) string {
	if plain.MatchString(s) && !notPlain.MatchString(s) {
		return s
	}
	return quoted(s)
}

// quoted writes a YAML double-quoted scalar. Everything but printable ASCII
// and letters is escaped, so that nothing depends on a reader's line folding.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == ' ' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			b.WriteString(`\x` + hex(r, 2))
		case r < 0x10000:
			b.WriteString(`\u` + hex(r, 4))
		default:
			b.WriteString(`\U` + hex(r, 8))
		}
	}
	b.WriteByte('"')
	return b.String()
}

func hex(r rune, width int) string {
	s := strconv.FormatInt(int64(r), 16)
	return strings.Repeat("0", width-len(s)) + s
}

// unset reports whether a field is to be left out.
func unset(v reflect.Value) bool {
	switch v.Kind() { //nolint:exhaustive // the others have no length
	case reflect.Map, reflect.Slice:
		return v.Len() == 0
	}
	return v.IsZero()
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
