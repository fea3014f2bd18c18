package fleet

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"strings"
	"testing"
)

// Every field of the documents has a comment that begins with its name and
// says what it means: people read it in yardctl explain and in their editors.
// The last sentences may name the values (One of: a, b) and the default
// (Default: c).
func TestEveryFieldHasAComment(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(Source, "*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("files = %v, %v", files, err)
	}
	for _, file := range files {
		text, err := Source.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if f, ok := n.(*ast.Field); ok && f.Tag != nil && strings.Contains(f.Tag.Value, "json:") {
				if len(f.Names) != 1 || !strings.HasPrefix(f.Doc.Text(), f.Names[0].Name+" ") {
					t.Errorf("%s: field %v needs a comment that begins with its name", file, f.Names)
				}
			}
			return true
		})
	}
}
