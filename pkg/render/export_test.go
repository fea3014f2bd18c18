package render

import (
	"fmt"
	"strings"

	"github.com/coreos/butane/config/common"
)

// SlowIgnition renders a node on the slow path, whatever its pool is.
func (c *Compiled) SlowIgnition(n Node) ([]byte, error) {
	values, err := c.values(&n)
	if err != nil {
		return nil, err
	}
	text, _, err := c.slow(values, valuesOf{opaque: never, show: n.hide})
	return text, err
}

// StampIgnition renders a node without what stands beside the config.
func (c *Compiled) StampIgnition(n *Node) ([]byte, error) {
	values, err := c.values(n)
	if err != nil {
		return nil, err
	}
	return c.stamp(values)
}

// PlainText is the content of a data: URL that is text.
func PlainText(source string) (string, bool) { return plainText(source) }

// QuoteJSON is a JSON string literal.
func QuoteJSON(s string) (string, error) { return quoteJSON(s) }

// ButaneAlone fills a node's values into the text of every layer and lets
// Butane translate it, with nothing of ours: the yardstick of the benchmark.
// By default Butane compresses each file that gets smaller by it.
func ButaneAlone(texts []string, values map[string]string, compress bool) error {
	var pairs []string
	for name, value := range values {
		pairs = append(pairs, "{{ ."+name+" }}", value)
	}
	fill := strings.NewReplacer(pairs...)
	options := common.TranslateBytesOptions{TranslateOptions: common.TranslateOptions{NoResourceAutoCompression: !compress}}
	for _, text := range texts {
		if _, rep, err := translators["1.0.0"].run([]byte(fill.Replace(text)), options); err != nil {
			return fmt.Errorf("%w: %s", err, rep)
		}
	}
	return nil
}

// RoleFile is the Butane of a part of a shipped role.
func RoleFile(file string) string { return roleText(file) }
