package render

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"yardmaster.dev/pkg/fleet"
)

// Config is the finished config of one node. It may hold secrets.
type Config struct {
	// Ignition is the config as JSON, or user data if it is opaque.
	Ignition []byte
	Opaque   bool
	// Variables are what coreos-cloudinit is told beside user data.
	Variables map[string]string
	// Digest is the SHA-256 of all of it, in hex.
	Digest string
	// Encoded is the same as guestinfo takes it, Size its length.
	Encoded string
	Size    int
	// NetworkKargs is empty when the node has no static address.
	NetworkKargs string
	// Provenance says which layer gave which part.
	Provenance []Source
}

// Stamp makes the config of a node.
func (c *Compiled) Stamp(n Node) (*Config, error) {
	if c.userData != "" {
		return c.stampUserData(&n)
	}
	values, err := c.values(&n)
	if err != nil {
		return nil, err
	}
	cfg := &Config{Provenance: c.provenance}
	if c.pieces != nil {
		cfg.Ignition, err = c.stamp(values)
		if err != nil {
			return nil, err
		}
	} else if cfg.Ignition, cfg.Provenance, err = c.slow(values, valuesOf{opaque: never, show: n.hide}); err != nil {
		return nil, err
	}
	return cfg, c.finish(cfg, &n)
}

// finish adds what stands beside the Ignition config.
func (c *Compiled) finish(cfg *Config, n *Node) (err error) {
	cfg.Digest = digestOf(cfg.Ignition, nil)
	if c.static {
		if cfg.NetworkKargs, err = n.networkKargs(); err != nil {
			return err
		}
	}
	return cfg.encode()
}

func never(string) bool { return false }

// hide puts a placeholder in place of every secret in a text.
func (n *Node) hide(s string) string {
	for _, name := range slices.Sorted(maps.Keys(n.Secrets)) {
		if value := n.Secrets[name]; value != "" {
			s = strings.ReplaceAll(s, value, "{{ .secrets."+name+" }}")
		}
	}
	return s
}

// ErrValue says that a node's value is not of the form that it must have.
var ErrValue = errors.New("value refused")

// values returns a node's value for each hole, checked by type and by where
// it will stand. That check is what lets a stamped config go unparsed.
func (c *Compiled) values(n *Node) ([]string, error) {
	values := make([]string, len(c.holes))
	for i, h := range c.holes {
		value, err := n.value(h.Name)
		if err == nil && h.Filter != "" {
			value, err = h.Apply(value)
		}
		if secret, ok := strings.CutPrefix(h.Name, "secrets."); ok && err == nil {
			err = c.checkForm(secret, value)
		}
		if err == nil && h.unit {
			err = checkUnitValue(h.Name, value)
		}
		if err != nil {
			return nil, fmt.Errorf("node %s: %w: %w", n.Name, ErrValue, err)
		}
		values[i] = value
	}
	return values, nil
}

// checkForm checks a secret against what the roles that read it need; a
// marker that stands for one has no form. The value is never quoted.
func (c *Compiled) checkForm(name, value string) error {
	if value == MarkerSecret(name) {
		return nil
	}
	for _, f := range c.forms[name] {
		if !f.Fits(value) {
			return fmt.Errorf("%w: secrets.%s is not %s", ErrSecret, name, f.Is)
		}
	}
	return nil
}

// stamp puts the values between the pieces.
func (c *Compiled) stamp(values []string) ([]byte, error) {
	filled := 0
	for _, p := range c.pieces {
		if p.hole >= 0 {
			filled += len(values[p.hole])
		}
	}
	if filled > maxFilled {
		return nil, fmt.Errorf("%w: %w", ErrTooLarge, errFilled)
	}
	out := make([]byte, 0, c.fixed+3*filled) // at most: each byte as %XX
	for _, p := range c.pieces {
		out = append(out, p.literal...)
		if p.hole < 0 {
			break
		}
		if p.kind == kindData {
			out = appendData(out, values[p.hole])
		} else {
			out = appendJSON(out, values[p.hole])
		}
	}
	return out, nil
}

// slow translates and merges every layer for this node alone.
func (c *Compiled) slow(values []string, of valuesOf) ([]byte, []Source, error) {
	index := make(map[fleet.Placeholder]string, len(c.holes))
	for i, h := range c.holes {
		index[h.Placeholder] = values[i]
	}
	built, problems := c.assemble(func(p fleet.Placeholder) (string, error) { return index[p], nil }, of)
	if len(problems) > 0 {
		return nil, nil, refuse(problems)
	}
	text, err := marshal(&built.config)
	return text, built.provenance, err
}

// unreserved are the bytes that Butane leaves as they are in a data: URL
// (RFC 2396, section 2.3).
var unreserved = func() (t [256]bool) {
	for _, b := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()") {
		t[b] = true
	}
	return t
}()

const upperHex = "0123456789ABCDEF"

// appendData escapes a value for a data: URL.
func appendData(dst []byte, s string) []byte {
	for i := range len(s) {
		if b := s[i]; unreserved[b] {
			dst = append(dst, b)
		} else {
			dst = append(dst, '%', upperHex[b>>4], upperHex[b&15])
		}
	}
	return dst
}

// appendJSON escapes a value for the middle of a JSON string exactly as
// encoding/json does by default. Control characters were refused before.
func appendJSON(dst []byte, s string) []byte {
	for _, r := range s {
		switch r {
		case '"', '\\':
			dst = append(dst, '\\', byte(r))
		case '<', '>', '&':
			dst = append(dst, '\\', 'u', '0', '0', "0123456789abcdef"[r>>4], "0123456789abcdef"[r&15])
		case '\u2028':
			dst = append(dst, `\u2028`...)
		case '\u2029':
			dst = append(dst, `\u2029`...)
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}
