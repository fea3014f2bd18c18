package simulator

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

// networkDir is where networkd reads a node's own networks.
const networkDir = "/etc/systemd/network/"

// kernelNIC is what Flatcar usually calls a machine's vmxnet3 card: ens192,
// ens224 and so on.
func kernelNIC(card int) string { return "ens" + strconv.Itoa(192+32*card) }

// checkKargs refuses the network-kargs that abort the boot: afterburn hands
// them to bootengine, which takes only ip= and few of dracut's methods.
func checkKargs(kargs string) error {
	for arg := range strings.FieldsSeq(kargs) {
		value, ok := strings.CutPrefix(arg, "ip=")
		if !ok {
			continue // other keys are not read, and do no harm
		}
		if err := checkIP(value); err != nil {
			return fmt.Errorf("network-kargs %q: %w", arg, err)
		}
	}
	return nil
}

// unsupported are the methods that abort the boot.
var unsupported = []string{"auto6", "ibft", "bootp", "rarp", "both"}

// checkIP reads client:peer:gateway:netmask:hostname:device:method[:dns0[:dns1]];
// the short forms, ip=dhcp and ip=ens192:dhcp, have nothing to check but the
// method.
func checkIP(value string) error {
	const long = 7
	parts := strings.Split(value, ":")
	method := parts[len(parts)-1]
	if len(parts) >= long {
		method = parts[long-1]
	}
	if slices.Contains(unsupported, method) {
		return fmt.Errorf("method %q is not supported", method)
	}
	if len(parts) < long || method == "dhcp" {
		return nil
	}
	if _, err := netip.ParseAddr(parts[0]); err != nil {
		return fmt.Errorf("address: %w", err)
	}
	if _, err := netip.ParseAddr(parts[2]); parts[2] != "" && err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	return checkMask(parts[3])
}

func checkMask(mask string) error {
	if bits, err := strconv.Atoi(mask); err == nil && bits >= 0 && bits <= 32 {
		return nil
	}
	if _, err := netip.ParseAddr(mask); err != nil {
		return fmt.Errorf("netmask %q is neither a mask nor a prefix length", mask)
	}
	return nil
}

// staticAddresses finds what networkd would give the card of this number and
// MAC: the first file, by name, that matches it. None means DHCP.
func staticAddresses(files map[string]string, card int, mac string) ([]string, error) {
	for _, name := range sortedKeys(files) {
		base, ok := strings.CutPrefix(name, networkDir)
		if !ok || strings.Contains(base, "/") || !strings.HasSuffix(base, ".network") {
			continue
		}
		body := files[name]
		if !matches(body, kernelNIC(card), mac) {
			continue
		}
		var out []string
		for _, a := range append(section(body, "Network", "Address"), section(body, "Address", "Address")...) {
			prefix, err := netip.ParsePrefix(a)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", base, err)
			}
			out = append(out, prefix.Addr().String())
		}
		return out, nil
	}
	return nil, nil
}

func matches(body, nic, mac string) bool {
	macs := section(body, "Match", "MACAddress")
	names := section(body, "Match", "Name")
	if len(macs) > 0 && !anyField(macs, func(s string) bool { return strings.EqualFold(s, mac) }) {
		return false
	}
	if len(names) > 0 && !anyField(names, func(s string) bool { ok, err := path.Match(s, nic); return ok && err == nil }) {
		return false
	}
	return len(macs)+len(names) > 0
}

func anyField(values []string, ok func(string) bool) bool {
	for _, v := range values {
		for f := range strings.FieldsSeq(v) {
			if ok(f) {
				return true
			}
		}
	}
	return false
}

// lease is what the simulated DHCP server gives a machine's card: of
// 10.240.0.0/16 to 10.250.0.0/16, by the number of its moref, so that it holds
// over restarts.
func lease(ref string, card int) string {
	n := serial(ref)
	return netip.AddrFrom4([4]byte{10, byte(250 - card), byte(n / 250), byte(1 + n%250)}).String()
}
