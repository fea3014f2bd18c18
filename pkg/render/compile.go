package render

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/ignition/v2/config/v3_4/types"

	"yardmaster.dev/pkg/fleet"
)

// Compiled is a pool's config before any node's values: immutable, safe for
// concurrent use, and without secrets.
type Compiled struct {
	layers  []layer
	vars    map[string]string
	secrets map[string]fleet.Secret
	// forms are what roles want a secret to look like.
	forms   map[string][]fleet.Form
	release release
	updates string
	// userData is the whole of it in a pool with user data.
	userData string
	// networks are the Networks on which the nodes have a static address,
	// static says that there is one.
	networks []string
	static   bool

	holes []hole
	// pieces of the finished JSON; nil means that every node takes the slow
	// path.
	pieces     []piece
	fixed      int
	provenance []Source
}

// hole is a value that differs from node to node.
type hole struct {
	fleet.Placeholder
	// unit says that it stands in a systemd unit somewhere.
	unit bool
}

// piece is a literal and the hole after it; the last has none.
type piece struct {
	literal string
	hole    int // -1 for none
	kind    byte
}

// The kinds of places at which a marker can stand, as they are written in it.
const (
	kindRaw  = 'p' // not known to be harmless: the slow path
	kindData = 'd' // in a data: URL, escaped
	kindText = 'u' // in a unit: in a JSON string as it is
)

// maxHoles bounds the different placeholders of a pool.
const maxHoles = 1000

// RefusedError is why a config cannot be rendered: every problem that was found.
type RefusedError struct{ Problems []fleet.Problem }

// Error joins the problems, one to a line.
func (r *RefusedError) Error() string {
	lines := make([]string, 0, len(r.Problems))
	for _, p := range r.Problems {
		line := p.Message
		if p.Path != "" {
			line = p.Path + ": " + line
		}
		if p.Hint != "" {
			line += " (" + p.Hint + ")"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func refuse(problems []fleet.Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &RefusedError{Problems: problems}
}

// Compile compiles the config of a pool. Its error is a *RefusedError.
func Compile(f *fleet.Fleet, pool string) (*Compiled, error) {
	for i := range f.Spec.Pools {
		if f.Spec.Pools[i].Name == pool {
			return compile(f, i)
		}
	}
	return nil, refuse([]fleet.Problem{{Path: "spec.pools", Message: fmt.Sprintf("there is no pool %q", pool)}})
}

func compile(f *fleet.Fleet, pool int) (*Compiled, error) {
	if v := f.Spec.Pools[pool].VSphere; v != nil && v.UserData != "" {
		return compileUserData(f, pool)
	}
	layers, problems := layersOf(f, pool)
	if len(problems) > 0 {
		return nil, refuse(problems)
	}
	c := newCompiled(f, pool, layers)
	if problems := c.release.check(layers); len(problems) > 0 {
		return nil, refuse(problems)
	}
	m := newMarkers(layers, c.vars)
	built, problems := c.assemble(m.value, valuesOf{opaque: m.opaque, show: m.show})
	if len(problems) == 0 && len(m.holes) > maxHoles {
		problems = []fleet.Problem{{Path: "spec.config", Message: fmt.Sprintf("%d different placeholders; the most is %d", len(m.holes), maxHoles)}}
	}
	if len(problems) > 0 {
		return nil, refuse(problems)
	}
	c.holes, c.provenance = m.holes, built.provenance
	if stampable := m.classify(&built.config); stampable {
		text, err := marshal(&built.config)
		if err != nil {
			return nil, err
		}
		c.pieces, c.fixed = m.split(string(text))
	}
	return c, nil
}

func newCompiled(f *fleet.Fleet, pool int, layers []layer) *Compiled {
	p := &f.Spec.Pools[pool]
	c := &Compiled{
		layers: layers, vars: varsOf(f, p), secrets: f.Spec.Secrets, forms: map[string][]fleet.Form{},
		release: releaseOf(f.Spec.OS.Version), updates: updateLines(f.Spec.OS),
	}
	for _, n := range p.Networks {
		if !n.DHCP {
			c.networks = append(c.networks, n.Ref)
		}
	}
	c.static = len(c.networks) > 0
	for _, l := range layers {
		if l.role == nil {
			continue
		}
		for _, param := range l.role.Params {
			if secret, ok := strings.CutPrefix(param.Name, "secrets."); ok {
				c.forms[secret] = append(c.forms[secret], param.Form)
			}
		}
	}
	return c
}

// Secrets returns the names of the secrets that the config uses, sorted.
func (c *Compiled) Secrets() []string {
	var out []string
	for _, h := range c.holes {
		if name, ok := strings.CutPrefix(h.Name, "secrets."); ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// usesAddress reports whether any layer is told one of the node's addresses.
func (c *Compiled) usesAddress() bool {
	return slices.ContainsFunc(c.holes, func(h hole) bool {
		return slices.Contains(addressNames, h.Name) || strings.HasPrefix(h.Name, namePrefixAddress)
	})
}

// Structural reports whether placeholders stand where they change the
// config's structure, so that every node is translated anew.
func (c *Compiled) Structural() bool { return c.pieces == nil && c.userData == "" }

// filler says what the layers may use, takes the vars from the fleet and
// asks value for the rest. Vars are the same for every node of a pool, so
// they are filled when compiling and may stand anywhere.
func (c *Compiled) filler(l *layer, value filler) filler {
	return func(p fleet.Placeholder) (string, error) {
		if name, ok := strings.CutPrefix(p.Name, "vars."); ok {
			v, ok := c.vars[name]
			if param := l.param(p.Name); param != nil && (!ok || !param.Form.Fits(v)) {
				if ok {
					return "", fmt.Errorf("%s: %q is not %s", p, v, param.Form.Is)
				}
				v, ok = param.Default, param.Default != ""
			}
			if !ok {
				return "", fmt.Errorf("%s: the fleet has no var %q%s", p, name, didYouMean(name, slices.Sorted(maps.Keys(c.vars))))
			}
			if !isText(v) {
				return "", fmt.Errorf("%s: its value is not text", p)
			}
			return p.Apply(v)
		}
		if l.role != nil && p.Name == nameUpdates {
			return c.updates, nil
		}
		if err := c.allowed(l, p); err != nil {
			return "", err
		}
		return value(p)
	}
}

func (c *Compiled) allowed(l *layer, p fleet.Placeholder) error {
	if name, ok := strings.CutPrefix(p.Name, "secrets."); ok {
		if _, ok := c.secrets[name]; !ok {
			return fmt.Errorf("%s: the fleet has no secret %q%s", p, name, didYouMean(name, slices.Sorted(maps.Keys(c.secrets))))
		}
		return nil
	}
	if slices.Contains(addressNames, p.Name) && !c.static {
		return fmt.Errorf("%s: the pool has no static address; add networks: [{ref: ...}]", p)
	}
	if network, ok := strings.CutPrefix(p.Name, namePrefixAddress); ok {
		if !slices.Contains(c.networks, network) {
			return fmt.Errorf("%s: the pool's nodes have no static address of Network %q%s", p, network, didYouMean(network, c.networks))
		}
		return nil
	}
	if slices.Contains(nodeNames, p.Name) {
		return nil
	}
	if _, ok := cardOf(p.Name); l.role != nil && (ok || slices.Contains(roleNames, p.Name)) {
		return nil
	}
	return fmt.Errorf("%s: nothing is called that%s", p, didYouMean(p.Name, append(nodeNames, "vars.", "secrets.")))
}

func didYouMean(word string, known []string) string {
	if near := fleet.Nearest(word, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if len(known) == 0 {
		return ""
	}
	return "; known: " + strings.Join(known, ", ")
}

// markers stand for the values of a node while its pool is compiled: words
// of lower-case letters and digits, which no encoding changes, and which
// nobody can have written, because the prefix is a hash of all that was.
type markers struct {
	prefix string
	holes  []hole
	index  map[fleet.Placeholder]int
}

func newMarkers(layers []layer, vars map[string]string) *markers {
	var all strings.Builder
	for _, l := range layers {
		l.body.texts(func(s string) { all.WriteString(s); all.WriteByte(0) })
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		all.WriteString(vars[name] + "\x00")
	}
	m := &markers{index: map[fleet.Placeholder]int{}}
	text := all.String()
	for seed := text; m.prefix == "" || strings.Contains(text, m.prefix); seed += m.prefix {
		sum := sha256.Sum256([]byte(seed))
		m.prefix = "ym" + hex.EncodeToString(sum[:8])
	}
	return m
}

// The marker of hole 7 is <prefix>p0007z.
const markerTail = 1 + 4 + 1

func (m *markers) value(p fleet.Placeholder) (string, error) {
	i, ok := m.index[p]
	if !ok {
		i = len(m.holes)
		m.index[p] = i
		m.holes = append(m.holes, hole{Placeholder: p})
	}
	return m.marker(i), nil
}

func (m *markers) opaque(s string) bool { return strings.Contains(s, m.prefix) }

// show writes the placeholders back in place of their markers.
func (m *markers) show(s string) string {
	for i, h := range m.holes {
		if !m.opaque(s) {
			break
		}
		s = strings.ReplaceAll(s, m.marker(i), h.String())
	}
	return s
}

func (m *markers) marker(i int) string { return fmt.Sprintf("%s%c%04dz", m.prefix, kindRaw, i) }

// classify renames the markers that stand where any value can be put in
// later, and reports whether these were all.
func (m *markers) classify(cfg *types.Config) bool {
	stampable := true
	for i := range cfg.Storage.Files {
		f := &cfg.Storage.Files[i]
		stampable = m.data(&f.Contents) && stampable
		for j := range f.Append {
			stampable = m.data(&f.Append[j]) && stampable
		}
	}
	for i := range cfg.Systemd.Units {
		u := &cfg.Systemd.Units[i]
		stampable = m.text(&u.Contents) && stampable
		for j := range u.Dropins {
			stampable = m.text(&u.Dropins[j].Contents) && stampable
		}
	}
	if !stampable {
		return false
	}
	text, err := marshal(cfg)
	return err == nil && !strings.Contains(string(text), m.prefix+string(kindRaw))
}

// data classifies the content of a file. Content that is not text may be
// base64 for one node and escaped for another: that is structure.
func (m *markers) data(res *types.Resource) bool {
	if res.Source == nil {
		return true
	}
	header, ok := dataHeader(*res.Source)
	if !ok {
		return true // another marker in it is found later
	}
	if strings.HasSuffix(header, ";base64") {
		content, ok := decodeData(*res.Source)
		return ok && !strings.Contains(content, m.prefix) && !m.opaque(*res.Source)
	}
	if !m.opaque(*res.Source) {
		return true
	}
	if _, ok := plainText(*res.Source); !ok || strings.Contains(header, m.prefix) {
		return false
	}
	res.Source = m.rename(*res.Source, kindData)
	return true
}

// text classifies the content of a unit.
func (m *markers) text(content **string) bool {
	if *content == nil || !m.opaque(**content) {
		return true
	}
	for i := range m.holes {
		if strings.Contains(**content, m.marker(i)) {
			m.holes[i].unit = true
		}
	}
	for line := range strings.Lines(**content) {
		// A longer line would be cut for some nodes only.
		if n := strings.Count(line, m.prefix); n > 0 && len(line)+n*maxUnitValue > maxUnitLine {
			return false
		}
	}
	*content = m.rename(**content, kindText)
	return true
}

// maxUnitLine is where systemd cuts a line.
const maxUnitLine = 2048

func (m *markers) rename(s string, kind byte) *string {
	out := strings.ReplaceAll(s, m.prefix+string(kindRaw), m.prefix+string(kind))
	return &out
}

// split cuts the finished JSON at its markers.
func (m *markers) split(text string) (pieces []piece, fixed int) {
	for {
		before, after, found := strings.Cut(text, m.prefix)
		fixed += len(before)
		if !found {
			return append(pieces, piece{literal: before, hole: -1}), fixed
		}
		i, err := strconv.Atoi(after[1 : markerTail-1])
		if err != nil {
			panic(err) // nothing but value writes a marker
		}
		pieces = append(pieces, piece{literal: before, hole: i, kind: after[0]})
		text = after[markerTail:]
	}
}
