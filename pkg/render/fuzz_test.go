package render_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	ignition34 "github.com/coreos/ignition/v2/config/v3_4"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/render"
)

// FuzzStamp looks for a value, or a text around it, that stamping puts
// otherwise than the slow path does.
func FuzzStamp(f *testing.F) {
	f.Add("Hello {{ .node.hostname }}\n", "A={{ .secrets.join }}", "s3cr3t", 3)
	f.Add("{{ .secrets.join }}{{ .node.address | lastOctet }}", "Exec=x \\\n {{ .secrets.join }}", `<&>"\'%`, 250)
	f.Add(strings.Repeat(" ", 300)+"{{ .node.mac }}", "B=C", "\u2028ÿ", 0)
	f.Add("\x00{{ .node.uuid }}", "X={{ .vars.dir }}{{ .ordinal }}", "a\nb", 1)
	f.Fuzz(func(t *testing.T, text, line, secret string, ordinal int) {
		layer, ok := fuzzedLayer(text, line)
		if !ok {
			return
		}
		c, err := render.Compile(withRoles(layer), "edge")
		if err != nil {
			return
		}
		n := newNode(int(uint8(ordinal)))
		n.Secrets["join"] = secret
		got, err := c.Stamp(n)
		want, slowErr := c.SlowIgnition(n)
		if err != nil {
			if slowErr == nil && !errors.Is(err, render.ErrTooLarge) {
				t.Fatalf("Stamp: %v; the slow path gives %s", err, want)
			}
			return
		}
		if slowErr != nil {
			t.Fatalf("Stamp gives %s; the slow path says %v", got.Ignition, slowErr)
		}
		if !bytes.Equal(got.Ignition, want) {
			t.Fatalf("stamped %s\nslow    %s", got.Ignition, want)
		}
		if _, rep, err := ignition34.ParseCompatibleVersion(got.Ignition); err != nil || len(rep.Entries) > 0 {
			t.Fatalf("Ignition refuses %s: %v, %s", got.Ignition, err, rep)
		}
	})
}

// fuzzedLayer puts texts into a layer as JSON strings, which are YAML too.
func fuzzedLayer(text, line string) (fleet.Layer, bool) {
	content, err := render.QuoteJSON(text)
	if err != nil {
		return fleet.Layer{}, false
	}
	contents, err := render.QuoteJSON("[Service]\n" + line)
	if err != nil {
		return fleet.Layer{}, false
	}
	return butane(
		"storage: {files: [{path: /etc/x, contents: {inline: "+content+"}}]}",
		"systemd: {units: [{name: a.service, contents: "+contents+"}]}",
	), true
}

// FuzzCheck looks for a layer that makes the checks panic, and for one that
// passes them and cannot be rendered.
func FuzzCheck(f *testing.F) {
	f.Add(page().Butane, "")
	f.Add("variant: flatcar\nversion: 1.1.0\nstorage: {luks: [{name: x, device: /dev/sdb, discard: true}]}\n", `{"ignition": {"version": "3.0.0"}}`)
	f.Add("", `{"ignition": {"version": "3.4.0"}, "storage": {"files": [{"path": "/etc/{{ .node.name }}", "contents": {"source": "data:,{{ .secrets.join }}"}}]}}`)
	f.Add("variant: flatcar\nversion: 1.0.0\n\"\\u007b{ .x }}\": [*a, &a !!binary aGk=]\n", `{"\u007b\u007b .x }}": "{{"}`)
	f.Fuzz(func(t *testing.T, butane, ignition string) {
		var layers []fleet.Layer
		if butane != "" {
			layers = append(layers, fleet.Layer{Butane: butane})
		}
		if ignition != "" {
			layers = append(layers, fleet.Layer{Ignition: ignition})
		}
		f := withRoles(layers...)
		problems := render.Check(f)
		for _, p := range problems {
			if p.Path == "" || p.Message == "" || strings.Contains(p.Message, "p0000z") {
				t.Errorf("problem %+v leads nowhere", p)
			}
		}
		if len(problems) > 0 {
			return
		}
		c := compile(t, f)
		if c.Structural() {
			return // the values of this node may be refused
		}
		got := stamp(t, c, newNode(0))
		want, err := c.SlowIgnition(newNode(0))
		if err != nil || !bytes.Equal(got.Ignition, want) {
			t.Fatalf("stamped %s\nslow    %s, %v", got.Ignition, want, err)
		}
	})
}

// FuzzRoles looks for a parameter of a role that passes its form and then is
// stamped otherwise than the slow path does, or makes lines of its own.
func FuzzRoles(f *testing.F) {
	type param struct{ role, name string }
	var params []param
	for _, r := range fleet.Roles {
		for _, p := range r.Params {
			params = append(params, param{r.Name, p.Name})
		}
	}
	for i := range params {
		f.Add(i, "a")
	}
	f.Add(0, "10.0.0.0/8")
	f.Add(1, "https://mirror.example/a/b\n")
	f.Fuzz(func(t *testing.T, which int, value string) {
		p := params[int(uint(which)%uint(len(params)))]
		doc, n := roleFleet(p.role), roleNode(3)
		if name, ok := strings.CutPrefix(p.name, "secrets."); ok {
			n.Secrets[name] = value
		} else {
			doc.Spec.Vars[strings.TrimPrefix(p.name, "vars.")] = value
		}
		c, err := render.Compile(doc, "edge")
		if err != nil {
			return
		}
		got, err := c.Stamp(n)
		if err != nil {
			return
		}
		want, err := c.SlowIgnition(n)
		if err != nil || !bytes.Equal(got.Ignition, want) {
			t.Fatalf("stamped %s\nslow    %s, %v", got.Ignition, want, err)
		}
		usual := stamp(t, compile(t, roleFleet(p.role)), roleNode(3))
		if a, b := strings.Count(string(got.Ignition), "%0A"), strings.Count(string(usual.Ignition), "%0A"); a > b {
			t.Fatalf("%s=%q makes %d lines of %d in\n%s", p.name, value, a, b, got.Ignition)
		}
	})
}
