package discover

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Network is a portgroup and what the guests in it say of their addresses.
type Network struct {
	Name string
	// Kind is standard, distributed or opaque.
	Kind string
	// Subnet is where most of its guests are; the zero value if none said so.
	Subnet netip.Prefix
	// Guests is how many are there, from First to Last.
	Guests      int
	First, Last netip.Addr
	// Gateway is the default route of one of them, DNS its servers.
	Gateway netip.Addr
	DNS     []string
}

var networkKinds = map[string]string{
	"Network": "standard", "DistributedVirtualPortgroup": "distributed", "OpaqueNetwork": "opaque",
}

// uplinkTag marks the portgroups of a distributed switch's own cables.
const uplinkTag = "SYSTEM/DVS.UPLINKPG"

func (r *reader) networks(in ref, seen sightings) []Network {
	var all []mo.Network
	r.all(in, "Network", []string{"name", "tag"}, &all)
	uplinks := map[ref]bool{}
	if r.vim.IsVC() {
		var groups []mo.DistributedVirtualPortgroup
		r.all(in, "DistributedVirtualPortgroup", []string{"config.uplink"}, &groups)
		for i := range groups {
			uplinks[groups[i].Self] = groups[i].Config.Uplink != nil && *groups[i].Config.Uplink
		}
	}
	var out []Network
	for i := range all {
		n := &all[i]
		if uplinks[n.Self] || slices.ContainsFunc(n.Tag, func(t types.Tag) bool { return t.Key == uplinkTag }) {
			continue
		}
		out = append(out, seen.network(n.Name, cmp.Or(networkKinds[n.Self.Type], n.Self.Type)))
	}
	slices.SortFunc(out, func(a, b Network) int { return compare(a.Name, b.Name) })
	return out
}

func compare(a, b string) int { return strings.Compare(a, b) }

// sightings are the addresses that guests report, by the network's name.
type sightings map[string][]sighting

type sighting struct {
	addr   netip.Addr
	subnet netip.Prefix
	routes []netip.Addr
	dns    []string
}

// note takes in what a guest says of itself. Anybody on the machine can say
// anything there, so that only addresses are taken.
func (s sightings) note(g *types.GuestInfo) {
	routes, dns := ways(g)
	for _, nic := range g.Net {
		if nic.IpConfig == nil {
			continue
		}
		for _, ip := range nic.IpConfig.IpAddress {
			if a, ok := ipv4(ip.IpAddress); ok && ip.PrefixLength >= 8 && ip.PrefixLength <= 30 {
				subnet := netip.PrefixFrom(a, int(ip.PrefixLength)).Masked()
				s[nic.Network] = append(s[nic.Network], sighting{a, subnet, routes, dns})
			}
		}
	}
}

func ipv4(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	return a, err == nil && a.Is4()
}

// ways are a guest's default routes and name servers.
func ways(g *types.GuestInfo) (routes []netip.Addr, dns []string) {
	for i := range g.IpStack {
		if c := g.IpStack[i].IpRouteConfig; c != nil {
			for _, way := range c.IpRoute {
				if a, ok := ipv4(way.Gateway.IpAddress); ok && way.PrefixLength == 0 {
					routes = append(routes, a)
				}
			}
		}
		if c := g.IpStack[i].DnsConfig; c != nil {
			for _, text := range c.IpAddress {
				if a, ok := ipv4(text); ok && !slices.Contains(dns, a.String()) {
					dns = append(dns, a.String())
				}
			}
		}
	}
	return routes, dns
}

// network sums up what was seen on a network: of several subnets the one with
// most guests.
func (s sightings) network(name, kind string) Network {
	out := Network{Name: name, Kind: kind}
	out.Subnet, out.Guests = s.usual(name)
	for _, one := range s[name] {
		if one.subnet != out.Subnet {
			continue
		}
		if !out.First.IsValid() || one.addr.Less(out.First) {
			out.First = one.addr
		}
		if out.Last.Less(one.addr) {
			out.Last = one.addr
		}
		for _, way := range one.routes {
			if out.Subnet.Contains(way) && !out.Gateway.IsValid() {
				out.Gateway, out.DNS = way, one.dns[:min(3, len(one.dns))]
			}
		}
	}
	return out
}

// usual is the subnet that most guests of a network are in, and how many.
func (s sightings) usual(name string) (most netip.Prefix, guests int) {
	count := map[netip.Prefix]int{}
	for _, one := range s[name] {
		count[one.subnet]++
	}
	for subnet, n := range count {
		if n > guests || n == guests && subnet.Addr().Less(most.Addr()) {
			most, guests = subnet, n
		}
	}
	return most, guests
}
