package specfile_test

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/specfile"
)

// TestMarshalRoundTrip holds that what get -o yaml prints applies: it reads
// back as the same document.
func TestMarshalRoundTrip(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	docs, problems := specfile.Parse("full.yaml", content)
	if len(problems) > 0 {
		t.Fatalf("Parse(full.yaml):\n%s", specfile.Format(problems))
	}
	if len(docs) != 3 {
		t.Fatalf("Parse(full.yaml) = %d documents; want 3", len(docs))
	}
	var all []byte
	for i, doc := range docs {
		if i > 0 {
			all = append(all, "---\n"...)
		}
		all = append(all, marshalAgain(t, doc.Document)...)
	}
	golden(t, "testdata/full.golden.yaml", string(all))
}

// marshalAgain writes a document and fails unless it reads back the same.
func marshalAgain(t *testing.T, doc fleet.Document) []byte {
	t.Helper()
	text, err := specfile.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	again, problems := specfile.Parse("again.yaml", text)
	if len(problems) > 0 || len(again) != 1 {
		t.Fatalf("Parse(Marshal(doc)) = %d documents, problems:\n%s\nof:\n%s", len(again), specfile.Format(problems), text)
	}
	if diff := cmp.Diff(doc, again[0].Document, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("Parse(Marshal(doc)) differs (-want +got):\n%s\nof:\n%s", diff, text)
	}
	return text
}

// TestMarshalText tries strings that YAML readers like to misread.
func TestMarshalText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", " ", "x", "yes", "No", "null", "~", "0x10", "010", "1e3", "1.5", "12:30:45", "2026-01-02", "a: b", "a #b", "#", "- a",
		"-", "?", "*a", "&a", "!a", "%a", "@a", "`a`", "{a}", "[a]", "a,b", "'", `"`, `\`, "\n", "\n\n", "a\n", "a\nb", "a\nb\n", "a\n\nb\n",
		"a\n\n", " a\nb\n", "a \nb\n", "\ta\nb\n", "a\n\tb\n", "a\r\nb\r\n", "---\na\n", "...\n", "a\n---\nb\n", "a\u0085b", "a\u2028b", "\ufeffa", "é", "日本", "😀",
		"{{ .fleet }}-{{ .ordinal }}", "|", ">", "| a", "a: |\n  b\n", "#a\nb\n", "a\n#b\n", "<<", "=", ".inf", "a\n b\n  c\n", "\n a\n",
	} {
		doc := &fleet.Network{
			APIVersion: fleet.APIVersion, Kind: fleet.KindNetwork, Metadata: fleet.Metadata{Name: "n", Labels: map[string]string{"a": text, "z": "z"}},
			Spec: fleet.NetworkSpec{Subnet: "10.0.0.0/24", Range: "10.0.0.10-10.0.0.20", Portgroup: text},
		}
		out, err := specfile.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		again, problems := specfile.Parse("again.yaml", out)
		if len(again) != 1 {
			t.Errorf("Marshal(%q) does not parse: %s\n%s", text, specfile.Format(problems), out)
			continue
		}
		if diff := cmp.Diff(doc, again[0].Document); diff != "" {
			t.Errorf("Parse(Marshal(%q)) differs (-want +got):\n%s\n%s", text, diff, out)
		}
	}
}

// FuzzMarshal puts any text into a document and wants it back.
func FuzzMarshal(f *testing.F) {
	f.Add("a", "b\nc\n")
	f.Fuzz(func(t *testing.T, name, text string) {
		doc := &fleet.Fleet{
			APIVersion: fleet.APIVersion, Kind: fleet.KindFleet, Metadata: fleet.Metadata{Name: "web"},
			Spec: fleet.FleetSpec{
				Vars:  map[string]string{name: text},
				Pools: []fleet.Pool{{Name: "edge", Config: []fleet.Layer{{Butane: text}, {Role: text}}, Ready: fleet.Ready{Timeout: fleet.Duration{Duration: time.Minute}}}},
			},
		}
		out, err := specfile.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		again, problems := specfile.Parse("again.yaml", out)
		if len(again) != 1 {
			t.Skip(specfile.Format(problems)) // control characters and the like: refused when first applied, too
		}
		if diff := cmp.Diff(doc, again[0].Document, cmpopts.EquateEmpty()); diff != "" && again[0].Document.DocumentName() == "web" && len(problems) == 0 {
			t.Errorf("Parse(Marshal(doc)) differs (-want +got):\n%s\n%s", diff, out)
		}
	})
}
