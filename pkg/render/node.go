package render

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"yardmaster.dev/pkg/plan"
)

// Node is what differs from node to node of a pool.
type Node struct {
	Name     string
	Fleet    string
	Pool     string
	Ordinal  int
	Hostname string
	UUID     string
	MAC      string
	// Networks are the node's addresses, in the order of the pool.
	Networks []plan.JobNetwork
	// PhoneHomeURL is the base URL at which the node reaches a gateway,
	// PhoneHomeToken the token of this incarnation that proves who calls.
	PhoneHomeURL   string
	PhoneHomeToken string
	// Secrets by name; those that the pool's config uses must be there.
	Secrets map[string]string
}

// The names of a node's values that anyone may use in a layer.
var nodeNames = []string{
	"fleet", "pool", "ordinal",
	"node.hostname", "node.name", "node.fleet", "node.pool", "node.ordinal",
	"node.address", "node.privateAddress", "node.publicAddress", "node.mac", "node.uuid",
}

// addressNames need a static address.
var addressNames = []string{"node.address", "node.privateAddress", "node.publicAddress"}

// The names that only the shipped roles may use.
const (
	nameNetworkFile    = "node.networkFile" // with the card's number: node.networkFile0
	namePhoneHomeURL   = "node.phoneHomeURL"
	nameReportURL      = "node.reportURL"
	namePhoneHomeToken = "node.phoneHomeToken"
	// nameUpdates is the same for all nodes of a fleet.
	nameUpdates = "os.updates"
)

var roleNames = []string{namePhoneHomeURL, nameReportURL, namePhoneHomeToken}

// namePrefixAddress stands before the name of one of the pool's Networks.
const namePrefixAddress = "node.addresses."

// cardOf is the number of the card whose network file is called that.
func cardOf(name string) (int, bool) {
	number, ok := strings.CutPrefix(name, nameNetworkFile)
	card, err := strconv.Atoi(number)
	return card, ok && err == nil
}

// A secret may be a key or a certificate chain, not a file system.
const maxSecret = 32 << 10

// nodeValues are a node's values by name.
var nodeValues = map[string]func(*Node) (string, error){
	"fleet":               (*Node).fleet,
	"node.fleet":          (*Node).fleet,
	"pool":                (*Node).pool,
	"node.pool":           (*Node).pool,
	"ordinal":             (*Node).ordinal,
	"node.ordinal":        (*Node).ordinal,
	"node.name":           func(n *Node) (string, error) { return formed("node.name", n.Name, isName) },
	"node.hostname":       func(n *Node) (string, error) { return formed("node.hostname", n.Hostname, isHostname) },
	"node.mac":            func(n *Node) (string, error) { return formed("node.mac", n.MAC, isMAC) },
	"node.uuid":           func(n *Node) (string, error) { return formed("node.uuid", n.UUID, isUUID) },
	"node.address":        (*Node).address,
	"node.privateAddress": (*Node).privateAddress,
	"node.publicAddress":  (*Node).publicAddress,
	namePhoneHomeURL:      func(n *Node) (string, error) { return n.gatewayURL(namePhoneHomeURL, "phone-home") },
	nameReportURL:         func(n *Node) (string, error) { return n.gatewayURL(nameReportURL, "report") },
	namePhoneHomeToken:    (*Node).phoneHomeToken,
}

// value returns the node's value of a name, checked by its type.
func (n *Node) value(name string) (string, error) {
	if secret, ok := strings.CutPrefix(name, "secrets."); ok {
		return n.secret(secret)
	}
	if network, ok := strings.CutPrefix(name, namePrefixAddress); ok {
		return n.addressOf(network)
	}
	if card, ok := cardOf(name); ok {
		return n.networkFile(card)
	}
	value, ok := nodeValues[name]
	if !ok {
		return "", fmt.Errorf("nothing is called %s", name)
	}
	return value(n)
}

func (n *Node) fleet() (string, error)   { return formed("node.fleet", n.Fleet, isPlain) }
func (n *Node) pool() (string, error)    { return formed("node.pool", n.Pool, isPlain) }
func (n *Node) ordinal() (string, error) { return strconv.Itoa(n.Ordinal), nil }

func (n *Node) phoneHomeToken() (string, error) {
	if !isToken(n.PhoneHomeToken) {
		return "", errToken
	}
	return n.PhoneHomeToken, nil
}

// errToken does not quote the token.
var errToken = errors.New(namePhoneHomeToken + ": the token is not 16 to 128 letters, digits, - and _")

func formed(name, value string, is func(string) bool) (string, error) {
	if !is(value) {
		return "", fmt.Errorf("%s: %q is not of the form it must have", name, value)
	}
	return value, nil
}

// static returns the node's static addresses, checked.
func (n *Node) static() ([]plan.JobNetwork, error) {
	var out []plan.JobNetwork
	for _, net := range n.Networks {
		if net.DHCP {
			continue
		}
		if !isIPv4(net.Addr) {
			return nil, fmt.Errorf("node.address: %q is not an IPv4 address", net.Addr)
		}
		out = append(out, net)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("node.address: %s has no static address", n.Name)
	}
	return out, nil
}

func (n *Node) address() (string, error) {
	return n.addressThat(func(netip.Addr) bool { return true })
}

// privateAddress is the first that is private (RFC 1918), publicAddress the
// first that is not; where there is none, the first.
func (n *Node) privateAddress() (string, error) { return n.addressThat(netip.Addr.IsPrivate) }

func (n *Node) publicAddress() (string, error) {
	return n.addressThat(func(a netip.Addr) bool { return !a.IsPrivate() })
}

func (n *Node) addressThat(is func(netip.Addr) bool) (string, error) {
	static, err := n.static()
	if err != nil {
		return "", err
	}
	for _, net := range static {
		if is(netip.MustParseAddr(net.Addr)) {
			return net.Addr, nil
		}
	}
	return static[0].Addr, nil
}

func (n *Node) addressOf(network string) (string, error) {
	for _, net := range n.Networks {
		if net.Network == network && !net.DHCP {
			return formed(namePrefixAddress+network, net.Addr, isIPv4)
		}
	}
	return "", fmt.Errorf("%s%s: %s has no address of that Network", namePrefixAddress, network, n.Name)
}

// gatewayURL is where the node sends something to a gateway.
func (n *Node) gatewayURL(value, last string) (string, error) {
	base := strings.TrimRight(n.PhoneHomeURL, "/")
	if !isURL(base) {
		return "", fmt.Errorf("%s: %q is not the http or https URL of a gateway", value, n.PhoneHomeURL)
	}
	name, err := formed("node.name", n.Name, isName)
	if err != nil {
		return "", err
	}
	return base + "/v1/nodes/" + name + "/" + last, nil
}

// ErrSecret says that a secret is not there or cannot be used as it is.
var ErrSecret = errors.New("secret cannot be used")

// secret returns a secret's value; its errors never quote it.
func (n *Node) secret(name string) (string, error) {
	value, ok := n.Secrets[name]
	switch {
	case !ok:
		return "", fmt.Errorf("%w: secrets.%s is not there", ErrSecret, name)
	case value == "":
		return "", fmt.Errorf("%w: secrets.%s is empty", ErrSecret, name)
	case len(value) > maxSecret:
		return "", fmt.Errorf("%w: secrets.%s is larger than %d KiB", ErrSecret, name, maxSecret>>10)
	case !isText(value):
		return "", fmt.Errorf("%w: secrets.%s is not text; keep it as base64 and decode it on the node", ErrSecret, name)
	}
	return value, nil
}

// isText reports whether s can stand in YAML and JSON as it is.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// checkUnitValue keeps a value that goes into a systemd unit from changing
// the unit's structure: it can be no line, section or comment of its own and
// cannot join two lines.
func checkUnitValue(name, value string) error {
	switch {
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%s: its value has line breaks or control characters and cannot stand in a systemd unit; write it into a file", name)
	case len(value) > maxUnitValue:
		return fmt.Errorf("%s: its value is longer than %d bytes and cannot stand in a systemd unit; write it into a file", name, maxUnitValue)
	case strings.ContainsRune("[#;", rune(value[0])), strings.HasSuffix(value, `\`):
		return fmt.Errorf(`%s: its value begins with [, # or ; or ends with \ and cannot stand in a systemd unit; write it into a file`, name)
	}
	return nil
}

// maxUnitValue bounds a value in a unit; systemd cuts lines at 2048 bytes.
const maxUnitValue = 512
