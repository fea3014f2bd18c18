package discover

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/specfile"
)

// Wishes are what only people know.
type Wishes struct {
	// Site is the Site's name.
	Site string
	// Datacenter is the Site's; needed only if there are several.
	Datacenter string
	// Ranges are what may be given out, by portgroup.
	Ranges map[string]Range
}

// Range says which addresses of a portgroup's subnet may be given out.
type Range struct {
	Subnet, Addresses, Gateway string
}

// ParseRange reads PORTGROUP=SUBNET:FIRST-LAST[:GATEWAY].
func ParseRange(text string) (portgroup string, r Range, err error) {
	const example = "write PORTGROUP=SUBNET:FIRST-LAST[:GATEWAY], such as dmz=10.0.0.0/24:10.0.0.10-10.0.0.99:10.0.0.1"
	i := strings.LastIndex(text, "=")
	if i < 1 {
		return "", r, fmt.Errorf("%q names no portgroup; %s", text, example)
	}
	parts := strings.Split(text[i+1:], ":")
	if len(parts) != 2 && len(parts) != 3 {
		return "", r, fmt.Errorf("%q is no range; %s", text, example)
	}
	r = Range{Subnet: parts[0], Addresses: parts[1]}
	if len(parts) == 3 {
		r.Gateway = parts[2]
	}
	return text[:i], r, nil
}

// Document writes the Site and the Networks, with what is left to decide. What
// it writes parses, or it returns an error.
func (s *Server) Document(in *Inventory, w Wishes) ([]byte, error) {
	home, err := in.home(w.Datacenter)
	if err != nil {
		return nil, err
	}
	var b writer
	b.line("# Found by yardctl site discover at %s: %s.", s.URL, plain(in.Product))
	b.line("# What says \"decide\" is for you. Then: yardctl apply -f FILE; yardctl doctor %s", w.Site)
	s.site(&b, in, w, home)
	for i := range in.Datacenters {
		in.Datacenters[i].tell(&b, in)
	}
	left := map[string]bool{}
	for name := range w.Ranges {
		left[name] = true
	}
	names := map[string]bool{}
	for i := range in.Datacenters {
		for _, n := range in.Datacenters[i].Networks {
			// Of two portgroups of one name only the first has the range.
			name := unique(names, n.Name)
			if left[n.Name] {
				n.document(&b, name, w.Ranges[n.Name])
				delete(left, n.Name)
			} else {
				n.outline(&b, name)
			}
		}
	}
	for name := range left {
		return nil, fmt.Errorf("there is no portgroup %q to give a range to; there are %s", name, strings.Join(in.portgroups(), ", "))
	}
	if _, problems := specfile.Parse("discovered", b.Bytes()); len(problems) > 0 {
		return nil, fmt.Errorf("what would be written is not valid:\n%s", specfile.Format(problems))
	}
	return b.Bytes(), nil
}

// home is the datacenter of the Site, nil if pools must say.
func (in *Inventory) home(name string) (*Datacenter, error) {
	var names []string
	for i := range in.Datacenters {
		if d := &in.Datacenters[i]; d.Name == name || name == "" && len(in.Datacenters) == 1 {
			return d, nil
		}
		names = append(names, in.Datacenters[i].Name)
	}
	if name != "" {
		return nil, fmt.Errorf("there is no datacenter %q; there are %s", name, strings.Join(names, ", "))
	}
	return nil, nil //nolint:nilnil // none is an answer
}

func (in *Inventory) portgroups() []string {
	var out []string
	for i := range in.Datacenters {
		for _, n := range in.Datacenters[i].Networks {
			out = append(out, n.Name)
		}
	}
	return out
}

func (s *Server) site(b *writer, in *Inventory, w Wishes, home *Datacenter) {
	b.line("apiVersion: %s", fleet.APIVersion)
	b.line("kind: Site")
	b.line("metadata: {name: %s}", quoted(w.Site))
	b.line("spec:")
	b.line("  # decide: the URL at which nodes here reach a gateway; without it, the renderers' setting.")
	b.line("  # phoneHome: http://gateway.example:7070")
	b.line("  vsphere:")
	b.line("    url: %s", quoted(s.URL.String()))
	b.line("    # The site's executor reads its login from its own environment or files; it stands in no document.")
	b.line("    # decide: where, such as {file: /run/secrets/vcenter-user}.")
	b.line("    username: {env: YARD_SECRET_VCENTER_USER}")
	b.line("    password: {env: YARD_SECRET_VCENTER_PASSWORD}")
	b.line("    # The certificate that was shown and accepted, until %s.", s.Certificate.NotAfter.Format("2006-01-02"))
	b.line("    thumbprint: %s", quoted(s.Fingerprint))
	switch {
	case home != nil:
		b.line("    datacenter: %s", quoted(home.Name))
	case len(in.Datacenters) > 1:
		b.line("    # decide: the datacenter of pools that name none, one of those below.")
		b.line("    # datacenter: %s", quoted(in.Datacenters[0].Name))
	}
	if in.ESXi {
		b.line("    # decide: whose images are good; a host has no templates, and machines are made of images only.")
	} else {
		b.line("    # decide: whose images are good, so that releases without a template are imported.")
	}
	b.line("    # images: {keyFile: /etc/yardmaster/flatcar.asc}")
}

// tell writes what a datacenter holds, for who writes pools.
func (d *Datacenter) tell(b *writer, in *Inventory) {
	b.line("")
	b.line("# Datacenter %s has, for spec.pools[].vsphere of a Fleet:", quoted(d.Name))
	for _, c := range d.Clusters {
		if !in.ESXi { // what a lone host calls so cannot be named
			c.tell(b)
		}
	}
	for _, s := range d.Datastores {
		s.tell(b)
	}
	for _, p := range d.Pods {
		b.line("#   datastoreCluster: %s", quoted(p))
	}
	if len(d.Folders) > 0 {
		b.line("#   folder: %s  (others are made)", list(d.Folders))
	}
	for _, t := range d.Templates {
		text := "clone: full only, it has no snapshot"
		if t.Snapshot {
			text = "clone: full or linked"
		}
		b.line("#   source: {template: %s}  (%s)", quoted(t.Name), text)
	}
	if len(d.Templates) == 0 && !in.ESXi {
		b.line("#   no template: yardctl image import brings one")
	}
	for _, n := range d.Networks {
		b.line("#   portgroup: %s  (%s)", quoted(n.Name), n.Kind)
	}
}

func (c *Cluster) tell(b *writer) {
	text := strconv.Itoa(c.Hosts) + " hosts"
	switch {
	case c.Lone:
		text = "a host of its own"
	case c.DRS:
		text += ", DRS"
	}
	if len(c.Pools) > 0 {
		text += ", resourcePool " + list(c.Pools)
	}
	b.line("#   cluster: %s  (%s)", quoted(c.Name), text)
}

func (s *Datastore) tell(b *writer) {
	state := ""
	if !s.Usable {
		state = ", not usable now"
	}
	b.line("#   datastore: %s  (%s, %d GiB of %d GiB free%s)", quoted(s.Name), plain(s.Type), s.Free>>30, s.Capacity>>30, state)
}

// document writes a Network that applies.
func (n *Network) document(b *writer, name string, r Range) {
	b.line("")
	b.line("---")
	n.fields(b, "", name, r)
	if r.Gateway != "" {
		b.line("  gateway: %s", quoted(r.Gateway))
	}
	// What guests say of another subnet is not this one's.
	if r.Subnet == n.Subnet.String() {
		n.ways(b, "  # ", r.Gateway == "")
	}
}

// outline writes a Network that waits for its range, as a comment.
func (n *Network) outline(b *writer, name string) {
	b.line("")
	b.line("# A Network of portgroup %s gives nodes static addresses. vCenter does not know which are free:", quoted(n.Name))
	b.line("# decide the range, and take the marks away; or have it written by --range %s",
		shell(n.Name+"=10.0.0.0/24:10.0.0.10-10.0.0.99:10.0.0.1"))
	b.line("# With DHCP no Network is needed: networks: [{dhcp: true, portgroup: %s}] in the pool.", quoted(n.Name))
	b.line("# ---")
	r := Range{Subnet: undecided, Addresses: undecided}
	if n.Subnet.IsValid() {
		r.Subnet = n.Subnet.String()
	}
	n.fields(b, "# ", name, r)
	n.ways(b, "#   ", true)
}

// undecided stands where only people know; validate refuses it.
const undecided = "decide"

func (n *Network) fields(b *writer, mark, name string, r Range) {
	b.line("%sapiVersion: %s", mark, fleet.APIVersion)
	b.line("%skind: Network", mark)
	b.line("%smetadata: {name: %s}", mark, quoted(name))
	b.line("%sspec:", mark)
	b.line("%s  portgroup: %s", mark, quoted(n.Name))
	b.line("%s  subnet: %s", mark, quoted(r.Subnet))
	if n.Guests > 0 {
		b.line("%s  # seen there: %d guests in %s, from %s to %s", mark, n.Guests, n.Subnet, n.First, n.Last)
	}
	b.line("%s  range: %s", mark, quoted(r.Addresses))
}

// ways writes what a guest says of the gateway, if that is open, and of the
// name servers.
func (n *Network) ways(b *writer, mark string, open bool) { //nolint:revive // a gateway that is known is not said twice
	if open && n.Gateway.IsValid() {
		b.line("%sgateway: %s", mark, quoted(n.Gateway.String()))
	}
	if len(n.DNS) > 0 {
		b.line("%sdns: %s", mark, list(n.DNS))
	}
}

// writer collects lines.
type writer struct{ bytes.Buffer }

func (b *writer) line(format string, args ...any) {
	fmt.Fprintf(&b.Buffer, strings.TrimRight(format, " ")+"\n", args...)
}

// quoted is a text as YAML reads it back, on one line whatever it holds: JSON
// is YAML.
func quoted(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(text); err != nil {
		return `""`
	}
	// JSON leaves these as they are, and YAML ends lines at them.
	return strings.NewReplacer("\u0085", `\u0085`, "\u007f", `\u007f`).Replace(strings.TrimSpace(b.String()))
}

// list is some texts as a YAML list of not too many.
func list(texts []string) string {
	const most = 12
	var out []string
	for _, t := range texts[:min(most, len(texts))] {
		out = append(out, quoted(t))
	}
	text := "[" + strings.Join(out, ", ") + "]"
	if len(texts) > most {
		text += fmt.Sprintf(" and %d more", len(texts)-most)
	}
	return text
}

// plain is a text for a comment: quoted only if it must be.
func plain(text string) string {
	q := quoted(text)
	if q == `"`+text+`"` {
		return text
	}
	return q
}

// shell quotes a text for a shell, on one line.
func shell(text string) string {
	return "'" + strings.ReplaceAll(plain(text), "'", `'\''`) + "'"
}

// unique makes a document's name of a portgroup's.
func unique(taken map[string]bool, portgroup string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(portgroup) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if s := b.String(); s != "" && !strings.HasSuffix(s, "-") {
			b.WriteByte('-')
		}
	}
	const most = fleet.MaxNameLength - 4 // room for a number
	base := strings.Trim(b.String()[:min(most, b.Len())], "-")
	if base == "" || !fleet.ValidName(base) {
		base = "net-" + base
		base = strings.Trim(base[:min(most, len(base))], "-")
	}
	name := base
	for i := 2; taken[name]; i++ {
		name = base + "-" + strconv.Itoa(i)
	}
	taken[name] = true
	return name
}
