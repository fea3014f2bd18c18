package fleet_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yardmaster.dev/pkg/fleet"
)

var placeholderValues = map[string]string{
	"node.address": "10.0.0.42", "node.hostname": "web-edge-0", "vars.a-b": "", "fleet": "{{ .pool }}",
}

func lookupPlaceholder(name string) (string, bool) {
	v, ok := placeholderValues[name]
	return v, ok
}

func TestTemplateExpand(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want, err string }{
		"plain":         {in: "a } b { c }}", want: "a } b { c }}"},
		"empty":         {},
		"two":           {in: "{{.node.hostname}}/{{ .node.address }}", want: "web-edge-0/10.0.0.42"},
		"filter":        {in: "n{{ .node.address | lastOctet }}", want: "n42"},
		"empty value":   {in: "[{{ .vars.a-b }}]", want: "[]"},
		"never nested":  {in: "{{ .fleet }}", want: "{{ .pool }}"},
		"braces":        {in: `docker ps --format '{{ "{{" }}json .}}'`, want: `docker ps --format '{{json .}}'`},
		"tight braces":  {in: `{{"{{"}}`, want: "{{"},
		"no dot":        {in: "{{ node.address }}", err: "is not a placeholder"},
		"go template":   {in: "{{ range .x }}", err: "is not a placeholder"},
		"only a dot":    {in: "{{ . }}", err: "is not a placeholder"},
		"two dots":      {in: "{{ .node..address }}", err: "is not a placeholder"},
		"newline":       {in: "{{ .node\n.address }}", err: "is not a placeholder"},
		"open":          {in: "x {{ .node.address", err: "never closed"},
		"nested":        {in: "{{ {{ .node.address }} }}", err: "is not a placeholder"},
		"other filter":  {in: "{{ .node.address | upper }}", err: `unknown filter "upper"`},
		"empty filter":  {in: "{{ .node.address | }}", err: "unknown filter"},
		"two filters":   {in: "{{ .node.address | lastOctet | lastOctet }}", err: "unknown filter"},
		"wrong type":    {in: "{{ .node.hostname | lastOctet }}", err: "not an IPv4 address"},
		"unknown value": {in: "{{ .vars.x }}", err: "{{ .vars.x }} has no value here"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got string
			template, err := fleet.ParseTemplate(c.in)
			if err == nil {
				got, err = template.Expand(lookupPlaceholder)
			}
			switch {
			case c.err == "" && (err != nil || got != c.want):
				t.Errorf("Expand(%q) = %q, %v; want %q", c.in, got, err, c.want)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("Expand(%q) = %q, %v; want an error with %q", c.in, got, err, c.err)
			}
		})
	}
}

func TestTemplateNames(t *testing.T) {
	t.Parallel()
	template, err := fleet.ParseTemplate("{{ .pool }}{{ .fleet }}{{ .pool | lastOctet }}")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"fleet", "pool"}, template.Names()); diff != "" {
		t.Errorf("Names() (-want +got):\n%s", diff)
	}
	if template.Static() {
		t.Error("Static() = true; want false")
	}
}

func FuzzPlaceholder(f *testing.F) {
	for _, s := range []string{"", "{{", "}}", "{{ .a }}", "{{ .a.b | lastOctet }}x", `{{ "{{" }}`, "{{{{ .a }}}}", "{{ .a\n}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		template, err := fleet.ParseTemplate(s)
		if err != nil {
			return
		}
		// Putting each placeholder back must give a text that means the same.
		back, err := template.Fill(func(p fleet.Placeholder) (string, error) { return p.String(), nil })
		if err != nil {
			t.Fatal(err)
		}
		if template.Static() && !strings.Contains(s, "{{") && back != s {
			t.Errorf("a text without placeholders changed: %q -> %q", s, back)
		}
		value := func(string) (string, bool) { return "10.0.0.1", true }
		got, err := template.Expand(value)
		if err != nil {
			t.Fatalf("Expand(%q): %v", s, err)
		}
		if len(template.Names()) > len(template.Placeholders()) || len(got) > len(s)+8*len(template.Placeholders()) {
			t.Errorf("Expand(%q) = %q: more than was put in", s, got)
		}
	})
}
