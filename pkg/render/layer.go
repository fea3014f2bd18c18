package render

import (
	"embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
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
	// role layers are ours: they may use the names of roles.
	role bool
	body body
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

//go:embed roles/*.bu
var roleFiles embed.FS

// roles says which files a shipped role is made of.
var roles = map[string]func(*fleet.Fleet, *fleet.Pool) []string{
	roleBase: func(f *fleet.Fleet, _ *fleet.Pool) []string {
		if f.Spec.OS.Version != "" {
			return []string{"base", "base-pinned"}
		}
		return []string{"base"}
	},
	roleStaticNet: func(_ *fleet.Fleet, p *fleet.Pool) []string {
		var files []string
		for card := range max(1, fleet.CardCount(p.Networks)) {
			files = append(files, "static-net-"+strconv.Itoa(card))
		}
		return files
	},
}

// The shipped roles.
const (
	roleBase      = "base"
	roleStaticNet = "static-net"
)

// Roles returns the names of the shipped roles, sorted.
func Roles() []string { return []string{roleBase, roleStaticNet} }

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

func readLayer(f *fleet.Fleet, p *fleet.Pool, path string, l fleet.Layer) ([]layer, []fleet.Problem) {
	switch {
	case l.Role != "":
		return readRole(f, p, path, l.Role)
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

func readRole(f *fleet.Fleet, p *fleet.Pool, path, name string) ([]layer, []fleet.Problem) {
	files, ok := roles[name]
	if !ok {
		hint := "the roles are " + strings.Join(Roles(), ", ")
		if near := fleet.Nearest(name, Roles()); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return nil, []fleet.Problem{{Path: path + ".role", Message: fmt.Sprintf("there is no role %q", name), Hint: hint}}
	}
	var out []layer
	for _, file := range files(f, p) {
		b, wrong := readButane(roleText(file))
		if len(wrong) > 0 {
			return nil, place(path+".role", wrong)
		}
		out = append(out, layer{path: path + ".role", label: "role " + name, role: true, body: b})
	}
	return out, nil
}

// roleText is the Butane of one part of a role. The parts of static-net differ
// in the number of their network card alone.
func roleText(file string) string {
	name, card := file, ""
	if number, ok := strings.CutPrefix(file, "static-net-"); ok {
		name, card = "static-net", number
	}
	text, err := roleFiles.ReadFile("roles/" + name + ".bu")
	if err != nil {
		panic(err) // the table names a file that is not embedded: the first test shows it
	}
	return strings.ReplaceAll(string(text), "CARD", card)
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
