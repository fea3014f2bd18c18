package fleet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxRange bounds the addresses of one Network: a plan walks them.
const maxRange = 1 << 16

// Validate returns every problem of the network by itself, in the order of
// its fields.
func (n *Network) Validate() []Problem {
	c := &checker{}
	c.header(n.APIVersion, n.Kind, KindNetwork)
	c.metadata(n.Metadata)
	subnet, ok := c.subnet(n.Spec.Subnet)
	if !ok {
		// Nothing below can be judged without the subnet.
		return c.problems
	}
	s := network{Prefix: subnet}
	s.first, s.last, s.ranged = c.addressRange(subnet, n.Spec.Range)
	excluded := map[netip.Addr]bool{}
	if s.ranged {
		excluded = c.parseAll(n.Spec.Exclude)
	}
	if n.Spec.Gateway != "" {
		c.gateway(s, n.Spec.Gateway, excluded)
	}
	c.dns(s, n.Spec.DNS, excluded)
	c.routes(s, n.Spec.Routes, excluded)
	c.exclude(s, n.Spec.Exclude)
	c.inventoryName("spec.portgroup", n.Spec.Portgroup)
	return c.problems
}

// network is a subnet and the part of it that is given to nodes.
type network struct {
	netip.Prefix
	first, last netip.Addr
	ranged      bool
}

// gives reports whether a node may be given the address.
func (n network) gives(a netip.Addr, excluded map[netip.Addr]bool) bool {
	return n.ranged && !a.Less(n.first) && !n.last.Less(a) && !excluded[a]
}

func (c *checker) subnet(text string) (netip.Prefix, bool) {
	const path = "spec.subnet"
	if text == "" {
		c.add(path, "is missing", "write a prefix such as 10.0.0.0/24")
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		c.add(path, shown(text)+" is not a subnet", "write a prefix such as 10.0.0.0/24")
		return p, false
	case !p.Addr().Is4():
		c.add(path, shown(text)+" is not IPv4", "Networks give IPv4 addresses so far")
		return p, false
	case p.Bits() < 8 || p.Bits() > 30:
		c.add(path, shown(text)+" has no room for nodes or too much", "from /8 to /30")
		return p, false
	case p.Masked() != p:
		c.add(path, shown(text)+" is an address in a subnet, not the subnet", "write "+p.Masked().String())
	}
	return p.Masked(), true
}

func (c *checker) addressRange(subnet netip.Prefix, text string) (first, last netip.Addr, ok bool) {
	const path = "spec.range"
	example := "write first-last, such as " + subnet.Addr().Next().String() + "-" + broadcast(subnet).Prev().String()
	if text == "" {
		c.add(path, "is missing", example)
		return first, last, false
	}
	from, to, _ := strings.Cut(text, "-")
	first, err := netip.ParseAddr(strings.TrimSpace(from))
	if err == nil {
		last, err = netip.ParseAddr(strings.TrimSpace(to))
	}
	switch {
	case err != nil:
		c.add(path, shown(text)+" is not a range", example)
	case !subnet.Contains(first) || !subnet.Contains(last):
		c.add(path, fmt.Sprintf("%s is not inside %s", text, subnet), example)
	case last.Less(first):
		c.add(path, fmt.Sprintf("%s comes after %s", first, last), "write "+last.String()+"-"+first.String())
	case first == subnet.Addr() || last == broadcast(subnet):
		c.add(path, "holds the subnet's own or its broadcast address", example)
	case count(first, last) > maxRange:
		c.add(path, fmt.Sprintf("has %d addresses", count(first, last)), "65536 are the most; use several Networks")
	default:
		return first, last, true
	}
	return first, last, false
}

func (c *checker) gateway(s network, text string, excluded map[netip.Addr]bool) {
	const path = "spec.gateway"
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil || !a.Is4():
		c.add(path, shown(text)+" is not an IPv4 address", "")
	case !s.Contains(a):
		c.add(path, fmt.Sprintf("%s is not inside %s", a, s.Prefix), "")
	case a == s.Addr() || a == broadcast(s.Prefix):
		c.add(path, a.String()+" is the subnet's own or its broadcast address", "")
	case s.gives(a, excluded):
		c.add(path, a.String()+" is in spec.range: a node would get it", "exclude it or move the range")
	}
}

func (c *checker) dns(s network, servers []string, excluded map[netip.Addr]bool) {
	if len(servers) > 3 {
		c.add("spec.dns", fmt.Sprintf("%d servers are too many", len(servers)), "resolvers use the first 3")
	}
	for i, text := range servers {
		path := "spec.dns[" + strconv.Itoa(i) + "]"
		a, err := netip.ParseAddr(text)
		if err != nil || !a.Is4() {
			c.add(path, shown(text)+" is not an IPv4 address", "")
		} else if s.gives(a, excluded) {
			c.add(path, a.String()+" is in spec.range: a node would get it", "exclude it or move the range")
		}
	}
}

func (c *checker) routes(s network, routes []Route, excluded map[netip.Addr]bool) {
	if len(routes) > maxRoutes {
		c.add("spec.routes", fmt.Sprintf("%d routes are too many", len(routes)), strconv.Itoa(maxRoutes)+" are the most")
	}
	for i, r := range routes {
		path := "spec.routes[" + strconv.Itoa(i) + "]"
		to, err := netip.ParsePrefix(r.To)
		switch {
		case err != nil || !to.Addr().Is4():
			c.add(path+".to", shown(r.To)+" is not an IPv4 subnet", "write a prefix such as 192.168.0.0/16")
		case to.Bits() == 0:
			c.add(path+".to", "is the default route", "write it as spec.gateway")
		case to.Masked() != to:
			c.add(path+".to", shown(r.To)+" is an address in a subnet, not the subnet", "write "+to.Masked().String())
		}
		via, err := netip.ParseAddr(r.Via)
		switch {
		case err != nil || !via.Is4():
			c.add(path+".via", shown(r.Via)+" is not an IPv4 address", "write the router's address in "+s.String())
		case !s.Contains(via):
			c.add(path+".via", fmt.Sprintf("%s is not inside %s", via, s.Prefix), "a router must be a neighbour")
		case s.gives(via, excluded):
			c.add(path+".via", via.String()+" is in spec.range: a node would get it", "exclude it or move the range")
		}
	}
}

// maxRoutes bounds the routes of one Network.
const maxRoutes = 32

func (c *checker) exclude(s network, addresses []string) {
	seen := map[netip.Addr]bool{}
	for i, text := range addresses {
		path := "spec.exclude[" + strconv.Itoa(i) + "]"
		a, err := netip.ParseAddr(text)
		switch {
		case err != nil || !a.Is4():
			c.add(path, shown(text)+" is not an IPv4 address", "")
		case seen[a]:
			c.add(path, a.String()+" is here twice", "")
		case s.ranged && (a.Less(s.first) || s.last.Less(a)):
			c.add(path, a.String()+" is not in spec.range, so it is never given out", "remove it")
		default:
			seen[a] = true
		}
	}
	if s.ranged && uint64(len(seen)) >= count(s.first, s.last) {
		c.add("spec.exclude", "leaves no address to give out", "")
	}
}

// parseAll returns the addresses among texts; exclude reports the others.
func (c *checker) parseAll(texts []string) map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil {
			out[a] = true
		}
	}
	return out
}

// broadcast is the last address of an IPv4 subnet.
func broadcast(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|(1<<(32-p.Bits())-1))
	return netip.AddrFrom4(b)
}

// count is how many addresses a range has.
func count(first, last netip.Addr) uint64 {
	a, b := first.As4(), last.As4()
	return uint64(binary.BigEndian.Uint32(b[:])) - uint64(binary.BigEndian.Uint32(a[:])) + 1
}

// Addresses returns the first and the last address that may be given out;
// false if the range is none.
func (s NetworkSpec) Addresses() (first, last netip.Addr, ok bool) {
	from, to, ok := strings.Cut(s.Range, "-")
	first, err := netip.ParseAddr(strings.TrimSpace(from))
	if err == nil {
		last, err = netip.ParseAddr(strings.TrimSpace(to))
	}
	return first, last, ok && err == nil && first.Is4() && last.Is4() && !last.Less(first)
}

// Size counts the addresses that may be given out.
func (s NetworkSpec) Size() int {
	first, last, ok := s.Addresses()
	if !ok {
		return 0
	}
	size := int(count(first, last)) //nolint:gosec // IPv4 has 32 bits
	seen := map[netip.Addr]bool{}
	for _, text := range append([]string{s.Gateway}, s.Exclude...) {
		addr, err := netip.ParseAddr(text)
		if err == nil && !seen[addr] && !addr.Less(first) && !last.Less(addr) {
			seen[addr] = true
			size--
		}
	}
	return size
}
