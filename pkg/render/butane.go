package render

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/coreos/butane/config/common"
	butane10 "github.com/coreos/butane/config/flatcar/v1_0"
	butane11 "github.com/coreos/butane/config/flatcar/v1_1"
	"github.com/coreos/go-semver/semver"
	ignition "github.com/coreos/ignition/v2/config/v3_4"
	"github.com/coreos/vcontext/report"
	"gopkg.in/yaml.v3"
)

// variant is the only Butane variant that we take. Butane itself knows more
// and translates them without a word, into configs that are not Flatcar's.
const variant = "flatcar"

// translators are the versions of Butane's flatcar variant that released
// Flatcars read; 1.2.0 is experimental and asks for an Ignition that none of
// them has.
var translators = map[string]translator{
	"1.0.0": {specLowest, butane10.ToIgn3_3Bytes},
	"1.1.0": {specNewest, butane11.ToIgn3_4Bytes},
}

type translator struct {
	spec string
	run  func([]byte, common.TranslateBytesOptions) ([]byte, report.Report, error)
}

// butane is a Butane layer as a YAML tree.
type butane struct {
	root    *yaml.Node
	version string
}

// readButane parses the YAML and refuses at once what must not reach Butane.
func readButane(text string) (*butane, []finding) {
	if len(text) > maxInput {
		return nil, []finding{{message: fmt.Sprintf("%d KiB of Butane; the most is %d KiB", len(text)>>10, maxInput>>10)}}
	}
	if hint := otherLanguage(text); hint != "" {
		return nil, []finding{{message: "this is not Butane", hint: hint}}
	}
	dec := yaml.NewDecoder(strings.NewReader(text))
	var document yaml.Node
	if err := dec.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, []finding{{message: "an empty Butane document", hint: "it begins with variant: flatcar and version: 1.0.0"}}
		}
		return nil, yamlFindings(err, func(line int) int { return line })
	}
	if err := dec.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, []finding{{message: "more than one YAML document", hint: "Butane reads the first and drops the rest in silence; make each a layer of its own"}}
	}
	b := &butane{root: document.Content[0]}
	if wrong := b.check(); len(wrong) > 0 {
		return nil, wrong
	}
	return b, nil
}

// check refuses what must not reach Butane: anchors, placeholders outside of
// values, a wrong variant or version, too many items.
func (b *butane) check() []finding {
	if out := checkTree(b.root); len(out) > 0 {
		return out
	}
	if b.root.Kind != yaml.MappingNode {
		return []finding{at(b.root, "this is not a Butane document", "it begins with variant: flatcar and version: 1.0.0")}
	}
	if out := notButane(b.root); len(out) > 0 {
		return out
	}
	var out []finding
	if got := lookup(b.root, "variant"); got == nil || got.Value != variant {
		out = append(out, at(orRoot(got, b.root), "variant must be flatcar", "other variants translate to configs for other systems"))
	}
	got := lookup(b.root, "version")
	if got == nil || translators[got.Value].run == nil {
		out = append(out, at(orRoot(got, b.root), "version must be 1.0.0 or 1.1.0", "newer versions need an Ignition that released Flatcars do not have"))
	} else {
		b.version = got.Value
	}
	if n := countItems(b.root); n > maxItems {
		out = append(out, at(b.root, fmt.Sprintf("%d files, links, directories and units; the most is %d", n, maxItems), "put many files into one archive and unpack it with a unit"))
	}
	return out
}

// clcKeys are the keys that Container Linux Config has and Butane has not.
var clcKeys = []string{"etcd", "flannel", "docker", "update", "locksmith", "networkd"}

// notButane recognizes the languages that are YAML too and have no variant.
func notButane(root *yaml.Node) []finding {
	if lookup(root, "variant") != nil {
		return nil
	}
	if version := lookup(root, "ignition", "version"); version != nil {
		return []finding{at(root, "this is an Ignition config, not Butane", "write it as a layer of its own: - ignition: |")}
	}
	for _, key := range clcKeys {
		if lookup(root, key) != nil {
			return []finding{at(root, "this is a Container Linux Config, which Flatcar does not read", "write variant: flatcar and version: 1.0.0, files without filesystem:, units with enabled:, and update settings as spec.os.updates")}
		}
	}
	return nil
}

func at(n *yaml.Node, message, hint string) finding {
	return finding{line: n.Line, column: n.Column, message: message, hint: hint}
}

func checkTree(root *yaml.Node) []finding {
	var out []finding
	walk(root, func(n *yaml.Node, key bool) {
		switch {
		case n.Kind == yaml.AliasNode || n.Anchor != "":
			out = append(out, at(n, "YAML anchors and aliases are not allowed", "write the value out; a few aliases can expand to gigabytes"))
		case n.Style&yaml.TaggedStyle != 0:
			out = append(out, at(n, "YAML tags are not allowed", "write the value without "+n.Tag))
		case key && n.Kind != yaml.ScalarNode:
			out = append(out, at(n, "a mapping where a name is expected", `a placeholder must be quoted: "{{ .node.hostname }}"`))
		case key && strings.Contains(n.Value, "{{"):
			out = append(out, at(n, "a placeholder in the name of a field", "placeholders stand in values only"))
		}
	})
	return out
}

func orRoot(n, root *yaml.Node) *yaml.Node {
	if n == nil {
		return root
	}
	return n
}

// walk visits every node below n, telling keys from values.
func walk(n *yaml.Node, visit func(n *yaml.Node, key bool)) {
	visit(n, false)
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			visit(child, true)
			continue
		}
		walk(child, visit)
	}
}

// lookup returns the value of a mapping's key, nil if it has none.
func lookup(n *yaml.Node, path ...string) *yaml.Node {
	for _, name := range path {
		if n.Kind != yaml.MappingNode {
			return nil
		}
		var found *yaml.Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == name {
				found = n.Content[i+1]
			}
		}
		if found == nil {
			return nil
		}
		n = found
	}
	return n
}

func countItems(root *yaml.Node) int {
	count := 0
	for _, path := range [][]string{{"storage", "files"}, {"storage", "links"}, {"storage", "directories"}, {"systemd", "units"}} {
		if n := lookup(root, path...); n != nil {
			count += len(n.Content)
		}
	}
	return count
}

func (b *butane) spec() semver.Version { return *semver.New(translators[b.version].spec) }

func (b *butane) texts(visit func(string)) {
	walk(b.root, func(n *yaml.Node, _ bool) { visit(n.Value) })
}

// translate writes the filled tree as YAML, lets Butane translate it, and
// finds its way back from the lines of that YAML to those of the layer.
func (b *butane) translate(fill filler) (translated, []finding) {
	var wrong []finding
	lines := map[string]int{}
	text, err := yaml.Marshal(filled(b.root, func(n *yaml.Node) string {
		value, err := fillText(n.Value, fill)
		if err != nil {
			wrong = append(wrong, finding{line: n.Line, column: n.Column, message: err.Error()})
		}
		if lines[value] == 0 {
			lines[value] = n.Line
		}
		return value
	}))
	if err != nil {
		wrong = append(wrong, finding{message: err.Error()})
	}
	if len(wrong) > 0 {
		return translated{}, wrong
	}
	var written yaml.Node
	if err := yaml.Unmarshal(text, &written); err != nil {
		return translated{}, []finding{{message: err.Error()}}
	}
	places := map[position]position{}
	relate(written.Content[0], b.root, places)

	options := common.TranslateBytesOptions{TranslateOptions: common.TranslateOptions{NoResourceAutoCompression: true}}
	out, rep, err := translators[b.version].run(text, options)
	if wrong = reportFindings(rep, places); len(wrong) > 0 {
		return translated{}, wrong
	}
	if err != nil {
		return translated{}, yamlFindings(err, func(line int) int { return originLine(places, line) })
	}
	cfg, _, err := ignition.ParseCompatibleVersion(out)
	if err != nil {
		return translated{}, []finding{{message: fmt.Sprintf("Butane wrote an Ignition config that Ignition refuses: %v", err)}}
	}
	return translated{config: cfg, line: func(value string) int { return lines[value] }}, nil
}

// filled copies the tree with its text values filled. Text is written in
// double quotes: there nothing needs to be guessed about the value.
func filled(n *yaml.Node, fill func(*yaml.Node) string) *yaml.Node {
	out := *n
	out.HeadComment, out.LineComment, out.FootComment = "", "", ""
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		out.Value, out.Style, out.Tag = fill(n), yaml.DoubleQuotedStyle, "!!str"
	}
	out.Content = make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			out.Content[i] = child
			continue
		}
		out.Content[i] = filled(child, fill)
	}
	return &out
}

// position is a place in a text.
type position struct{ line, column int }

// relate maps the places of a tree to those of the tree it was written from.
func relate(written, origin *yaml.Node, places map[position]position) {
	places[position{written.Line, written.Column}] = position{origin.Line, origin.Column}
	for i := range min(len(written.Content), len(origin.Content)) {
		relate(written.Content[i], origin.Content[i], places)
	}
}

// originLine returns the line of the layer that was written to a line.
func originLine(places map[position]position, line int) int {
	best := position{}
	for written, origin := range places {
		if written.line == line && (best.line == 0 || origin.line < best.line) {
			best = origin
		}
	}
	return best.line
}

// reportFindings takes every entry of a report, warnings too: a warning says
// that the node will lack what was written. The entries come in the order of
// a map; place sorts them.
func reportFindings(rep report.Report, places map[position]position) []finding {
	var out []finding
	for _, e := range rep.Entries {
		f := finding{message: e.Message}
		if context := e.Context.String(); context != "" && context != "$" {
			f.message += " (" + context + ")"
		}
		if p := e.Marker.StartP; p != nil {
			origin, ok := places[position{int(p.Line), int(p.Column)}]
			if !ok && places == nil {
				origin = position{int(p.Line), int(p.Column)}
			}
			f.line, f.column = origin.line, origin.column
		}
		f.hint = reportHint(e.Message)
		out = append(out, f)
	}
	return out
}

// reportHints say what to do about reports that puzzle people.
var reportHints = []struct{ in, hint string }{
	{"local file", "inline the content: the renderer reads no files for a fleet"},
	{"files-dir", "inline the content: the renderer reads no files for a fleet"},
	{"unused key", "check the spelling and the indentation"},
	{"unreasonable mode", "write the mode in octal: 0644"},
	{"unit extension", "name it app.service, or with another suffix of systemd's"},
	{"drop-in extension", "name it 10-app.conf"},
	{"install section", "add [Install] with WantedBy=multi-user.target"},
}

func reportHint(message string) string {
	for _, h := range reportHints {
		if strings.Contains(message, h.in) {
			return h.hint
		}
	}
	return ""
}

var (
	yamlLine = regexp.MustCompile(`line (\d+): `)
	goType   = regexp.MustCompile(` into v\d+_\d+(_exp)?\.(\w+)`)
)

// yamlFindings takes an error of the YAML decoder apart, which has the line
// in its text only.
func yamlFindings(err error, origin func(int) int) []finding {
	var out []finding
	for text := range strings.SplitSeq(err.Error(), "\n") {
		text = strings.TrimSpace(strings.TrimPrefix(text, "yaml: "))
		if text == "" || text == "unmarshal errors:" || strings.HasSuffix(text, "yaml: unmarshal errors:") {
			continue
		}
		f := finding{message: text}
		if m := yamlLine.FindStringSubmatchIndex(text); m != nil {
			line, _ := strconv.Atoi(text[m[2]:m[3]]) // the expression takes digits only
			f.line, f.message = origin(line), text[:m[0]]+text[m[1]:]
		}
		f.message = goType.ReplaceAllString(f.message, " into $2")
		if strings.Contains(f.message, "!!map into string") {
			f.hint = `a placeholder must be quoted: "{{ .node.hostname }}"`
		}
		out = append(out, f)
	}
	return out
}
