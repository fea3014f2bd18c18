package render

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
)

// The markers of an offline render: what a person sees in place of values
// that only a live yard knows.
const (
	MarkerToken = "token-drawn-at-render-time"
	MarkerUUID  = "00000000-0000-0000-0000-000000000000"
	MarkerMAC   = "02:00:00:00:00:00"
	MarkerURL   = "http://gateway.invalid:7070"
)

// MarkerSecret stands for a secret whose value is not shown.
func MarkerSecret(name string) string { return "secret-" + name }

// Known is what an offline render is told about a node that lives already;
// what is empty is a marker.
type Known struct {
	UUID, MAC, Hostname string
	PhoneHomeURL        string
	PhoneHomeToken      string
	// Addresses by the name of the Network.
	Addresses map[string]string
	// Secrets by name.
	Secrets map[string]string
}

// Offline renders the config of a node (its name, or pool-ordinal) without a
// yard. Its addresses are those that the first nodes on empty Networks get.
func Offline(f *fleet.Fleet, networks []*fleet.Network, node string, secrets map[string]string) (*Config, error) {
	return OfflineKnown(f, networks, node, Known{Secrets: secrets})
}

// OfflineKnown is Offline for a node of which more is known.
func OfflineKnown(f *fleet.Fleet, networks []*fleet.Network, node string, known Known) (*Config, error) {
	pool, ordinal, err := findNode(f, node)
	if err != nil {
		return nil, err
	}
	c, err := compile(f, pool)
	if err != nil {
		return nil, err
	}
	n, err := offlineNode(f, pool, ordinal, known)
	if err != nil {
		return nil, err
	}
	for _, ref := range f.Spec.Pools[pool].Networks {
		network, err := offlineNetwork(ref, networks, ordinal, known)
		if err != nil {
			return nil, err
		}
		n.Networks = append(n.Networks, network)
	}
	plan.Plug(f.Spec.Pools[pool].Networks, n.Networks, n.MAC)
	return c.render(n)
}

// render is Stamp with markers in place of the secrets that n lacks.
func (c *Compiled) render(n *Node) (*Config, error) {
	if c.userData != "" {
		return c.stampUserData(n)
	}
	var shown []string
	secrets := maps.Clone(n.Secrets)
	if secrets == nil {
		secrets = map[string]string{}
	}
	for _, name := range c.Secrets() {
		if _, ok := secrets[name]; !ok {
			secrets[name] = MarkerSecret(name)
			shown = append(shown, MarkerSecret(name))
		}
	}
	n.Secrets = secrets
	values, err := c.values(n)
	if err != nil {
		return nil, err
	}
	cfg := &Config{Provenance: c.provenance}
	if c.pieces != nil {
		if cfg.Ignition, err = c.stamp(values); err != nil {
			return nil, err
		}
		return cfg, c.finish(cfg, n)
	}
	// The form of a value that is not known cannot be checked.
	opaque := func(s string) bool {
		return slices.ContainsFunc(shown, func(m string) bool { return strings.Contains(s, m) })
	}
	if cfg.Ignition, cfg.Provenance, err = c.slow(values, valuesOf{opaque: opaque, show: n.hide}); err != nil {
		return nil, err
	}
	return cfg, c.finish(cfg, n)
}

// sample renders a node that could be, for Check.
func (c *Compiled) sample(f *fleet.Fleet, pool int) (*Config, error) {
	n, err := offlineNode(f, pool, 0, Known{})
	if err != nil {
		return nil, err
	}
	for _, ref := range f.Spec.Pools[pool].Networks {
		n.Networks = append(n.Networks, plan.JobNetwork{
			Network: ref.Ref, DHCP: ref.DHCP, Addr: "192.0.2.10", Prefix: 24, Gateway: "192.0.2.1", DNS: []string{"192.0.2.1"},
		})
	}
	plan.Plug(f.Spec.Pools[pool].Networks, n.Networks, n.MAC)
	return c.render(n)
}

// findNode takes web-edge-0 or edge-0 apart.
func findNode(f *fleet.Fleet, node string) (pool, ordinal int, err error) {
	key := strings.TrimPrefix(node, f.Metadata.Name+"-")
	for i := range f.Spec.Pools {
		rest, ok := strings.CutPrefix(key, f.Spec.Pools[i].Name+"-")
		if !ok {
			continue
		}
		ordinal, err := strconv.Atoi(rest)
		if err == nil && ordinal >= 0 && strconv.Itoa(ordinal) == rest {
			return i, ordinal, nil
		}
	}
	names := make([]string, 0, len(f.Spec.Pools))
	for _, p := range f.Spec.Pools {
		names = append(names, f.Metadata.Name+"-"+p.Name+"-0")
	}
	return 0, 0, fmt.Errorf("%q is not a node of fleet %s; a node is called %s", node, f.Metadata.Name, strings.Join(names, " or "))
}

func offlineNode(f *fleet.Fleet, pool, ordinal int, known Known) (*Node, error) {
	p := &f.Spec.Pools[pool]
	n := &Node{
		Fleet: f.Metadata.Name, Pool: p.Name, Ordinal: ordinal,
		Name:     f.Metadata.Name + "-" + plan.NodeKey(p.Name, ordinal),
		Hostname: known.Hostname, Secrets: known.Secrets,
		UUID: or(known.UUID, MarkerUUID), MAC: or(known.MAC, MarkerMAC),
		PhoneHomeURL: or(known.PhoneHomeURL, MarkerURL), PhoneHomeToken: or(known.PhoneHomeToken, MarkerToken),
	}
	if n.Hostname != "" {
		return n, nil
	}
	template, err := fleet.ParseTemplate(or(p.Hostname, "{{ .fleet }}-{{ .pool }}-{{ .ordinal }}"))
	if err != nil {
		return nil, fmt.Errorf("hostname of pool %s: %w", p.Name, err)
	}
	vars := maps.Clone(f.Spec.Vars)
	if vars == nil {
		vars = map[string]string{}
	}
	maps.Copy(vars, p.Vars)
	n.Hostname, err = template.Expand(func(name string) (string, bool) {
		if v, ok := strings.CutPrefix(name, "vars."); ok {
			value, ok := vars[v]
			return value, ok
		}
		if name == "node.hostname" {
			return "", false
		}
		value, err := n.value(name)
		return value, err == nil
	})
	if err != nil {
		return nil, fmt.Errorf("hostname of pool %s: %w", p.Name, err)
	}
	return n, nil
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

func offlineNetwork(ref fleet.PoolNetwork, networks []*fleet.Network, ordinal int, known Known) (plan.JobNetwork, error) {
	if ref.DHCP {
		return plan.JobNetwork{Network: ref.Ref, DHCP: true}, nil
	}
	i := slices.IndexFunc(networks, func(n *fleet.Network) bool { return n.Metadata.Name == ref.Ref })
	if i < 0 {
		return plan.JobNetwork{}, fmt.Errorf("the pool refers to network %q, which is not in the file; add its Network document", ref.Ref)
	}
	spec := networks[i].Spec
	prefix, err := netip.ParsePrefix(spec.Subnet)
	if err != nil {
		return plan.JobNetwork{}, fmt.Errorf("network %s: subnet %q: %w", ref.Ref, spec.Subnet, err)
	}
	out := plan.JobNetwork{Network: ref.Ref, Prefix: prefix.Bits(), Gateway: spec.Gateway, DNS: spec.DNS, Portgroup: spec.Portgroup, Routes: spec.Routes}
	if out.Addr = known.Addresses[ref.Ref]; out.Addr != "" {
		return out, nil
	}
	out.Addr, err = nthAddress(&spec, ordinal)
	if err != nil {
		return plan.JobNetwork{}, fmt.Errorf("network %s: %w", ref.Ref, err)
	}
	return out, nil
}

var errRangeFull = errors.New("its range has no address for a node of that ordinal")

// nthAddress is what the planner gives when nobody else is there: the lowest
// free one.
func nthAddress(spec *fleet.NetworkSpec, n int) (string, error) {
	first, last, ok := strings.Cut(spec.Range, "-")
	if !ok {
		return "", fmt.Errorf("range %q is not first-last", spec.Range)
	}
	from, err := netip.ParseAddr(strings.TrimSpace(first))
	if err != nil {
		return "", fmt.Errorf("range %q: %w", spec.Range, err)
	}
	to, err := netip.ParseAddr(strings.TrimSpace(last))
	if err != nil {
		return "", fmt.Errorf("range %q: %w", spec.Range, err)
	}
	if !from.Is4() || !to.Is4() || to.Less(from) {
		return "", fmt.Errorf("range %q is not a range of IPv4 addresses", spec.Range)
	}
	a, b := from.As4(), to.As4()
	for i := uint64(binary.BigEndian.Uint32(a[:])); i <= uint64(binary.BigEndian.Uint32(b[:])); i++ {
		addr := netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}).String()
		if slices.Contains(spec.Exclude, addr) || addr == spec.Gateway {
			continue
		}
		if n == 0 {
			return addr, nil
		}
		n--
	}
	return "", errRangeFull
}
