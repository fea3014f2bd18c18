package render

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"yardmaster.dev/pkg/fleet"
)

// User data is what a pool gives to coreos-cloudinit in place of an Ignition
// config: a text that we neither read nor change, and beside it variables that
// tell the guest what its Networks gave. Ignition takes none of it for a config
// and does nothing.
// https://www.flatcar.org/docs/latest/installing/vms/vmware/

// The variables that coreos-cloudinit reads from a VM's extra config.
const (
	varHostname  = "guestinfo.hostname"
	varInterface = "guestinfo.interface."
	varDNS       = "guestinfo.dns.server."
)

// compileUserData is compile for a pool with user data.
func compileUserData(f *fleet.Fleet, pool int) (*Compiled, error) {
	c := newCompiled(f, pool, nil)
	c.userData = f.Spec.Pools[pool].VSphere.UserData
	c.provenance = []Source{{Kind: "user-data", Name: "-", Layers: []string{fmt.Sprintf("spec.pools[%d].vsphere.userData", pool)}}}
	return c, nil
}

// stampUserData makes the user data of a node.
func (c *Compiled) stampUserData(n *Node) (*Config, error) {
	cfg := &Config{Ignition: []byte(c.userData), Opaque: true, Provenance: c.provenance}
	var err error
	if cfg.Variables, err = n.variables(); err != nil {
		return nil, fmt.Errorf("node %s: %w: %w", n.Name, ErrValue, err)
	}
	cfg.Digest = digestOf(cfg.Ignition, cfg.Variables)
	return cfg, cfg.encode()
}

// variables are the node's name and networks in the terms of
// coreos-cloudinit.
func (n *Node) variables() (map[string]string, error) {
	hostname, err := formed("node.hostname", n.Hostname, isHostname)
	if err != nil {
		return nil, err
	}
	out := map[string]string{varHostname: hostname}
	var servers []string
	for i := range n.Networks {
		if n.Networks[i].DHCP {
			continue
		}
		if err := checkNetwork(&n.Networks[i]); err != nil {
			return nil, err
		}
		servers = append(servers, n.Networks[i].DNS...)
	}
	for card := range n.cards() {
		if err := n.cardVariables(card, out); err != nil {
			return nil, err
		}
	}
	for i, server := range distinct(servers) {
		out[varDNS+strconv.Itoa(i)] = server
	}
	return out, nil
}

// cards is how many network cards the node's addresses need.
func (n *Node) cards() int {
	count := 0
	for _, net := range n.Networks {
		count = max(count, net.Card+1)
	}
	return count
}

func (n *Node) cardVariables(card int, out map[string]string) error {
	mac, err := formed("node.mac", n.cardMAC(card), isMAC)
	if err != nil {
		return err
	}
	at := varInterface + strconv.Itoa(card) + "."
	out[at+"mac"], out[at+"dhcp"] = mac, "no"
	addresses, routes := 0, 0
	route := func(to, via string) {
		key := at + "route." + strconv.Itoa(routes) + "."
		out[key+"destination"], out[key+"gateway"] = to, via
		routes++
	}
	for i := range n.Networks {
		net := &n.Networks[i]
		switch {
		case net.Card != card:
			continue
		case net.DHCP:
			out[at+"dhcp"] = "yes"
			continue
		}
		if addresses == 0 {
			out[at+"role"] = roleOf(net.Addr)
		}
		out[at+"ip."+strconv.Itoa(addresses)+".address"] = net.Addr + "/" + strconv.Itoa(net.Prefix)
		addresses++
		if net.Gateway != "" && !net.Side {
			route("0.0.0.0/0", net.Gateway)
		}
		for _, r := range net.Routes {
			route(r.To, r.Via)
		}
	}
	return nil
}

// roleOf says which of $private_ipv4 and $public_ipv4 of a cloud-config an
// address is.
func roleOf(addr string) string {
	if netip.MustParseAddr(addr).IsPrivate() {
		return "private"
	}
	return "public"
}

func distinct(words []string) []string {
	var out []string
	for _, w := range words {
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

// digestOf is the digest of all that a node is given. User data is the same
// text for every node of a pool: the variables tell them apart.
func digestOf(text []byte, variables map[string]string) string {
	h := sha256.New()
	h.Write(text)
	for _, key := range slices.Sorted(maps.Keys(variables)) {
		writeField(h, key)
		writeField(h, variables[key])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func writeField(h hash.Hash, s string) {
	h.Write([]byte("\x00" + s))
}

// userDataHint is for those who paste user data where a config belongs.
const userDataHint = "; or give it to coreos-cloudinit, as it is, as vsphere.userData of a pool"

// otherLanguage names what people paste by mistake.
func otherLanguage(text string) string {
	text = strings.TrimLeft(text, " \t\r\n")
	switch {
	case strings.HasPrefix(text, "#cloud-config"):
		return "cloud-config is not supported here; write it as Butane" + userDataHint
	case strings.HasPrefix(text, "#!"):
		return "scripts are not supported here; write it as a file and a unit in Butane" + userDataHint
	case strings.HasPrefix(text, "MIME-Version:"), strings.HasPrefix(text, "Content-Type: multipart"):
		return "MIME multipart user data is not supported here; write Butane" + userDataHint
	}
	return ""
}
