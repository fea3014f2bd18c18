package pkg

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	// What Flatcar 4593 carries reads these, the newest stable spec.
	ignition "github.com/coreos/ignition/v2/config/v3_5"
	"github.com/coreos/ignition/v2/config/v3_5/types"
	"github.com/vincent-petithory/dataurl"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/render"
	"yardmaster.dev/pkg/specfile"
)

// Every example is right, and gives the nodes what testdata/examples shows;
// YARD_UPDATE=1 writes that.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) < 11 {
		t.Fatalf("examples = %v, %v; want at least 11", files, err)
	}
	names := map[string]string{}
	for _, file := range files {
		docs := parseExample(t, file)
		for _, doc := range docs {
			id := string(doc.DocumentKind()) + " " + doc.DocumentName()
			if other, ok := names[id]; ok {
				t.Errorf("%s is in %s and in %s: they could not stand in one yard", id, file, other)
			}
			names[id] = file
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			renderExample(t, file, docs)
		})
	}
}

func parseExample(t *testing.T, file string) []fleet.Document {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parsed, problems := specfile.Parse(filepath.Base(file), content)
	var docs []fleet.Document
	for _, p := range parsed {
		docs = append(docs, p.Document)
		if f, ok := p.Document.(*fleet.Fleet); ok {
			problems = append(problems, p.Locate(render.Check(f))...)
		}
	}
	if len(problems) > 0 {
		t.Fatalf("%s:\n%s", file, specfile.Format(problems))
	}
	return docs
}

// renderExample compares what the first node of each pool is given.
func renderExample(t *testing.T, file string, docs []fleet.Document) {
	t.Helper()
	var networks []*fleet.Network
	for _, doc := range docs {
		if n, ok := doc.(*fleet.Network); ok {
			networks = append(networks, n)
		}
	}
	var b strings.Builder
	for _, doc := range docs {
		f, ok := doc.(*fleet.Fleet)
		if !ok {
			continue
		}
		for _, p := range f.Spec.Pools {
			node := fmt.Sprintf("%s-%s-0", f.Metadata.Name, p.Name)
			cfg, err := render.Offline(f, networks, node, exampleSecrets)
			if err != nil {
				t.Fatal(err)
			}
			writeExample(t, &b, node, cfg)
		}
	}
	compareExample(t, filepath.Join("testdata", "examples", strings.TrimSuffix(filepath.Base(file), ".yaml")+".golden"), b.String())
}

// exampleSecrets must have a form that the config can be checked with.
var exampleSecrets = map[string]string{
	"sshKey":       "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBVfS9Hh3G5yHkvGBTzAqr0Pt/WRbDxRyqyiXvPDXYFp somebody",
	"passwordHash": "$6$salt$hash",
}

func writeExample(t *testing.T, b *strings.Builder, node string, cfg *render.Config) {
	t.Helper()
	fmt.Fprintf(b, "# %s\n", node)
	info := cfg.GuestInfo()
	delete(info, render.GuestInfoData)
	for _, key := range slices.Sorted(maps.Keys(info)) {
		fmt.Fprintf(b, "%s = %s\n", key, info[key])
	}
	if cfg.Opaque {
		b.Write(cfg.Ignition)
		return
	}
	parsed, report, err := ignition.ParseCompatibleVersion(cfg.Ignition)
	if err != nil || len(report.Entries) > 0 {
		t.Errorf("%s: Ignition says %v, %s", node, err, report)
	}
	// What role base alone gives is the same everywhere, and shown with the
	// roles in pkg/render/testdata.
	base := map[string]bool{}
	for _, s := range cfg.Provenance {
		base[s.Name] = slices.Equal(s.Layers, []string{"role base"})
	}
	for _, f := range parsed.Storage.Files {
		if !base[f.Path] {
			writeFile(t, b, f)
		}
	}
	for _, l := range parsed.Storage.Links {
		fmt.Fprintf(b, "\nlink %s -> %s\n", l.Path, *l.Target)
	}
	for _, u := range parsed.Systemd.Units {
		if !base[u.Name] {
			writeUnit(b, u)
		}
	}
	rest, err := json.MarshalIndent(map[string]any{"passwd": parsed.Passwd, "kernelArguments": parsed.KernelArguments}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(b, "\n%s\n", rest)
}

func writeFile(t *testing.T, b *strings.Builder, f types.File) {
	t.Helper()
	fmt.Fprintf(b, "\nfile %s %04o\n", f.Path, *f.Mode)
	if !strings.HasPrefix(*f.Contents.Source, "data:") {
		fmt.Fprintf(b, "%s\n%s\n", *f.Contents.Source, *f.Contents.Verification.Hash)
		return
	}
	u, err := dataurl.DecodeString(*f.Contents.Source)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(u.Data)
}

func writeUnit(b *strings.Builder, u types.Unit) {
	fmt.Fprintf(b, "\nunit %s enabled %t, masked %t\n", u.Name, u.Enabled != nil && *u.Enabled, u.Mask != nil && *u.Mask)
	if u.Contents != nil {
		b.WriteString(*u.Contents)
	}
	for _, d := range u.Dropins {
		fmt.Fprintf(b, "drop-in %s\n%s", d.Name, *d.Contents)
	}
}

func compareExample(t *testing.T, golden, got string) {
	t.Helper()
	if os.Getenv("YARD_UPDATE") != "" {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s differs; run with YARD_UPDATE=1 and look at the diff.\ngot:\n%s", golden, got)
	}
}
