package specfile_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yardmaster.dev/pkg/specfile"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestWrong shows what people see for each wrong or hostile file: all
// problems at once, in file order, each with its place and how to mend it.
func TestWrong(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/wrong/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 30 {
		t.Errorf("testdata/wrong has %d files; want at least 30", len(files))
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, problems := specfile.Parse(filepath.Base(file), content)
			if len(problems) == 0 {
				t.Fatalf("Parse(%s) found no problem", file)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", specfile.Format(problems))
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs from what was printed (-want +got):\n%s", file, diff)
	}
}
