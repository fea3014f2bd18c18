package specfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/render"
	"yardmaster.dev/pkg/specfile"
)

// FuzzLayers holds that the config layers of any document can be judged,
// however wrong it is, and that every problem in them gets a place.
func FuzzLayers(f *testing.F) {
	files, err := filepath.Glob("testdata/wrong/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "testdata/full.yaml", "../../examples/first.yaml") {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		docs, problems := specfile.Parse("f.yaml", content)
		for _, doc := range docs {
			if f, ok := doc.Document.(*fleet.Fleet); ok {
				problems = specfile.Merge(problems, doc.Locate(render.Check(f)))
			}
		}
		placed(t, content, problems)
	})
}

// TestMerge holds that a wrong file is judged down to its layers' text, and
// that nothing is said twice.
func TestMerge(t *testing.T) {
	t.Parallel()
	parsed := []specfile.Problem{
		{File: "f", Line: 8, Path: "spec.pools[0].replica", Message: "unknown field"},
		{File: "f", Line: 14, Path: "spec.config[1].butane", Message: "line 6: {{ .vars.x }} is not known"},
	}
	layers := []specfile.Problem{
		{File: "f", Line: 14, Path: "spec.config[1].butane", Message: "line 6: no var x"},
		{File: "f", Line: 12, Path: "spec.config[1].butane", Message: "line 4: unused key"},
		{File: "f", Line: 9, Path: "spec.pools[0].config", Message: "nothing makes them phone home"},
	}
	for name, c := range map[string]struct {
		parsed []specfile.Problem
		want   string
	}{
		"a wrong file": {parsed, "f:8:0  spec.pools[0].replica: unknown field\nf:12:0 spec.config[1].butane line 4: unused key\nf:14:0 spec.config[1].butane line 6: {{ .vars.x }} is not known\n"},
		"a right file": {nil, "f:9:0  spec.pools[0].config: nothing makes them phone home\nf:12:0 spec.config[1].butane line 4: unused key\nf:14:0 spec.config[1].butane line 6: no var x\n"},
	} {
		if got := specfile.Format(specfile.Merge(c.parsed, layers)); got != c.want {
			t.Errorf("Merge(%s) =\n%s; want\n%s", name, got, c.want)
		}
	}
}
