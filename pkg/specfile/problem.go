package specfile

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Problem is something wrong with a file, and where.
type Problem struct {
	File string
	// Line and Column count from 1; 0 means the file as a whole.
	Line, Column int
	// Path is the field path, empty when the text is not even YAML.
	Path    string
	Message string
	// Hint says how to mend it; may be empty.
	Hint string
}

// String is the problem on one line: file:line:column path: what; how to
// mend it.
func (p Problem) String() string { return p.Where() + " " + p.What() }

// Where is the problem's place: file:line:column.
func (p Problem) Where() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// What is the problem without its place.
func (p Problem) What() string {
	text := p.Message
	if p.Hint != "" {
		text += "; " + p.Hint
	}
	switch {
	case p.Path == "":
		return text
	case innerLine.MatchString(p.Message):
		return p.Path + " " + text
	}
	return p.Path + ": " + text
}

// innerLine is how a message starts that concerns a line inside a block of
// text, such as a butane layer.
var innerLine = regexp.MustCompile(`^line ([0-9]{1,6}): `)

// Format writes the problems one per line, with their places padded to one
// width.
func Format(problems []Problem) string {
	width := 0
	for _, p := range problems {
		width = max(width, len(p.Where()))
	}
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintf(&b, "%-*s %s\n", width, p.Where(), p.What())
	}
	return b.String()
}

// Merge adds the problems of a file's config layers, which only the renderer
// can see, to those that Parse found, in file order. In a file that is wrong
// already only what concerns the layers' own text counts, where Parse said
// nothing: the rest may follow from the first problems.
func Merge(parsed, layers []Problem) []Problem {
	out := slices.Clone(parsed)
	for _, p := range layers {
		inText := strings.HasSuffix(p.Path, ".butane") || strings.HasSuffix(p.Path, ".ignition")
		known := slices.ContainsFunc(parsed, func(q Problem) bool { return q.Path == p.Path && q.Line == p.Line })
		if len(parsed) == 0 || inText && !known {
			out = append(out, p)
		}
	}
	inFileOrder(out)
	return out
}

// inFileOrder sorts by place; problems of one place keep their order.
func inFileOrder(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
