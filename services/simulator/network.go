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

// kernelNIC is what Flatcar usually calls the first vmxnet3 card.
const kernelNIC = "ens192"

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

// staticAddress finds what networkd would give the card with this MAC: the
// first file, by name, that matches it. Empty means DHCP.
func staticAddress(files map[string]string, mac string) (string, error) {
	for _, name := range sortedKeys(files) {
		base, ok := strings.CutPrefix(name, networkDir)
		if !ok || strings.Contains(base, "/") || !strings.HasSuffix(base, ".network") {
			continue
		}
		body := files[name]
		if !matches(body, mac) {
			continue
		}
		addresses := append(section(body, "Network", "Address"), section(body, "Address", "Address")...)
		if len(addresses) == 0 {
			return "", nil
		}
		prefix, err := netip.ParsePrefix(addresses[0])
		if err != nil {
			return "", fmt.Errorf("%s: %w", base, err)
		}
		return prefix.Addr().String(), nil
	}
	return "", nil
}

func matches(body, mac string) bool {
	macs := section(body, "Match", "MACAddress")
	names := section(body, "Match", "Name")
	if len(macs) > 0 && !anyField(macs, func(s string) bool { return strings.EqualFold(s, mac) }) {
		return false
	}
	if len(names) > 0 && !anyField(names, func(s string) bool { ok, err := path.Match(s, kernelNIC); return ok && err == nil }) {
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

// lease is what the simulated DHCP server gives a machine: 10.250.0.0/16, by
// the number of its moref, so that it holds over restarts.
func lease(ref string) string {
	n := serial(ref)
	return netip.AddrFrom4([4]byte{10, 250, byte(n / 250), byte(1 + n%250)}).String()
}
