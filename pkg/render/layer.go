package render

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coreos/go-semver/semver"
	"github.com/coreos/ignition/v2/config/v3_4/types"
	"github.com/vincent-petithory/dataurl"

	"yardmaster.dev/pkg/fleet"
)

// layer is one config layer of a pool, read but not yet filled.
type layer struct {
	// path is where it stands in the fleet: spec.config[1].butane.
	path string
	// label is what people call it: role base, or its path.
	label string
	// role is set in layers of ours: they may use the names of roles, and
	// their parameters may have defaults.
	role *fleet.Role
	body body
}

// param is the role's parameter of a name, nil if it has none.
func (l *layer) param(name string) *fleet.Param {
	if l.role == nil {
		return nil
	}
	return l.role.Param(name)
}

// body is a layer's text in one of its languages.
type body interface {
	// translate fills the placeholders and returns the Ignition config.
	translate(fill filler) (translated, []finding)
	// spec returns the Ignition version that the layer is written for.
	spec() semver.Version
	// texts visits all that is written in the layer.
	texts(visit func(string))
}

// translated is a layer as Ignition.
type translated struct {
	config types.Config
	// line returns the line on which a filled value stands, 0 if unknown.
	line func(value string) int
}

// filler returns what stands for a placeholder.
type filler func(fleet.Placeholder) (string, error)

// finding is something wrong within a layer.
type finding struct {
	line    int // 0 when unknown
	column  int
	message string
	hint    string
}

// problem places the finding in the fleet's document.
func (f finding) problem(path string) fleet.Problem {
	message := f.message
	if f.line > 0 {
		message = fmt.Sprintf("line %d: %s", f.line, message)
	}
	return fleet.Problem{Path: path, Message: message, Hint: f.hint}
}

// Limits of what is translated: Butane takes neither a context nor a size,
// and a hostile config can cost minutes and gigabytes.
const (
	maxInput = 256 << 10
	maxItems = 200
)

// layersOf reads the pool's layers: the fleet's, then its own.
func layersOf(f *fleet.Fleet, pool int) ([]layer, []fleet.Problem) {
	var out []layer
	var problems []fleet.Problem
	size := 0
	add := func(at string, layers []fleet.Layer) {
		for i, l := range layers {
			path := fmt.Sprintf("%s[%d]", at, i)
			read, wrong := readLayer(f, &f.Spec.Pools[pool], path, l)
			size += len(l.Butane) + len(l.Ignition)
			out, problems = append(out, read...), append(problems, wrong...)
		}
	}
	add("spec.config", f.Spec.Config)
	at := fmt.Sprintf("spec.pools[%d].config", pool)
	add(at, f.Spec.Pools[pool].Config)
	if size > maxInput && len(problems) == 0 {
		problems = append(problems, fleet.Problem{Path: at, Message: fmt.Sprintf("the layers of this pool are %d KiB together; the most is %d KiB", size>>10, maxInput>>10)})
	}
	return out, problems
}

func readLayer(f *fleet.Fleet, pool *fleet.Pool, path string, l fleet.Layer) ([]layer, []fleet.Problem) {
	switch {
	case l.Role != "":
		return readRole(f, pool, path, l.Role)
	case l.Butane != "":
		path += ".butane"
		b, wrong := readButane(l.Butane)
		return []layer{{path: path, label: path, body: b}}, place(path, wrong)
	case l.Ignition != "":
		path += ".ignition"
		b, wrong := readIgnition(l.Ignition)
		return []layer{{path: path, label: path, body: b}}, place(path, wrong)
	}
	return nil, []fleet.Problem{{Path: path, Message: "an empty layer", Hint: "write one of role, butane, ignition"}}
}

func place(path string, findings []finding) []fleet.Problem {
	slices.SortStableFunc(findings, func(a, b finding) int {
		if a.line != b.line {
			return a.line - b.line
		}
		if a.column != b.column {
			return a.column - b.column
		}
		return strings.Compare(a.message, b.message)
	})
	out := make([]fleet.Problem, 0, len(findings))
	for _, f := range findings {
		out = append(out, f.problem(path))
	}
	return slices.Compact(out)
}

var errBase64 = errors.New("a placeholder cannot stand in base64; write data:,{{ ... }}, in which values are escaped as they must be")

// fillText fills the placeholders of one string value. In a data: URL the
// value is escaped, so that it arrives as it is.
func fillText(text string, fill filler) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	t, err := fleet.ParseTemplate(text)
	if err != nil {
		return "", err
	}
	if header, ok := dataHeader(text); ok {
		if strings.HasSuffix(header, ";base64") && !t.Static() {
			return "", errBase64
		}
		return t.Fill(func(p fleet.Placeholder) (string, error) {
			value, err := fill(p)
			return dataurl.EscapeString(value), err
		})
	}
	return t.Fill(fill)
}

// dataHeader returns what stands between "data:" and the comma.
func dataHeader(s string) (string, bool) {
	rest, ok := strings.CutPrefix(s, "data:")
	if !ok {
		return "", false
	}
	header, _, ok := strings.Cut(rest, ",")
	return header, ok
}
