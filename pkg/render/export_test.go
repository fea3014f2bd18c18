package render

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
	return c.stamp(values), nil
}

// PlainText is the content of a data: URL that is text.
func PlainText(source string) (string, bool) { return plainText(source) }

// QuoteJSON is a JSON string literal.
func QuoteJSON(s string) (string, error) { return quoteJSON(s) }
