package render

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/coreos/ignition/v2/config/util"
	"github.com/coreos/ignition/v2/config/v3_4/types"
	"golang.org/x/crypto/ssh"
)

// rules checks what neither Butane nor Ignition does: what they would let
// through ends in a node that does not boot, or in one that runs more than
// its writer meant.
type rules struct {
	values valuesOf
	// line finds a text in the layer.
	line func(string) int
	out  []finding
}

// valuesOf tells the rules about the values that stand in a config.
type valuesOf struct {
	// opaque says that a text holds a value that is not known yet; its form
	// is checked when it is.
	opaque func(string) bool
	// show takes secrets and markers out of a text for a message.
	show func(string) string
}

// checkRules returns every violation of a layer's config.
func checkRules(cfg *types.Config, values valuesOf, line func(string) int) []finding {
	r := &rules{values: values, line: line}
	r.ignition(&cfg.Ignition)
	r.storage(&cfg.Storage)
	for _, u := range cfg.Systemd.Units {
		r.unit(u)
	}
	r.passwd(&cfg.Passwd)
	for _, arg := range slices.Concat(cfg.KernelArguments.ShouldExist, cfg.KernelArguments.ShouldNotExist) {
		r.form(string(arg), kernelArgument, "kernel argument %q has characters that GRUB or the kernel would read otherwise", "one argument for each entry; letters, digits and _ . , : = / @ % + ~ - only")
	}
	return r.out
}

// shown is a value as it may stand in a message. Secrets are taken out
// before it is cut, or a part of one would stay.
func (r *rules) shown(value string) string { return short(r.values.show(value)) }

func (r *rules) add(value, message, hint string) {
	r.out = append(r.out, finding{line: r.line(value), message: message, hint: hint})
}

// form checks a value against a form; the message has one %q for the value.
func (r *rules) form(value string, form *regexp.Regexp, message, hint string) {
	if !r.values.opaque(value) && !form.MatchString(value) {
		r.add(value, fmt.Sprintf(message, r.shown(value)), hint)
	}
}

var (
	// kernelArgument is what can be pasted into grub.cfg as it is.
	kernelArgument = regexp.MustCompile(`^[A-Za-z0-9_.,:=/@%+~-]+$`)
	unitName       = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]{1,240}\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)$`)
	dropinName     = regexp.MustCompile(`^[A-Za-z0-9:_.@-]{1,240}\.conf$`)
	userName       = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	passwordHash   = regexp.MustCompile(`^(\$[a-z0-9]+\$[A-Za-z0-9./$=,-]+|[*!]+)$`)
	headerName     = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	printable      = regexp.MustCompile(`^[^\x00-\x1f\x7f]*$`)
	passwdField    = regexp.MustCompile(`^[^\x00-\x1f\x7f:]*$`)
)

func (r *rules) ignition(i *types.Ignition) {
	if len(i.Config.Merge) > 0 || !util.NilOrEmpty(i.Config.Replace.Source) {
		r.out = append(r.out, finding{
			message: "ignition.config.merge and replace are not allowed",
			hint:    "add the other config as a layer: it is then checked and merged here, not at boot",
		})
	}
	for _, ca := range i.Security.TLS.CertificateAuthorities {
		r.resource(ca)
	}
	for _, proxy := range []*string{i.Proxy.HTTPProxy, i.Proxy.HTTPSProxy} {
		if !util.NilOrEmpty(proxy) {
			r.credentials(*proxy)
		}
	}
}

func (r *rules) storage(s *types.Storage) {
	for _, f := range s.Files {
		r.node(f.Node)
		for _, res := range append([]types.Resource{f.Contents}, f.Append...) {
			r.resource(res)
		}
		r.hostname(f)
		r.network(f)
	}
	for _, d := range s.Directories {
		r.node(d.Node)
	}
	for _, l := range s.Links {
		r.node(l.Node)
		if !util.NilOrEmpty(l.Target) {
			r.form(*l.Target, printable, "link target %q has control characters", "")
		}
	}
	for _, l := range s.Luks {
		r.resource(l.KeyFile)
	}
}

// hidden are the places where a file would be refused, lost or unseen.
var hidden = []struct{ dir, why string }{
	{"/usr", "/usr is read-only on Flatcar"},
	{"/bin", "/bin is a part of /usr, which is read-only on Flatcar"},
	{"/sbin", "/sbin is a part of /usr, which is read-only on Flatcar"},
	{"/lib", "/lib is a part of /usr, which is read-only on Flatcar"},
	{"/lib64", "/lib64 is a part of /usr, which is read-only on Flatcar"},
	{"/tmp", "a file system is mounted over /tmp at boot"},
	{"/run", "a file system is mounted over /run at boot"},
	{"/var/run", "/var/run is /run, over which a file system is mounted at boot"},
	{"/proc", "/proc is the kernel's"},
	{"/sys", "/sys is the kernel's"},
	{"/dev", "/dev is the kernel's"},
}

func (r *rules) node(n types.Node) {
	r.form(n.Path, printable, "path %q has control characters", "")
	for _, h := range hidden {
		if n.Path == h.dir || strings.HasPrefix(n.Path, h.dir+"/") {
			r.add(n.Path, fmt.Sprintf("%s: %s", r.shown(n.Path), h.why), "use a place below /etc, /opt, /srv or /var")
		}
	}
	for _, name := range []*string{n.User.Name, n.Group.Name} {
		if !util.NilOrEmpty(name) {
			r.form(*name, userName, "owner %q is not a user or group name", "")
		}
	}
}

func (r *rules) hostname(f types.File) {
	if f.Path != "/etc/hostname" || util.NilOrEmpty(f.Contents.Source) {
		return
	}
	if text, ok := plainText(*f.Contents.Source); ok {
		text = strings.TrimSpace(text)
		if !r.values.opaque(text) && !isHostname(text) {
			r.add(f.Path, fmt.Sprintf("%q is not a host name", r.shown(text)), "letters, digits and - in labels of at most 63 characters")
		}
	}
}

// addressKeys are the keys of networkd whose values are addresses: an address
// that was left to fill in leaves the machine without a network.
var addressKeys = map[string]func(string) bool{
	"Address":     func(s string) bool { return isAddress(s) || isPrefix(s) },
	"Gateway":     func(s string) bool { return isAddress(s) || strings.HasPrefix(s, "_") },
	"Destination": func(s string) bool { return isAddress(s) || isPrefix(s) },
}

func isAddress(s string) bool { _, err := netip.ParseAddr(s); return err == nil }
func isPrefix(s string) bool  { _, err := netip.ParsePrefix(s); return err == nil }

// network checks the addresses in a file of networkd.
func (r *rules) network(f types.File) {
	if !strings.HasPrefix(f.Path, "/etc/systemd/network/") || util.NilOrEmpty(f.Contents.Source) {
		return
	}
	text, _ := plainText(*f.Contents.Source)
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		is := addressKeys[strings.TrimSpace(key)]
		if value = strings.TrimSpace(value); is == nil || value == "" || r.values.opaque(value) || is(value) {
			continue
		}
		r.add(f.Path, fmt.Sprintf("%s in %s is not an address", r.shown(strings.TrimSpace(line)), r.shown(f.Path)), "write 10.0.0.10/24, or let role static-net write the file")
	}
}

// resource checks where bytes come from.
func (r *rules) resource(res types.Resource) {
	for _, h := range res.HTTPHeaders {
		r.form(h.Name, headerName, "HTTP header name %q is not one", "letters, digits and - only")
		if h.Value != nil {
			r.form(*h.Value, printable, "HTTP header value %q has control characters", "")
		}
	}
	if util.NilOrEmpty(res.Source) {
		return
	}
	source := *res.Source
	u, err := url.Parse(source)
	if err != nil {
		return // Ignition says so itself
	}
	switch u.Scheme {
	case "data":
		return
	case "https":
	case "http", "tftp":
		if util.NilOrEmpty(res.Verification.Hash) {
			r.add(source, r.shown(u.Redacted())+": "+u.Scheme+" without a hash: whoever sits between decides what the node runs", "use https, or add verification.hash: sha256-...")
		}
	default:
		r.add(source, fmt.Sprintf("source scheme %q is not allowed", r.shown(u.Scheme)), "use https, or http with verification.hash")
	}
	r.credentials(source)
	r.form(source, printable, "source %q has control characters", "")
}

func (r *rules) credentials(address string) {
	if u, err := url.Parse(address); err == nil && u.User != nil {
		r.add(address, r.shown(u.Redacted())+": credentials in a URL end up in logs", "send them in an HTTP header with a value from .secrets")
	}
}

func (r *rules) unit(u types.Unit) {
	r.form(u.Name, unitName, "unit name %q is not one", "a plain name and a systemd suffix: app.service")
	if !util.NilOrEmpty(u.Contents) {
		r.unitText(u.Name, *u.Contents)
	}
	for _, d := range u.Dropins {
		r.form(d.Name, dropinName, "drop-in name %q is not one", "a plain name that ends in .conf")
		if !util.NilOrEmpty(d.Contents) {
			r.unitText(u.Name+"/"+d.Name, *d.Contents)
		}
	}
}

func (r *rules) unitText(name, text string) {
	if why := notUnit(text, r.shown); why != "" {
		r.add(text, fmt.Sprintf("the contents of %s are not a systemd unit: %s", r.shown(name), why), "a unit is [Sections] of Key=value lines")
	}
}

// notUnit says why a text is not a systemd unit, "" if it is.
func notUnit(text string, shown func(string) string) string {
	section, continued := false, false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		was := continued
		continued = strings.HasSuffix(line, `\`)
		switch {
		case was, line == "", strings.HasPrefix(line, "#"), strings.HasPrefix(line, ";"):
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
			section = true
		case !section:
			return "it does not begin with a [Section]"
		case !strings.Contains(line, "="):
			return fmt.Sprintf("the line %q is not Key=value", shown(line))
		}
	}
	if !section {
		return "it has no [Section]"
	}
	return ""
}

func short(s string) string {
	const most = 64
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}

func (r *rules) passwd(p *types.Passwd) {
	for _, g := range p.Groups {
		r.form(g.Name, userName, "group name %q is not one", "lower-case letters, digits, _ and -")
		r.password(g.PasswordHash)
	}
	for _, u := range p.Users {
		r.form(u.Name, userName, "user name %q is not one", "lower-case letters, digits, _ and -")
		r.password(u.PasswordHash)
		r.account(u)
		for _, key := range u.SSHAuthorizedKeys {
			r.sshKey(string(key))
		}
	}
}

func (r *rules) account(u types.PasswdUser) {
	for _, path := range []*string{u.HomeDir, u.Shell} {
		if !util.NilOrEmpty(path) && !strings.HasPrefix(*path, "/") {
			r.add(*path, fmt.Sprintf("%q of user %s is not an absolute path", r.shown(*path), r.shown(u.Name)), "")
		}
	}
	for _, field := range []*string{u.Gecos, u.HomeDir, u.Shell} {
		if !util.NilOrEmpty(field) {
			r.form(*field, passwdField, "%q has a colon or control characters and would break /etc/passwd", "")
		}
	}
	groups := slices.Clone(u.Groups)
	if !util.NilOrEmpty(u.PrimaryGroup) {
		groups = append(groups, types.Group(*u.PrimaryGroup))
	}
	for _, g := range groups {
		r.form(string(g), userName, "group name %q is not one", "lower-case letters, digits, _ and -")
	}
}

// password never quotes the value: what is there may be the password.
func (r *rules) password(hash *string) {
	if !util.NilOrEmpty(hash) && !r.values.opaque(*hash) && !passwordHash.MatchString(*hash) {
		r.add(*hash, "passwordHash is not a crypt(5) hash", "make one with: openssl passwd -6")
	}
}

func (r *rules) sshKey(key string) {
	if r.values.opaque(key) {
		return
	}
	_, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(key))
	if err != nil || len(rest) > 0 || strings.ContainsAny(strings.TrimSpace(key), "\r\n") {
		r.add(key, fmt.Sprintf("%q is not one SSH public key", r.shown(strings.ReplaceAll(key, "\n", " "))), "paste one line of a .pub file")
	}
}
