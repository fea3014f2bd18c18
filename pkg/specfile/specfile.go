// Package specfile reads the YAML files that people write into the documents
// of pkg/fleet, and writes documents as YAML that applies. It is strict: what
// it does not know is a problem, and every problem of a file is reported at
// once, with its place. It does no I/O and never guesses a value.
package specfile

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"yardmaster.dev/pkg/fleet"
)

// MaxSize is the largest file that is read.
const MaxSize = 1 << 20

// maxProblems bounds the report about one file.
const maxProblems = 100

// Parsed is a document with the places of its fields.
type Parsed struct {
	Document fleet.Document
	places   *places
}

// Parse reads every document of a file. It returns the documents that could
// be decoded, even wrong ones, and all problems in file order; a file is good
// only when there are none.
func Parse(filename string, content []byte) ([]*Parsed, []Problem) {
	bodies, problems := read(filename, content)
	var docs []*Parsed
	for _, body := range bodies {
		doc, wrong := parseDocument(filename, body)
		problems = append(problems, wrong...)
		if doc != nil {
			docs = append(docs, doc)
		}
	}
	if len(bodies) == 0 && len(problems) == 0 {
		problems = append(problems, Problem{
			File: filename, Line: 1, Column: 1, Message: "the file holds no document",
			Hint: "write apiVersion: " + fleet.APIVersion + ", kind: Fleet, ...",
		})
	}
	problems = append(problems, twice(docs)...)
	inFileOrder(problems)
	if more := len(problems) - maxProblems; more > 0 {
		problems = append(problems[:maxProblems], Problem{
			File: filename, Line: problems[maxProblems].Line, Column: problems[maxProblems].Column,
			Message: fmt.Sprintf("%d more problems from here on are not shown", more),
		})
	}
	return docs, problems
}

// Locate gives problems of the document their places in the file: that of
// the field or, when it was not written, of its nearest parent.
func (p *Parsed) Locate(problems []fleet.Problem) []Problem {
	out := make([]Problem, 0, len(problems))
	for _, wrong := range problems {
		out = append(out, p.places.locate(wrong))
	}
	inFileOrder(out)
	return out
}

// Place is where the document begins: file:line:column.
func (p *Parsed) Place() string { return p.places.locate(fleet.Problem{}).Where() }

var kinds = []struct {
	kind fleet.Kind
	make func() fleet.Document
}{
	{fleet.KindFleet, func() fleet.Document { return &fleet.Fleet{} }},
	{fleet.KindNetwork, func() fleet.Document { return &fleet.Network{} }},
	{fleet.KindSite, func() fleet.Document { return &fleet.Site{} }},
}

// newDocument returns an empty document of a kind, nil for an unknown one.
func newDocument(kind string) fleet.Document {
	for _, k := range kinds {
		if string(k.kind) == kind {
			return k.make()
		}
	}
	return nil
}

func parseDocument(filename string, body ast.Node) (*Parsed, []Problem) {
	d := &decoder{places: newPlaces(filename, body)}
	fields := d.mapping(body, "")
	if fields == nil {
		return nil, d.problems
	}
	doc := d.header(fields)
	if doc == nil {
		return nil, d.problems
	}
	d.problems = nil // value finds what mapping found again
	d.value(body, reflect.ValueOf(doc).Elem(), "")
	parsed := &Parsed{Document: doc, places: d.places}
	// What could not be decoded reads as not set; the rules' complaints
	// about it would only repeat the problem.
	rules := slices.DeleteFunc(doc.Validate(), func(p fleet.Problem) bool { return d.explained(p.Path) })
	for _, m := range d.missing {
		// A rule about the same field knows better what to write.
		if !slices.ContainsFunc(rules, func(p fleet.Problem) bool { return p.Path == m.Path }) {
			rules = append(rules, m)
		}
	}
	return parsed, append(d.problems, parsed.Locate(rules)...)
}

// header checks apiVersion and kind and returns the empty document to decode
// into, nil when there is no telling what it should be.
func (d *decoder) header(fields []field) fleet.Document {
	kind, ok := d.headerField(fields, "kind")
	names := make([]string, 0, len(kinds))
	for _, k := range kinds {
		names = append(names, string(k.kind))
	}
	if !ok {
		d.report(fleet.Problem{Path: "kind", Message: "is missing", Hint: "write one of " + strings.Join(names, ", ")})
		return nil
	}
	doc := newDocument(kind)
	if doc == nil {
		hint := "write one of " + strings.Join(names, ", ")
		if near := fleet.Nearest(kind, names); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		d.report(fleet.Problem{Path: "kind", Message: "unknown kind " + shown(kind), Hint: hint})
	}
	return doc
}

// headerField returns the text of a top-level field and whether it is there.
func (d *decoder) headerField(fields []field, name string) (string, bool) {
	for _, f := range fields {
		if f.name == name {
			d.places.put(name, f.key, f.value)
			return f.value.GetToken().Value, true
		}
	}
	return "", false
}

// twice reports documents of one kind and name.
func twice(docs []*Parsed) []Problem {
	type id struct {
		kind fleet.Kind
		name string
	}
	var problems []Problem
	seen := map[id]*Parsed{}
	for _, doc := range docs {
		this := id{doc.Document.DocumentKind(), doc.Document.DocumentName()}
		first := seen[this]
		if this.name == "" || first == nil {
			seen[this] = doc
			continue
		}
		problems = append(problems, doc.Locate([]fleet.Problem{{
			Path:    "metadata.name",
			Message: fmt.Sprintf("%s %s is in this file twice", this.kind, shown(this.name)),
			Hint:    "the first is at " + first.places.locate(fleet.Problem{Path: "metadata.name"}).Where(),
		}})...)
	}
	return problems
}
