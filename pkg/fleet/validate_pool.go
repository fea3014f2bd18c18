package fleet

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The bounds of a VM. The upper ones are vSphere's own.
const (
	maxCPUs   = 768
	minMemory = 256 << 20
	maxMemory = 24 << 40
	minDisk   = 1 << 30
	maxDisk   = 62 << 40
)

func (c *checker) pools(f *Fleet) {
	if len(f.Spec.Pools) == 0 {
		c.add("spec.pools", "the fleet has no pool", "write one; replicas may be 0")
		return
	}
	first := map[string]int{}
	for i := range f.Spec.Pools {
		path, pool := fmt.Sprintf("spec.pools[%d]", i), &f.Spec.Pools[i]
		if before, ok := first[pool.Name]; ok && pool.Name != "" {
			c.add(path+".name", shown(pool.Name)+" is the name of another pool", fmt.Sprintf("spec.pools[%d] has it, too", before))
		} else {
			first[pool.Name] = i
		}
		c.pool(path, f, pool)
	}
}

func (c *checker) pool(path string, f *Fleet, pool *Pool) {
	c.name(path+".name", pool.Name)
	if all := len(f.Metadata.Name) + len(pool.Name) + ordinalDigits + 2; all > maxHostname && len(pool.Name) <= MaxNameLength {
		c.add(path+".name", fmt.Sprintf("node names %s-%s-N would have more than %d characters", short(f.Metadata.Name), short(pool.Name), maxHostname),
			fmt.Sprintf("shorten the fleet's or the pool's name by %d", all-maxHostname))
	}
	c.between(path+".replicas", pool.Replicas, 0, MaxReplicas)
	c.hostname(path+".hostname", f, pool)
	c.networks(path+".networks", pool.Networks)
	c.layers(path+".config", pool.Config)
	c.vars(path+".vars", pool.Vars)
	c.references(path, f, pool)
	c.ready(path+".ready", pool.Ready)
	c.onConfigChange(path, pool)
	c.vsphere(path+".vsphere", f, pool.VSphere)
	if pool.VSphere != nil {
		c.userData(path, f, pool)
	}
}

func (c *checker) networks(path string, networks []PoolNetwork) {
	seen := map[string]bool{}
	cards := cardChecker{checker: c, fallback: -1}
	for i, n := range networks {
		at := path + "[" + strconv.Itoa(i) + "]"
		cards.entry(at, i, n)
		switch {
		case n.Ref != "" && n.DHCP:
			c.add(at, "has both ref and dhcp", "keep one")
		case n.Ref == "" && !n.DHCP:
			c.add(at, "says not where the address comes from", "write {ref: NETWORK} or {dhcp: true}")
		case n.DHCP:
		case seen[n.Ref]:
			c.add(at+".ref", "a node has one address of a Network; "+shown(n.Ref)+" is here twice", "")
		default:
			seen[n.Ref] = true
			c.reference(at+".ref", n.Ref, "Network")
		}
	}
}

// cardChecker checks the entries of a pool's networks against each other.
type cardChecker struct {
	*checker
	next     int
	fallback int // the entry that has the default route
	groups   [MaxCards]string
}

func (c *cardChecker) entry(path string, i int, n PoolNetwork) {
	card := c.next
	if n.NIC != nil {
		card = *n.NIC
	}
	switch {
	case card < 0 || card > c.next:
		c.add(path+".nic", fmt.Sprintf("there is no card %d before this", card), fmt.Sprintf("from 0 to %d, or leave it out for a card of its own", c.next))
		return
	case card >= MaxCards:
		c.add(path, fmt.Sprintf("a VM has at most %d network cards", MaxCards), "let entries share one with nic: 0")
		return
	}
	c.next = max(c.next, card+1)
	c.inventoryName(path+".portgroup", n.Portgroup)
	if n.Portgroup != "" {
		if other := c.groups[card]; other != "" && other != n.Portgroup {
			c.add(path+".portgroup", fmt.Sprintf("card %d is connected to %s already", card, shown(other)), "a card has one portgroup")
		}
		c.groups[card] = n.Portgroup
	}
	if n.DefaultRoute == nil || !*n.DefaultRoute {
		return
	}
	if c.fallback >= 0 {
		c.add(path+".defaultRoute", fmt.Sprintf("networks[%d] has the default route already", c.fallback), "a node has one")
	}
	c.fallback = i
}

// ready checks the readiness rule by itself; whether a role makes the nodes
// phone home is the renderer's to say, who knows the roles.
func (c *checker) ready(path string, r Ready) {
	if r.By != "" {
		c.oneOf(path+".by", r.By, []string{ReadyByPhoneHome, ReadyByGuestAddress})
	}
	c.duration(path+".timeout", r.Timeout, 10*time.Second, 24*time.Hour)
}

func (c *checker) vsphere(path string, f *Fleet, v *VSphere) {
	if v == nil {
		c.add(path, "is missing", "write vsphere: {site: ..., ...}: it says what makes the pool's machines")
		return
	}
	c.failureDomains(path, v)
	if v.Site != "" || len(v.FailureDomains) == 0 {
		c.reference(path+".site", v.Site, "Site")
	}
	c.template(path, f.Spec.OS, v.Source)
	c.place(path, v)
	if v.CPUs != 0 {
		c.between(path+".cpus", v.CPUs, 1, maxCPUs)
	}
	c.quantity(path+".memory", v.Memory, minMemory, maxMemory)
	c.quantity(path+".disk", v.Disk, minDisk, maxDisk)
	c.disks(path+".disks", v.Disks)
	c.marks(path, v)
	c.apart(path+".antiAffinity", v)
	if v.Clone != "" {
		c.oneOf(path+".clone", v.Clone, []string{CloneFull, CloneLinked})
	}
}

// template checks that it is said, and said once, what VMs are made from.
func (c *checker) template(path string, os OS, source VSphereSource) {
	byVersion := TemplateOf(os.Version)
	switch {
	case os.Version == "" && source.Template == "":
		c.add(path+".source.template", "there is no telling what to clone", "set spec.os.version, or source: {template: ...} here")
	case os.Version != "" && source.Template != "" && source.Template != byVersion:
		c.add(path+".source.template", fmt.Sprintf("%s is not %s, which spec.os.version asks for", shown(source.Template), byVersion), "keep one of the two")
	}
	c.inventoryName(path+".source.template", source.Template)
}

// inventoryName checks the name of an object in vCenter.
func (c *checker) inventoryName(path, name string) {
	if len(name) > 80 {
		c.add(path, fmt.Sprintf("has %d characters", len(name)), "vCenter allows 80")
	} else if !printable(name) {
		c.add(path, shown(name)+" has unprintable characters or blanks at an end", "")
	}
}

// quantity checks a number of bytes that may be left out.
func (c *checker) quantity(path string, q Quantity, least, most int64) {
	n, err := q.Bytes()
	switch {
	case err != nil:
		message, hint, _ := strings.Cut(err.Error(), "; ")
		if better := quantityHint(string(q)); better != "" {
			hint = better
		}
		c.add(path, message, hint)
	case q != "" && (n < least || n > most):
		c.add(path, shown(string(q))+" is out of range", fmt.Sprintf("from %s to %s", bytesText(least), bytesText(most)))
	}
}

// looseUnits are what people write for the units of a quantity.
var looseUnits = map[string]string{
	"k": "k", "kb": "k", "kib": "k", "ki": "k", "m": "M", "mb": "M", "mib": "M", "mi": "M",
	"g": "G", "gb": "G", "gib": "G", "gi": "G", "t": "T", "tb": "T", "tib": "T", "ti": "T",
}

// quantityHint guesses what a wrong quantity was meant to be: 4GB, 1.5Gi,
// 4 gib.
func quantityHint(q string) string {
	digits := strings.TrimRightFunc(q, func(r rune) bool { return r == ' ' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' })
	unit := looseUnits[strings.ToLower(strings.TrimSpace(q[len(digits):]))]
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || unit == "" || n <= 0 || n > 1<<20 {
		return ""
	}
	scale := map[string]float64{"k": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}[unit]
	mebibytes := int64(n * scale / (1 << 20))
	if mebibytes == 0 {
		return ""
	}
	if n != float64(int64(n)) {
		return fmt.Sprintf("write %dMi", mebibytes)
	}
	whole := strconv.FormatInt(int64(n), 10)
	return fmt.Sprintf("write %s%si (%d MiB) or %s%s", whole, strings.ToUpper(unit), mebibytes, whole, unit)
}

// bytesText is a bound as it would be written.
func bytesText(n int64) string {
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{{"Ti", 1 << 40}, {"Gi", 1 << 30}, {"Mi", 1 << 20}} {
		if n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}

// short cuts a name that is too long for a message.
func short(s string) string {
	if len(s) > MaxNameLength {
		return s[:MaxNameLength] + "..."
	}
	return s
}
