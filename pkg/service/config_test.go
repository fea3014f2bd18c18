package service

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yardmaster.dev/pkg/fleet"
)

type busConfig struct {
	URL    string `json:"url,omitempty"`
	CAFile string `json:"caFile,omitempty"`
}

type testConfig struct {
	Bus    busConfig      `json:"bus"`
	Slots  int            `json:"slots,omitempty"`
	Wait   fleet.Duration `json:"wait,omitzero"`
	Shards []string       `json:"shards,omitempty"`
	Strict bool           `json:"strict,omitempty"`
}

func TestLoadOrder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	content := "bus: {url: nats://file, caFile: /file}\nslots: 3\nwait: 90s\ninstance: a\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("YARDMASTER_BUS_CA_FILE", "/env")
	t.Setenv("YARDMASTER_SLOTS", "4")
	var p Process
	c := testConfig{Slots: 1}
	args := []string{"--config", file, "--slots", "5", "--shards=0, 1", "--strict=true"}
	if err := Load("test", args, &p, &c); err != nil {
		t.Fatal(err)
	}
	want := testConfig{Bus: busConfig{"nats://file", "/env"}, Slots: 5, Shards: []string{"0", "1"}, Strict: true}
	if err := want.Wait.UnmarshalText([]byte("90s")); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, c); d != "" {
		t.Errorf("Load: config differs (-want +got):\n%s", d)
	}
	if p.Instance != "a" {
		t.Errorf("Load: instance = %q; want %q", p.Instance, "a")
	}
}

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	write := func(t *testing.T, s string) string {
		t.Helper()
		name := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(name, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for name, c := range map[string]struct {
		file string
		args []string
		want string
	}{
		"unknown setting":        {file: "bas: {}\n", want: `unknown setting "bas"`},
		"unknown nested setting": {file: "bus: {ulr: x}\n", want: `unknown field "ulr"`},
		"not a mapping":          {file: "- a\n", want: "must be a mapping"},
		"wrong number":           {args: []string{"--slots", "x"}, want: `flag --slots: "x" is not a whole number`},
		"wrong duration":         {args: []string{"--wait", "soon"}, want: "is not a duration"},
		"unknown flag":           {args: []string{"--nope"}, want: "nope"},
		"stray argument":         {args: []string{"go"}, want: `unexpected argument "go"`},
		"missing file":           {args: []string{"--config", "/does/not/exist"}, want: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := c.args
			if c.file != "" {
				args = append(args, "--config", write(t, c.file))
			}
			err := Load("test", args, &Process{}, &testConfig{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Load(%q) = %v; want an error with %q", args, err, c.want)
			}
		})
	}
}
