package render

import (
	"fmt"
	"net/netip"
	"strings"

	"yardmaster.dev/pkg/plan"
)

// checkNetwork checks every value of a static network by type.
func checkNetwork(n plan.JobNetwork) error {
	addr, err := netip.ParseAddr(n.Addr)
	if err != nil || !addr.Is4() {
		return fmt.Errorf("network %s: %q is not an IPv4 address", n.Network, n.Addr)
	}
	if n.Prefix < 1 || n.Prefix > 32 {
		return fmt.Errorf("network %s: /%d is not a prefix length", n.Network, n.Prefix)
	}
	others := n.DNS
	if n.Gateway != "" {
		others = append([]string{n.Gateway}, others...)
	}
	for _, other := range others {
		if addr, err := netip.ParseAddr(other); err != nil || !addr.Is4() {
			return fmt.Errorf("network %s: %q is not an IPv4 address", n.Network, other)
		}
	}
	return nil
}

// networkFile is the node's systemd-networkd file. It matches by MAC: the
// interface's name depends on the slot and has changed in updates.
func (n *Node) networkFile() (string, error) {
	mac, err := n.value("node.mac")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("[Match]\nMACAddress=" + mac + "\n\n[Network]\n")
	gateway := false
	for _, net := range n.Networks {
		if net.DHCP {
			b.WriteString("DHCP=ipv4\n")
			continue
		}
		if err := checkNetwork(net); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "Address=%s/%d\n", net.Addr, net.Prefix)
		if net.Gateway != "" && !gateway { // a second default route would compete
			b.WriteString("Gateway=" + net.Gateway + "\n")
			gateway = true
		}
		for _, dns := range net.DNS {
			b.WriteString("DNS=" + dns + "\n")
		}
	}
	return b.String(), nil
}

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
		hostname, err := n.value("node.hostname")
		if err != nil {
			return "", err
		}
		kargs := "ip=" + net.Addr + "::" + net.Gateway + ":" + mask(net.Prefix) + ":" + hostname + "::none"
		for _, dns := range net.DNS[:min(len(net.DNS), maxKargDNS)] {
			kargs += ":" + dns
		}
		return kargs, nil
	}
	return "", nil
}

// mask writes a prefix length as a dotted netmask.
func mask(prefix int) string {
	m := ^uint32(0) << (32 - prefix)
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}).String()
}
