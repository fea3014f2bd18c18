package pkg

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/render"
	"yardmaster.dev/pkg/specfile"
)

// TestValidate shows what yardctl validate says about specs that would fail
// later: all of it at once, with its place and how to mend it, and in no time.
// The files are what people write; YARD_UPDATE=1 writes the words.
func TestValidate(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/wrong/*.yaml")
	if err != nil || len(files) < 60 {
		t.Fatalf("testdata/wrong has %d files, %v; want at least 60", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			problems := validate(filepath.Base(file), content)
			if took := time.Since(began); took > 10*time.Second { // a loaded machine is slow, a hang is not done then
				t.Errorf("validate took %s", took)
			}
			if len(problems) == 0 {
				t.Fatal("validate found no problem")
			}
			if i := slices.IndexFunc(problems, func(p specfile.Problem) bool { return p.Line == 0 || p.Path == "" }); i >= 0 {
				t.Errorf("%v leads to no place", problems[i])
			}
			compareExample(t, strings.TrimSuffix(file, ".yaml")+".golden", specfile.Format(problems))
		})
	}
}

// validate is what yardctl validate does with one file.
func validate(name string, content []byte) []specfile.Problem {
	docs, problems := specfile.Parse(name, content)
	var layers []specfile.Problem
	for _, d := range docs {
		if f, ok := d.Document.(*fleet.Fleet); ok {
			layers = append(layers, d.Locate(render.Check(f))...)
		}
	}
	if problems = specfile.Merge(problems, layers); len(problems) > 0 {
		return problems
	}
	return specfile.Together(docs)
}
