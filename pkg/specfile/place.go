package specfile

import (
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"yardmaster.dev/pkg/fleet"
)

// place is where a field stands.
type place struct {
	// key is where its name is, or its first token when it is a list's item.
	key *token.Position
	// value is where its value begins.
	value *token.Position
	// block is the first line of a block of text (| or >), 0 for other
	// values, and indent the column at which its text begins.
	block, indent int
}

// places knows where the fields of one document are.
type places struct {
	file   string
	start  *token.Position
	byPath map[string]place
}

func newPlaces(file string, body ast.Node) *places {
	return &places{file: file, start: firstPosition(body), byPath: map[string]place{}}
}

// firstPosition is where a node's text begins; the token of a mapping is its
// first colon.
func firstPosition(n ast.Node) *token.Position {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return firstPosition(n.Values[0])
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken().Position
	}
	return n.GetToken().Position
}

// put remembers a field; key is nil for a list's item.
func (p *places) put(path string, key, value ast.Node) {
	at := place{value: firstPosition(value)}
	at.key = at.value
	if key != nil {
		at.key = key.GetToken().Position
	}
	if lit, ok := value.(*ast.LiteralNode); ok {
		at.block = lit.Start.Position.Line + 1
		at.indent = indentation(lit.Value.GetToken().Origin) + 1
	}
	p.byPath[path] = at
}

// indentation counts the blanks before a block's first text.
func indentation(block string) int {
	for line := range strings.Lines(block) {
		if text := strings.TrimLeft(line, " "); strings.TrimSpace(text) != "" {
			return len(line) - len(text)
		}
	}
	return 0
}

// keyed makes the place of a field that of its name, for problems about a
// name or about something that its mapping lacks.
func (p *places) keyed(wrong fleet.Problem) Problem {
	return p.at(p.nearest(wrong.Path).key, wrong)
}

// locate finds the place for a problem.
func (p *places) locate(wrong fleet.Problem) Problem {
	at, ok := p.byPath[wrong.Path]
	if !ok {
		return p.keyed(wrong)
	}
	out := p.at(at.value, wrong)
	if m := innerLine.FindStringSubmatch(wrong.Message); m != nil && at.block > 0 {
		line, _ := strconv.Atoi(m[1]) // the pattern holds digits only
		out.Line, out.Column = at.block+line-1, at.indent
	}
	return out
}

// nearest is the place of the path's nearest parent that was written.
func (p *places) nearest(path string) place {
	for path != "" {
		if at, ok := p.byPath[path]; ok {
			return at
		}
		path = parent(path)
	}
	return place{key: p.start, value: p.start}
}

func (p *places) at(pos *token.Position, wrong fleet.Problem) Problem {
	return Problem{
		File: p.file, Line: pos.Line, Column: pos.Column,
		Path: wrong.Path, Message: wrong.Message, Hint: wrong.Hint,
	}
}

// parent is a path without its last field or index.
func parent(path string) string {
	if strings.HasSuffix(path, `"]`) {
		if i := strings.LastIndex(path, `["`); i >= 0 {
			return path[:i]
		}
	}
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

// child is the path of a mapping's field.
func child(path, name string) string {
	if !plainName(name) {
		return path + "[" + strconv.Quote(short(name)) + "]"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// plainName reports whether a name can stand in a path as it is.
func plainName(name string) bool {
	if name == "" || len(name) > 63 {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// item is the path of a list's item.
func item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
