package guest

import (
	"regexp"
	"strings"
)

// OrderMagic is the first line of an order: the name and version of its form.
const OrderMagic = "yardmaster-order 1"

// UnitOrder is the name under which a guest reports that it refused an order.
const UnitOrder = "yardmaster-order"

// Order is the answer to a report of a guest that has something to do. It is
// lines of a word and its value, as a report is.
type Order struct {
	// Rerun is the digest (SHA-256, hex) of the config that Ignition is to run
	// on the guest's disk.
	Rerun string
	// Keep are regular expressions for the paths that stay on the disk.
	Keep []string
}

// String writes the order as the base role's script and ParseOrder read it.
func (o Order) String() string {
	var b strings.Builder
	b.WriteString(OrderMagic + "\nrerun " + o.Rerun + "\n")
	for _, k := range o.Keep {
		b.WriteString("keep " + k + "\n")
	}
	return b.String()
}

var digest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ParseOrder reads an order as the script does; false if the text is none.
func ParseOrder(text string) (Order, bool) {
	first, rest, _ := strings.Cut(text, "\n")
	if first != OrderMagic {
		return Order{}, false
	}
	var o Order
	for line := range strings.Lines(rest) {
		word, value, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		switch {
		case word == "rerun" && digest.MatchString(value):
			o.Rerun = value
		case word == "keep" && value != "":
			o.Keep = append(o.Keep, value)
		}
	}
	return o, o.Rerun != ""
}
