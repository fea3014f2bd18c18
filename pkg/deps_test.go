package pkg

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The fences that the linter cannot see, because they are about everything
// that an import brings along.

type goPackage struct {
	ImportPath string
	Standard   bool
	Deps       []string
	Imports    []string
}

func list(t *testing.T, patterns ...string) map[string]goPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps", "-json=ImportPath,Standard,Deps,Imports"}, patterns...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := map[string]goPackage{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages[p.ImportPath] = p
	}
}

func TestCoreIsPure(t *testing.T) {
	t.Parallel()
	packages := list(t, "./fault", "./guest", "./fleet", "./plan")
	forbidden := []string{"net", "net/http", "os/exec", "log", "log/slog", "math/rand", "math/rand/v2"}
	for _, core := range []string{"fault", "guest", "fleet", "plan"} {
		path := "yardmaster.dev/pkg/" + core
		for _, dep := range packages[path].Deps {
			p := packages[dep]
			if slices.Contains(forbidden, dep) {
				t.Errorf("%s depends on %s: the core does no I/O, no logging and draws no random numbers", path, dep)
			}
			if !p.Standard && !strings.HasPrefix(dep, "yardmaster.dev/pkg/") {
				t.Errorf("%s depends on %s: the core uses the standard library only", path, dep)
			}
		}
	}
}

// layers is the reading order of doc.go: a package imports only upwards.
var layers = [][]string{
	{"reread", "fault", "guest"}, {"fleet"}, {"plan"}, {"specfile", "schema", "render", "wire"}, {"bus"}, {"ledger"}, {"executor"},
}

func TestImportsPointUpwards(t *testing.T) {
	t.Parallel()
	rank := map[string]int{}
	for i, layer := range layers {
		for _, name := range layer {
			rank["yardmaster.dev/pkg/"+name] = i
		}
	}
	for path, p := range list(t, "./...") {
		from, ok := rank[path]
		if !ok {
			continue
		}
		for _, imported := range p.Imports {
			if to, ok := rank[imported]; ok && to >= from {
				t.Errorf("%s imports %s, which comes after it in the reading order (doc.go)", path, imported)
			}
		}
	}
}
