package specfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/specfile"
)

// TestParseExample holds that the first fleet that people meet is right.
func TestParseExample(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../examples/first.yaml")
	if err != nil {
		t.Fatal(err)
	}
	docs, problems := specfile.Parse("first.yaml", content)
	if len(problems) > 0 || len(docs) == 0 {
		t.Errorf("Parse(first.yaml) = %d documents, problems:\n%s", len(docs), specfile.Format(problems))
	}
}

func TestParseTooLarge(t *testing.T) {
	t.Parallel()
	_, problems := specfile.Parse("big.yaml", []byte(strings.Repeat("#", specfile.MaxSize+1)))
	want := "big.yaml the file has 1048577 bytes, 1048576 are the most; split it into several files\n"
	if got := specfile.Format(problems); got != want {
		t.Errorf("Parse(too large) = %q; want %q", got, want)
	}
}

// TestParseLargest holds that a file at the limit is no way to keep the
// reader busy, whatever it repeats.
func TestParseLargest(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"- ", "{", "a:\n", "&a ", "\"", "\n", "a: |\n  b\n", "{{ .x }} ", "é"} {
		content := strings.Repeat(unit, specfile.MaxSize/len(unit))
		_, problems := specfile.Parse("large.yaml", []byte(content))
		if len(problems) == 0 {
			t.Errorf("Parse(%q repeated) found no problem", unit)
		}
	}
}

// TestLocate holds that problems found elsewhere (in a layer, in the yard's
// state) get the place of what the user wrote.
func TestLocate(t *testing.T) {
	t.Parallel()
	docs, problems := specfile.Parse("web.yaml", []byte(`apiVersion: yardmaster.dev/v1alpha1
kind: Fleet
metadata: {name: web}
spec:
  os: {version: 4593.2.5}
  config:
    - role: base
    - butane: |
        variant: flatcar
        version: 1.0.0
  pools:
    - name: edge
      replicas: 1
      vsphere: {site: dc1}
`))
	if len(problems) > 0 {
		t.Fatal(specfile.Format(problems))
	}
	located := docs[0].Locate([]fleet.Problem{
		{Path: "spec.pools[0].vsphere.memory", Message: "not written: its mapping"},
		{Path: "spec.config[1].butane", Message: "line 2: a line of a block"},
		{Path: "spec.config[1].butane", Message: "the block"},
		{Path: "spec.pools[0].replicas", Message: "a value"},
		{Path: "spec.rollout.maxSurge", Message: "no parent but the spec"},
		{Path: "", Message: "the document"},
	})
	want := `web.yaml:1:1  the document
web.yaml:4:1  spec.rollout.maxSurge: no parent but the spec
web.yaml:8:15 spec.config[1].butane: the block
web.yaml:10:9 spec.config[1].butane line 2: a line of a block
web.yaml:13:17 spec.pools[0].replicas: a value
web.yaml:14:7 spec.pools[0].vsphere.memory: not written: its mapping
`
	want = strings.NewReplacer("1:1  ", "1:1   ", "4:1  ", "4:1   ", "8:15 ", "8:15  ", "10:9 ", "10:9  ", "14:7 ", "14:7  ").Replace(want)
	if diff := cmp.Diff(want, specfile.Format(located)); diff != "" {
		t.Errorf("Locate differs (-want +got):\n%s", diff)
	}
}

// FuzzParse holds for any bytes: every problem has a place in the file, and
// what is accepted comes back the same through Marshal.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/wrong/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "testdata/full.yaml") {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		docs, problems := specfile.Parse("f.yaml", content)
		placed(t, content, problems)
		if len(problems) > 0 {
			return
		}
		for _, doc := range docs {
			marshalAgain(t, doc.Document)
		}
	})
}

// placed fails for a problem whose place is outside of the file.
func placed(t *testing.T, content []byte, problems []specfile.Problem) {
	t.Helper()
	if len(content) > specfile.MaxSize {
		return
	}
	lines := 1 + strings.Count(string(content), "\n") + strings.Count(string(content), "\r")
	for _, p := range problems {
		if p.Message == "" || p.Line < 1 || p.Column < 1 || p.Line > lines+1 {
			t.Errorf("problem %+v has no place in a file of %d lines", p, lines)
		}
	}
}
