package fleet

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Placeholder is one {{ .name | filter }} in a text.
type Placeholder struct {
	// Name is dotted, without the leading dot: node.address.
	Name string
	// Filter is empty or FilterLastOctet.
	Filter string
}

// FilterLastOctet takes the last number of an IPv4 address.
const FilterLastOctet = "lastOctet"

// String writes the placeholder as people write it.
func (p Placeholder) String() string {
	if p.Filter == "" {
		return "{{ ." + p.Name + " }}"
	}
	return "{{ ." + p.Name + " | " + p.Filter + " }}"
}

// Apply runs the placeholder's filter over its value.
func (p Placeholder) Apply(value string) (string, error) {
	if p.Filter == "" {
		return value, nil
	}
	addr, err := netip.ParseAddr(value)
	if err != nil || !addr.Is4() {
		return "", fmt.Errorf("%s: the value is not an IPv4 address", p)
	}
	return strconv.Itoa(int(addr.As4()[3])), nil
}

// Template is a text with placeholders. It is deliberately less than Go's
// text/template: a value can be put in, nothing can be computed, so whoever
// writes a spec can neither loop nor look at what was not meant for it.
type Template struct{ parts []part }

// part is either a literal text or a placeholder.
type part struct {
	text string
	hole Placeholder
}

// The words of a Placeholder; quotedOpen is how a text says {{ itself.
const (
	open       = "{{"
	closing    = "}}"
	quotedOpen = `"{{"`
)

// ParseTemplate reads a text with placeholders. Every {{ must begin one;
// {{ "{{" }} stands for {{ itself.
func ParseTemplate(s string) (Template, error) {
	var t Template
	for rest := s; ; {
		text, after, found := strings.Cut(rest, open)
		t.literal(text)
		if !found {
			return t, nil
		}
		// The escape holds the opening braces in quotes.
		if inner, ok := strings.CutPrefix(strings.TrimLeft(after, " \t"), quotedOpen); ok {
			if tail, ok := strings.CutPrefix(strings.TrimLeft(inner, " \t"), closing); ok {
				t.literal(open)
				rest = tail
				continue
			}
		}
		inner, tail, closed := strings.Cut(after, closing)
		if !closed {
			return Template{}, fmt.Errorf("%s is never closed with %s", excerpt(open+after), closing)
		}
		hole, err := parsePlaceholder(inner)
		if err != nil {
			return Template{}, err
		}
		t.parts = append(t.parts, part{hole: hole})
		rest = tail
	}
}

func (t *Template) literal(text string) {
	if text == "" {
		return
	}
	if n := len(t.parts); n > 0 && t.parts[n-1].hole.Name == "" {
		t.parts[n-1].text += text
		return
	}
	t.parts = append(t.parts, part{text: text})
}

func parsePlaceholder(inner string) (Placeholder, error) {
	wrong := func() error {
		return fmt.Errorf("%s is not a placeholder; write {{ .node.hostname }} or {{ .node.address | lastOctet }}, and {{ \"{{\" }} for braces themselves",
			excerpt(open+inner+closing))
	}
	left, filter, filtered := strings.Cut(inner, "|")
	left, filter = strings.Trim(left, " \t"), strings.Trim(filter, " \t")
	name, dotted := strings.CutPrefix(left, ".")
	if !dotted || !validName(name) {
		return Placeholder{}, wrong()
	}
	if filtered && filter != FilterLastOctet {
		return Placeholder{}, fmt.Errorf("%s: unknown filter %s; the only one is %s",
			excerpt(open+inner+closing), strconv.Quote(excerpt(filter)), FilterLastOctet)
	}
	return Placeholder{Name: name, Filter: filter}, nil
}

const nameCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

// validName reports whether name is made of dotted words of letters, digits,
// _ and -.
func validName(name string) bool {
	for word := range strings.SplitSeq(name, ".") {
		if word == "" || strings.Trim(word, nameCharacters) != "" {
			return false
		}
	}
	return true
}

// excerpt keeps messages short whatever was written.
func excerpt(s string) string {
	const most = 40
	s, _, _ = strings.Cut(s, "\n")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return s
}

// Static reports whether the text has no placeholder.
func (t Template) Static() bool {
	return !slices.ContainsFunc(t.parts, func(p part) bool { return p.hole.Name != "" })
}

// Placeholders returns the text's placeholders in their order, each use once
// more.
func (t Template) Placeholders() []Placeholder {
	var out []Placeholder
	for _, p := range t.parts {
		if p.hole.Name != "" {
			out = append(out, p.hole)
		}
	}
	return out
}

// Names returns the names of the text's placeholders, sorted, each once.
func (t Template) Names() []string {
	var out []string
	for _, p := range t.Placeholders() {
		out = append(out, p.Name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Expand fills every placeholder with lookup's value after its filter; a
// name that lookup does not know is an error.
func (t Template) Expand(lookup func(name string) (string, bool)) (string, error) {
	return t.Fill(func(p Placeholder) (string, error) {
		value, ok := lookup(p.Name)
		if !ok {
			return "", fmt.Errorf("%s has no value here", p)
		}
		return p.Apply(value)
	})
}

// Fill replaces every placeholder by what fill returns for it; fill sees the
// filter too and has to apply it.
func (t Template) Fill(fill func(Placeholder) (string, error)) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		if p.hole.Name == "" {
			b.WriteString(p.text)
			continue
		}
		value, err := fill(p.hole)
		if err != nil {
			return "", err
		}
		b.WriteString(value)
	}
	return b.String(), nil
}
