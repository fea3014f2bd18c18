package fleet

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxLayer bounds the text of a layer; guestinfo carries far less.
const maxLayer = 256 << 10

// hostnamePlaceholders are those that the planner fills into hostnames; the
// first ones tell the nodes of a pool apart.
var hostnamePlaceholders = []string{"ordinal", "node.ordinal", "node.name", "fleet", "pool", "node.fleet", "node.pool"}

const distinctPlaceholders = 3

// layers checks everything about layers that can be seen without compiling
// them.
func (c *checker) layers(path string, layers []Layer) {
	for i, l := range layers {
		at := path + "[" + strconv.Itoa(i) + "]"
		set := 0
		for _, text := range []string{l.Role, l.Butane, l.Ignition} {
			if text != "" {
				set++
			}
		}
		switch {
		case set == 0:
			c.add(at, "holds nothing", "write one of role, butane, ignition")
		case set > 1:
			c.add(at, "has more than one of role, butane, ignition", "write them as layers of their own")
		case l.Role != "":
			c.oneOf(at+".role", l.Role, RoleNames())
		}
		if n := max(len(l.Butane), len(l.Ignition)); n > maxLayer {
			c.add(at, fmt.Sprintf("the layer has %d KiB", n>>10), fmt.Sprintf("%d KiB are the most, and guestinfo carries 48 KiB compressed", maxLayer>>10))
		}
	}
}

// reference is a placeholder as it stands in the raw text of a layer. The
// text is not parsed here: that is the renderer's work.
var reference = regexp.MustCompile(`\{\{[ \t]*\.((?:vars|secrets)\.[A-Za-z0-9_.-]+)[ \t]*(?:\|[^{}\n]*)?\}\}`)

// references checks that the vars and secrets that a pool's layers use are
// there. A layer of the fleet is checked once for each pool, since a var may
// be one pool's own; what no pool has is reported at the first.
func (c *checker) references(path string, f *Fleet, pool *Pool) {
	known := f.known(pool)
	for i, l := range pool.Config {
		at := fmt.Sprintf("%s.config[%d]", path, i)
		c.layerReferences(at, l, known, "")
		c.roleParams(at, l, f, pool, path)
	}
	missing := &checker{}
	for i, l := range f.Spec.Config {
		at := fmt.Sprintf("spec.config[%d]", i)
		missing.layerReferences(at, l, known, " in pool "+pool.Name)
		missing.roleParams(at, l, f, pool, path)
	}
	for _, p := range missing.problems {
		if !slices.ContainsFunc(c.problems, func(q Problem) bool { return q.Path == p.Path && sameReference(p.Message, q.Message) }) {
			c.problems = append(c.problems, p)
		}
	}
}

// sameReference compares two messages but for the pool that they name or
// what the role lacks there.
func sameReference(a, b string) bool {
	for _, end := range []string{" is not known", " needs "} {
		a, _, _ = strings.Cut(a, end)
		b, _, _ = strings.Cut(b, end)
	}
	return a == b
}

// known are the vars and secrets that a pool's layers may use.
func (f *Fleet) known(pool *Pool) []string {
	var names []string
	for name := range f.Spec.Vars {
		names = append(names, "vars."+name)
	}
	for name := range pool.Vars {
		names = append(names, "vars."+name)
	}
	for name := range f.Spec.Secrets {
		names = append(names, "secrets."+name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (c *checker) layerReferences(path string, l Layer, known []string, where string) {
	for _, layer := range []struct{ name, text string }{{".butane", l.Butane}, {".ignition", l.Ignition}} {
		for _, m := range reference.FindAllStringSubmatchIndex(layer.text, -1) {
			name := layer.text[m[2]:m[3]]
			if slices.Contains(known, name) {
				continue
			}
			line := 1 + strings.Count(layer.text[:m[0]], "\n")
			hint := "add it to spec." + strings.Replace(name, ".", ": {", 1) + ": ...}"
			if near := Nearest(name, known); near != "" {
				hint = "did you mean {{ ." + near + " }}?"
			}
			c.add(path+layer.name, fmt.Sprintf("line %d: {{ .%s }} is not known%s", line, short(name), where), hint)
		}
	}
}

// maxUserData bounds user data: guestinfo carries 48 KiB compressed.
const maxUserData = 256 << 10

// userData checks a pool that is given user data in place of a config.
func (c *checker) userData(path string, f *Fleet, pool *Pool) {
	text := pool.VSphere.UserData
	if text == "" {
		return
	}
	at := path + ".vsphere.userData"
	if len(f.Spec.Config)+len(pool.Config) > 0 {
		c.add(at, "the pool has config layers too, and a machine reads one of the two", "move the layers into the pools that have no userData")
	}
	if pool.Ready.By != ReadyByGuestAddress {
		c.add(path+".ready.by", "nothing makes a pool with userData phone home", "write ready: {by: guest-address}")
	}
	switch begin := strings.TrimLeft(text, " \t\r\n"); {
	case len(text) > maxUserData:
		c.add(at, fmt.Sprintf("has %d KiB", len(text)>>10), fmt.Sprintf("%d KiB are the most, and guestinfo carries 48 KiB compressed", maxUserData>>10))
	case strings.HasPrefix(begin, "{"), strings.HasPrefix(begin, "variant:"):
		c.add(at, "this is a config, which Ignition reads", "write it as a layer: config: [{butane: ...}] or [{ignition: ...}]")
	case begin != text:
		c.add(at, "begins with white space, so that nobody knows what it is", "begin with #cloud-config or #!/bin/bash")
	case !isUserData(text):
		c.add(at, "is neither a cloud-config nor a script", "begin with #cloud-config, #!/bin/bash or MIME-Version: 1.0")
	}
}

func isUserData(text string) bool {
	for _, begin := range []string{"#cloud-config", "#!/", "MIME-Version:", "Content-Type: multipart/"} {
		if strings.HasPrefix(text, begin) {
			return true
		}
	}
	return false
}

// hostname checks that a pool's hostname template gives each of its nodes a
// hostname of its own that a guest can carry (RFC 1123, section 2.1).
func (c *checker) hostname(path string, f *Fleet, pool *Pool) {
	if pool.Hostname == "" {
		return
	}
	t, err := ParseTemplate(pool.Hostname)
	if err != nil {
		message, hint, _ := strings.Cut(err.Error(), "; ")
		c.add(path, message, hint)
		return
	}
	distinct, ok := false, true
	for _, name := range t.Names() {
		distinct = distinct || slices.Contains(hostnamePlaceholders[:distinctPlaceholders], name)
		if !slices.Contains(hostnamePlaceholders, name) {
			ok = false
			c.add(path, "{{ ."+short(name)+" }} is not known here", didYouMean(name, hostnamePlaceholders))
		}
	}
	if !ok {
		return
	}
	if !distinct && pool.Replicas > 1 {
		c.add(path, "every node of the pool would be called the same", "add {{ .ordinal }}")
	}
	c.resulting(path, t, f, pool)
}

// resulting checks the longest hostname that the template can make.
func (c *checker) resulting(path string, t Template, f *Fleet, pool *Pool) {
	node := f.Metadata.Name + "-" + pool.Name + "-" + strconv.Itoa(MaxReplicas)
	values := map[string]string{
		"fleet": f.Metadata.Name, "node.fleet": f.Metadata.Name,
		"pool": pool.Name, "node.pool": pool.Name,
		"ordinal": strconv.Itoa(MaxReplicas), "node.ordinal": strconv.Itoa(MaxReplicas), "node.name": node,
	}
	hostname, err := t.Expand(func(name string) (string, bool) { return values[name], true })
	if err != nil {
		message, hint, _ := strings.Cut(err.Error(), "; ")
		c.add(path, message, hint)
		return
	}
	if len(hostname) > maxHostname {
		c.add(path, fmt.Sprintf("gives hostnames of up to %d characters: %s", len(hostname), hostname), strconv.Itoa(maxHostname)+" are the most")
		return
	}
	for label := range strings.SplitSeq(hostname, ".") {
		if !dnsLabel.MatchString(label) {
			c.add(path, "gives "+shown(hostname)+", which is no hostname", "a hostname has a-z, 0-9, - and ., a letter or digit at both ends of each part")
			return
		}
	}
}
