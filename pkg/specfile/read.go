package specfile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxDepth bounds nesting: the deepest field of a document is far above, and
// the parser is recursive.
const maxDepth = 32

// maxTokens bounds the names, values and signs of a file, of which a pool
// with everything has a hundred: the parser's work grows with their square.
// A block of text is one, however long.
const maxTokens = 20000

// read returns the bodies of a file's documents.
func read(filename string, content []byte) ([]ast.Node, []Problem) {
	if wrong, ok := notText(content); !ok {
		wrong.File = filename
		return nil, []Problem{wrong}
	}
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	file, problems := parse(filename, content)
	if file == nil {
		return nil, problems
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		switch doc.Body.(type) {
		case nil, *ast.NullNode, *ast.CommentGroupNode, *ast.DirectiveNode:
		default:
			bodies = append(bodies, doc.Body)
		}
	}
	return bodies, problems
}

// notText finds what no YAML file may hold.
func notText(content []byte) (Problem, bool) {
	if len(content) > MaxSize {
		return Problem{
			Message: fmt.Sprintf("the file has %d bytes, %d are the most", len(content), MaxSize),
			Hint:    "split it into several files",
		}, false
	}
	line, column := 1, 0
	for i := 0; i < len(content); {
		r, size := utf8.DecodeRune(content[i:])
		column++
		here := Problem{Line: line, Column: column}
		switch {
		case r == utf8.RuneError && size <= 1:
			here.Message, here.Hint = "this is not UTF-8 text", "save the file as UTF-8"
			return here, false
		case r == '\n':
			line, column = line+1, 0
		case r < ' ' && r != '\t' && r != '\r', r == 0x7f:
			here.Message = fmt.Sprintf("the file holds the control character %U", r)
			here.Hint = "is it text?"
			return here, false
		}
		i += size
	}
	return Problem{}, true
}

// parse reads YAML after its tokens were found harmless. The parser is not
// ours: should it panic, the file is refused and nothing else happens.
func parse(filename string, content []byte) (file *ast.File, problems []Problem) {
	at := token.Position{Line: 1, Column: 1}
	defer func() {
		if r := recover(); r != nil {
			file, problems = nil, []Problem{{File: filename, Line: at.Line, Column: at.Column, Message: "the file cannot be read as YAML"}}
		}
	}()
	tokens := lexer.Tokenize(string(content))
	if problems = refused(filename, tokens); len(problems) > 0 {
		return nil, problems
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, []Problem{syntax(filename, err)}
	}
	return file, nil
}

// syntax turns the parser's error into ours.
func syntax(filename string, err error) Problem {
	p := Problem{File: filename, Line: 1, Column: 1, Message: firstLine(err.Error())}
	if e, ok := errors.AsType[yaml.Error](err); ok {
		p.Message = firstLine(e.GetMessage())
		if tk := e.GetToken(); tk != nil && tk.Position != nil {
			p.Line, p.Column = tk.Position.Line, tk.Position.Column
			p.Hint = syntaxHint(tk)
		}
	}
	p.Message = "not YAML: " + p.Message
	return p
}

// syntaxHint knows the mistakes that people make most.
func syntaxHint(tk *token.Token) string {
	origin := tk.Origin
	for near, i := tk.Prev, 0; near != nil && i < 3; near, i = near.Prev, i+1 {
		origin = near.Origin + origin
	}
	switch {
	case strings.Contains(origin, "\t"):
		return "indent with spaces, not tabs"
	case strings.Contains(origin, "{{") || strings.Contains(origin, "{ {"):
		return `put text with placeholders in quotes: "{{ .fleet }}"`
	}
	return ""
}

// refusals says which parts of YAML documents may not use, and why.
var refusals = map[token.Type]struct{ message, hint string }{
	token.AnchorType:     {"anchors are not accepted", "write the value out"},
	token.AliasType:      {"aliases are not accepted", "write the value out, or put text that begins with * in quotes"},
	token.MergeKeyType:   {"merge keys are not accepted", "write the fields out"},
	token.TagType:        {"tags are not accepted", "put text that begins with ! in quotes"},
	token.DirectiveType:  {"directives are not accepted", "put text that begins with % in quotes"},
	token.MappingKeyType: {"explicit keys are not accepted", "write key: value"},
}

// refused finds tokens that documents may not use, and too deep nesting.
func refused(filename string, tokens token.Tokens) []Problem {
	if len(tokens) > maxTokens {
		at := tokens[maxTokens].Position
		return []Problem{{
			File: filename, Line: at.Line, Column: at.Column,
			Message: fmt.Sprintf("the file has more than %d names and values", maxTokens), Hint: "split it into several files",
		}}
	}
	var problems []Problem
	depth, line, dashes := 0, 0, 0
	for _, tk := range tokens {
		here := Problem{File: filename, Line: tk.Position.Line, Column: tk.Position.Column}
		if why, ok := refusals[tk.Type]; ok {
			here.Message, here.Hint = why.message, why.hint
			problems = append(problems, here)
		}
		if tk.Position.Line != line {
			line, dashes = tk.Position.Line, 0
		}
		switch tk.Type { //nolint:exhaustive // only these nest
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType:
			dashes++
		}
		if depth > maxDepth || dashes > maxDepth || tk.Position.IndentNum > maxDepth*16 {
			here.Message = fmt.Sprintf("nested more than %d deep", maxDepth)
			return append(problems, here)
		}
	}
	return problems
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return short(s)
}
