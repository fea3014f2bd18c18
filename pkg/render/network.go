package render

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
)

// checkNetwork checks every value of a static network by type.
func checkNetwork(n *plan.JobNetwork) error {
	if !isIPv4(n.Addr) {
		return fmt.Errorf("network %s: %q is not an IPv4 address", n.Network, n.Addr)
	}
	if n.Prefix < 1 || n.Prefix > 32 {
		return fmt.Errorf("network %s: /%d is not a prefix length", n.Network, n.Prefix)
	}
	if n.Gateway != "" && !isIPv4(n.Gateway) {
		return fmt.Errorf("network %s: gateway %q is not an IPv4 address", n.Network, n.Gateway)
	}
	for _, dns := range n.DNS {
		if !isIPv4(dns) {
			return fmt.Errorf("network %s: DNS server %q is not an IPv4 address", n.Network, dns)
		}
	}
	for _, r := range n.Routes {
		if to, err := netip.ParsePrefix(r.To); err != nil || !to.Addr().Is4() {
			return fmt.Errorf("network %s: route to %q, which is not an IPv4 subnet", n.Network, r.To)
		}
		if !isIPv4(r.Via) {
			return fmt.Errorf("network %s: route via %q, which is not an IPv4 address", n.Network, r.Via)
		}
	}
	return nil
}

func isIPv4(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Is4()
}

// networkFile is the systemd-networkd file of one of the node's network cards.
// It matches by MAC: the interface's name depends on the slot and has changed
// in updates.
func (n *Node) networkFile(card int) (string, error) {
	mac, err := formed("node.mac", n.cardMAC(card), isMAC)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.Grow(networkFileSize)
	write := func(parts ...string) {
		for _, p := range parts {
			b.WriteString(p)
		}
	}
	write("[Match]\nMACAddress=", mac, "\n\n[Network]\n")
	var rest strings.Builder // sections of their own
	gateway := false
	for i := range n.Networks {
		net := &n.Networks[i]
		switch {
		case net.Card != card:
			continue
		case net.DHCP:
			write("DHCP=ipv4\n")
			if net.Side {
				rest.WriteString("\n[DHCPv4]\nUseGateway=false\n")
			}
			continue
		}
		if err := checkNetwork(net); err != nil {
			return "", err
		}
		write("Address=", net.Addr, "/", strconv.Itoa(net.Prefix), "\n")
		if net.Gateway != "" && !net.Side && !gateway { // a planner of the release before names no side
			write("Gateway=", net.Gateway, "\n")
			gateway = true
		}
		for _, dns := range net.DNS {
			write("DNS=", dns, "\n")
		}
		writeRoutes(&rest, net.Routes)
	}
	write(rest.String())
	return b.String(), nil
}

func writeRoutes(b *strings.Builder, routes []fleet.Route) {
	for _, r := range routes {
		b.WriteString("\n[Route]\nDestination=" + r.To + "\nGateway=" + r.Via + "\n")
	}
}

// cardMAC is the address of one of the node's network cards.
func (n *Node) cardMAC(card int) string {
	for _, net := range n.Networks {
		if net.Card == card && net.MAC != "" {
			return net.MAC
		}
	}
	return n.MAC
}

// networkFileSize is room for a file with a few addresses.
const networkFileSize = 256

// maxKargDNS is how many name servers the ip= argument can carry.
const maxKargDNS = 2

// networkKargs is the address of one static network, that of the default route
// if there is one, for the initramfs: Ignition fetches before networkd reads
// any file that Ignition wrote. The interface stays empty, which means any: its
// name is not known before boot.
func (n *Node) networkKargs() (string, error) {
	net := n.early()
	if net == nil {
		return "", nil
	}
	if err := checkNetwork(net); err != nil {
		return "", err
	}
	hostname, err := formed("node.hostname", n.Hostname, isHostname)
	if err != nil {
		return "", err
	}
	gateway := net.Gateway
	if net.Side {
		gateway = ""
	}
	fields := []string{"ip=" + net.Addr, "", gateway, mask(net.Prefix), hostname, "", "none"}
	fields = append(fields, net.DNS[:min(len(net.DNS), maxKargDNS)]...)
	return strings.Join(fields, ":"), nil
}

// early is the static network that the initramfs uses, nil if there is none.
func (n *Node) early() *plan.JobNetwork {
	var first *plan.JobNetwork
	for i := range n.Networks {
		net := &n.Networks[i]
		if net.DHCP {
			continue
		}
		if !net.Side {
			return net
		}
		if first == nil {
			first = net
		}
	}
	return first
}

// mask writes a prefix length as a dotted netmask.
func mask(prefix int) string {
	m := ^uint32(0) << (32 - prefix)
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}).String()
}
