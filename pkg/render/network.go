package render

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"yardmaster.dev/pkg/plan"
)

// checkNetwork checks every value of a static network by type.
func checkNetwork(n plan.JobNetwork) error {
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
	return nil
}

func isIPv4(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Is4()
}

// networkFile is the node's systemd-networkd file. It matches by MAC: the
// interface's name depends on the slot and has changed in updates.
func (n *Node) networkFile() (string, error) {
	mac, err := formed("node.mac", n.MAC, isMAC)
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
	gateway := false
	for _, net := range n.Networks {
		if net.DHCP {
			write("DHCP=ipv4\n")
			continue
		}
		if err := checkNetwork(net); err != nil {
			return "", err
		}
		write("Address=", net.Addr, "/", strconv.Itoa(net.Prefix), "\n")
		if net.Gateway != "" && !gateway { // a second default route would compete
			write("Gateway=", net.Gateway, "\n")
			gateway = true
		}
		for _, dns := range net.DNS {
			write("DNS=", dns, "\n")
		}
	}
	return b.String(), nil
}

// networkFileSize is room for a file with a few addresses.
const networkFileSize = 256

// maxKargDNS is how many name servers the ip= argument can carry.
const maxKargDNS = 2

// networkKargs is the address of the first static network for the initramfs:
// Ignition fetches before networkd reads any file that Ignition wrote. The
// interface stays empty, which means any: its name is not known before boot.
func (n *Node) networkKargs() (string, error) {
	for _, net := range n.Networks {
		if net.DHCP {
			continue
		}
		if err := checkNetwork(net); err != nil {
			return "", err
		}
		hostname, err := formed("node.hostname", n.Hostname, isHostname)
		if err != nil {
			return "", err
		}
		fields := []string{"ip=" + net.Addr, "", net.Gateway, mask(net.Prefix), hostname, "", "none"}
		fields = append(fields, net.DNS[:min(len(net.DNS), maxKargDNS)]...)
		return strings.Join(fields, ":"), nil
	}
	return "", nil
}

// mask writes a prefix length as a dotted netmask.
func mask(prefix int) string {
	m := ^uint32(0) << (32 - prefix)
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}).String()
}
