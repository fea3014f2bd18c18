package schema_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/schema"
)

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := schema.JSON()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	out, err := c.Compile("schema.json")
	if err != nil {
		t.Fatalf("the schema is not one: %v", err)
	}
	return out
}

// documents are a file's, as an editor reads them.
func documents(t *testing.T, file string) []any {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []any
	for part := range strings.SplitSeq("\n"+string(text), "\n---") {
		var doc any
		if err := yaml.Unmarshal([]byte(part), &doc); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if doc != nil {
			out = append(out, plain(doc))
		}
	}
	return out
}

// plain turns YAML's numbers into those that JSON has.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = plain(v[key])
		}
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case uint64:
		return float64(v)
	}
	return v
}

// The schema takes every document that is right.
func TestSchemaTakesWhatIsRight(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	files, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("examples = %v, %v", files, err)
	}
	for _, file := range append(files, "../specfile/testdata/full.yaml") {
		for _, doc := range documents(t, file) {
			if err := s.Validate(doc); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// And refuses what an editor should underline.
func TestSchemaRefusesWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	for _, name := range []string{"typos", "experience", "types", "no-kind", "unknown-kind", "wrong-version", "null-values", "quantities"} {
		for _, doc := range documents(t, "../specfile/testdata/wrong/"+name+".yaml") {
			if err := s.Validate(doc); err == nil {
				t.Errorf("%s.yaml passes the schema", name)
			}
		}
	}
}

// What the comments say about values and defaults is what the rules hold.
func TestCommentsAreTrue(t *testing.T) {
	t.Parallel()
	for path, want := range map[string][]string{
		"fleet.spec.os.channel":             fleet.Channels,
		"fleet.spec.os.updates.reboot":      {fleet.RebootAtOnce, fleet.RebootEtcdLock, fleet.RebootOff},
		"fleet.spec.os.updates.coordinator": {fleet.CoordinatorKured, fleet.CoordinatorFluo},
		"fleet.spec.pools.ready.by":         {fleet.ReadyByPhoneHome, fleet.ReadyByGuestAddress},
		"fleet.spec.pools.vsphere.clone":    {fleet.CloneFull, fleet.CloneLinked},
	} {
		if f := find(t, path); !slices.Equal(f.OneOf, want) {
			t.Errorf("%s is one of %v; the rules say %v", path, f.OneOf, want)
		}
	}
	for path, want := range map[string]string{
		"fleet.spec.pools.hostname":             fleet.DefaultHostname,
		"fleet.spec.pools.ready.timeout":        "10m",
		"fleet.spec.protect.maxDestroyPercent":  strconv.Itoa(fleet.DefaultMaxDestroyPercent),
		"fleet.spec.protect.maxCreate":          strconv.Itoa(fleet.DefaultMaxCreate),
		"fleet.spec.retry.attempts":             strconv.Itoa(fleet.DefaultAttempts),
		"fleet.spec.retry.backoff":              fleet.DefaultBackoff.String(),
		"fleet.spec.retry.maxBackoff":           "5m",
		"site.spec.vsphere.limits.clones":       strconv.Itoa(fleet.DefaultClones),
		"site.spec.vsphere.limits.perTemplate":  strconv.Itoa(fleet.DefaultPerTemplate),
		"site.spec.vsphere.limits.perDatastore": strconv.Itoa(fleet.DefaultPerDatastore),
		"site.spec.vsphere.limits.operations":   strconv.Itoa(fleet.DefaultOperations),
		"fleet.spec.pools.vsphere.clone":        fleet.CloneFull,
		"fleet.spec.pools.ready.by":             fleet.ReadyByPhoneHome,
		"fleet.spec.pools.vsphere.source":       "the template flatcar-<version>",
		"fleet.spec.pools.stable":               "false",
		"fleet.spec.rollout.maxUnavailable":     "1 if maxSurge is 0, else 0",
		"network.spec.gateway":                  "",
	} {
		if f := find(t, path); f.Default != want {
			t.Errorf("the default of %s is %q; want %q", path, f.Default, want)
		}
	}
}

func find(t *testing.T, path string) *schema.Field {
	t.Helper()
	f, err := schema.Find(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFind(t *testing.T) {
	t.Parallel()
	f := find(t, "Fleet.spec.pools[0].vsphere")
	if f.Path != "fleet.spec.pools.vsphere" || !f.Required || f.Type != schema.Object || len(f.Fields) < 10 {
		t.Errorf("Find = %+v; want the required object", f)
	}
	if f := find(t, "spec.config[2].role"); f.Path != "fleet.spec.config.role" || !slices.Contains(f.OneOf, fleet.RoleDocker) {
		t.Errorf("Find = %+v; want the fleet's, with the roles", f)
	}
	if f := find(t, "spec.subnet"); f.Path != "network.spec.subnet" {
		t.Errorf("Find = %+v; want the network's", f)
	}
	for path, says := range map[string]string{
		"flet":                      `did you mean "fleet"?`,
		"fleet.spec.pool":           `fleet.spec has no "pool"; did you mean "pools"?`,
		"fleet.spec.os.version.x":   "fleet.spec.os.version has no",
		"fleet.spec.os.qqqqqqqqqqq": "known: channel, version, updates",
		"":                          "known: fleet, network, site",
	} {
		if _, err := schema.Find(path); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Find(%q) = %v; want it to say %q", path, err, says)
		}
	}
}

// Every field says something, and nothing of how it is written in Go.
func TestEveryFieldSaysSomething(t *testing.T) {
	t.Parallel()
	var walk func(f *schema.Field)
	walk = func(f *schema.Field) {
		if f.Means == "" || !strings.HasPrefix(f.Means, f.Name) && !strings.HasPrefix(strings.ToLower(f.Means), f.Name) {
			t.Errorf("%s means %q", f.Path, f.Means)
		}
		for _, child := range f.Fields {
			walk(child)
		}
	}
	for _, doc := range schema.Documents() {
		walk(doc)
	}
}

func TestSchemaIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	first, err := schema.JSON()
	if err != nil {
		t.Fatal(err)
	}
	again, err := schema.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(first), string(again)); d != "" {
		t.Error(d)
	}
}
