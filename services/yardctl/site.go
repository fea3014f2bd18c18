package yardctl

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/services/vsphere-executor/discover"
	"yardmaster.dev/services/yardctl/show"
)

const (
	// discoverWait bounds the look at a vCenter; a large one takes a while.
	discoverWait = 3 * time.Minute

	envVSphereUser     = "YARDCTL_VSPHERE_USERNAME"
	envVSpherePassword = "YARDCTL_VSPHERE_PASSWORD" //nolint:gosec // the variable's name
)

func (a *app) siteCommand() *cobra.Command {
	return parent(&cobra.Command{Use: "site", GroupID: groupSpec, Short: "Write the description of a vCenter"}, a.discoverCommand())
}

// discovery is what site discover was asked for.
type discovery struct {
	url          string
	wishes       discover.Wishes
	ranges       []string
	fingerprint  string
	yes          bool
	username     string
	passwordFile string
	to           string
}

func (a *app) discoverCommand() *cobra.Command {
	d := &discovery{}
	cmd := &cobra.Command{
		Use: "discover URL", Short: "Look at a vCenter (or a lone ESXi) and write its Site and Networks",
		Long: `discover asks the server at URL for its certificate and shows its SHA-256
fingerprint. Only when that is accepted, by --fingerprint, by a person, or by
--yes, does it log in, to exactly that server, and read datacenters, clusters,
datastores, folders, portgroups and templates. It changes nothing there, and
speaks to no gateway.

It writes a Site that applies, with the fingerprint pinned, and says in comments
what is there and what is left to decide. Which addresses of a portgroup are
free is nothing that a vCenter knows: a Network is written for each portgroup
that --range gives one to, and stands as a comment for the others, with what
the guests in it say of their subnet.

The login is --username or ` + envVSphereUser + `, and the first line of
--password-file, or ` + envVSpherePassword + `; else both are asked for, the
password without an echo. It is tried once and written nowhere: the Site says
where its executor reads its own.`,
		Example: `  yardctl site discover vcenter.example
  yardctl site discover https://vcenter.example/sdk --name dc1 -o dc1.yaml --username reader@vsphere.local
  yardctl site discover vcenter.example --fingerprint AA:BB:... --password-file pw \
    --range 'dmz=10.0.0.0/24:10.0.0.10-10.0.0.99:10.0.0.1'`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			d.url = args[0]
			ctx, cancel := context.WithTimeout(cmd.Context(), discoverWait)
			defer cancel()
			return a.discover(ctx, d)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&d.wishes.Site, "name", "dc1", "name of the Site")
	flags.StringVar(&d.wishes.Datacenter, "datacenter", "", "the Site's datacenter, if there are several")
	flags.StringArrayVar(&d.ranges, "range", nil, "PORTGROUP=SUBNET:FIRST-LAST[:GATEWAY], what may be given out; may be repeated")
	flags.StringVar(&d.fingerprint, "fingerprint", "", "SHA-256 that the certificate must have")
	flags.BoolVarP(&d.yes, "yes", "y", false, "accept the certificate, whatever it is")
	flags.StringVar(&d.username, "username", "", "user to log in as")
	flags.StringVar(&d.passwordFile, "password-file", "", "file with the password in its first line")
	// Here -o names a file: what is written is YAML and nothing else.
	flags.StringVarP(&d.to, "output", "o", "", "file to write, which must not exist; default standard output")
	return cmd
}

func (a *app) discover(ctx context.Context, d *discovery) error {
	u, err := d.check()
	if err != nil {
		return wrongInput(err)
	}
	server, err := discover.Probe(ctx, u)
	if err != nil {
		return &exit{code: exitUnreachable, err: fmt.Errorf("%s does not answer: %w", u.Host, err)}
	}
	ask := newAsker(a.env)
	if err := a.accept(server, d, ask); err != nil {
		return err
	}
	user, password, err := a.vsphereLogin(d, ask)
	if err != nil {
		return err
	}
	found, err := server.Look(ctx, user, password)
	switch {
	case errors.Is(err, discover.ErrLogin):
		return refused(fmt.Errorf("%w; it was tried once, so that no account is locked: correct it and try again", err))
	case err != nil:
		return fmt.Errorf("look at %s: %w", u.Host, err)
	}
	text, err := server.Document(found, d.wishes)
	if err != nil {
		return wrongInput(err)
	}
	return a.deliver(d, found, text)
}

// check checks what was asked for before anybody is asked.
func (d *discovery) check() (*url.URL, error) {
	u, err := discover.ParseURL(d.url)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", withoutLogin(d.url), err)
	}
	if !fleet.ValidName(d.wishes.Site) {
		return nil, fmt.Errorf("--name %q is no name of a Site; write at most %d of a-z 0-9 -", d.wishes.Site, fleet.MaxNameLength)
	}
	d.wishes.Ranges = map[string]discover.Range{}
	for _, text := range d.ranges {
		portgroup, r, err := discover.ParseRange(text)
		if err != nil {
			return nil, fmt.Errorf("--range: %w", err)
		}
		d.wishes.Ranges[portgroup] = r
	}
	if _, err := os.Lstat(d.to); d.to != "" && err == nil {
		return nil, fmt.Errorf("%s is there already; remove it or name another file", d.to)
	}
	return u, nil
}

// withoutLogin is what may be shown of something that should be a URL.
func withoutLogin(text string) string {
	if i := strings.LastIndex(text, "@"); i >= 0 {
		return "URL ...@" + text[i+1:]
	}
	return text
}

// accept lets the certificate be accepted or not.
func (a *app) accept(s *discover.Server, d *discovery, ask *asker) error {
	c := s.Certificate
	tell := func(format string, args ...any) { _, _ = fmt.Fprintf(a.env.Err, format+"\n", args...) }
	tell("certificate of %s", s.URL.Host)
	tell("  SHA-256  %s", s.Fingerprint)
	tell("  of       %q, issued by %q, until %s", c.Subject.CommonName, c.Issuer.CommonName, c.NotAfter.Format(time.DateOnly))
	if s.Untrusted == nil {
		tell("  trust    signed by a CA that this machine trusts")
	} else {
		tell("  trust    %s", a.palette.Paint(show.Yellow, "no CA of this machine's vouches for it: "+s.Untrusted.Error()))
	}
	switch {
	case d.fingerprint != "" && !s.Is(d.fingerprint):
		return refused(fmt.Errorf("it is not the one of --fingerprint; nothing was sent\nif it was renewed, compare it at the vCenter itself"))
	case d.fingerprint != "" || d.yes:
		return nil
	}
	answer, err := ask.line("is this the fingerprint that the vCenter itself shows? [y/N] ")
	if err != nil {
		return wrongInput(errors.New("nobody answered; nothing was sent\nwrite --fingerprint with the SHA-256 that the vCenter itself shows"))
	}
	if yes := strings.ToLower(answer); yes != "y" && yes != "yes" {
		return &exit{code: exitFailed, err: errors.New("not accepted; nothing was sent")}
	}
	return nil
}

// vsphereLogin finds the user and the password.
func (a *app) vsphereLogin(d *discovery, ask *asker) (user, password string, err error) {
	user = first(d.username, a.env.Getenv(envVSphereUser))
	if user == "" {
		if user, err = ask.line("user: "); err != nil || user == "" {
			return "", "", wrongInput(fmt.Errorf("who logs in? write --username, or set %s", envVSphereUser))
		}
	}
	switch {
	case d.passwordFile != "":
		content, err := os.ReadFile(d.passwordFile)
		if err != nil {
			return "", "", wrongInput(fmt.Errorf("read the password: %w", err))
		}
		password = strings.TrimRight(firstLine(string(content)), "\r")
	default:
		password = a.env.Getenv(envVSpherePassword)
	}
	if password == "" {
		if password, err = ask.hidden("password of " + user + ": "); err != nil || password == "" {
			return "", "", wrongInput(fmt.Errorf("no password; write --password-file, or set %s", envVSpherePassword))
		}
	}
	return user, password, nil
}

// deliver writes the documents and says what comes next.
func (a *app) deliver(d *discovery, found *discover.Inventory, text []byte) error {
	if d.to == "" {
		_, err := a.env.Out.Write(text)
		return err
	}
	f, err := os.OpenFile(d.to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write what was found: %w", err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write what was found: %w", err)
	}
	templates, portgroups := 0, 0
	for i := range found.Datacenters {
		templates += len(found.Datacenters[i].Templates)
		portgroups += len(found.Datacenters[i].Networks)
	}
	_, _ = fmt.Fprintf(a.env.Err, "%s: Site %s, %s, %s, %s of %s\n", d.to, d.wishes.Site,
		show.Count(len(found.Datacenters), "datacenter"), show.Count(templates, "template"),
		show.Count(len(d.wishes.Ranges), "Network"), show.Count(portgroups, "portgroup"))
	_, _ = fmt.Fprintf(a.env.Err, "decide what it asks for, then: yardctl apply -f %s; yardctl doctor %s\n", d.to, d.wishes.Site)
	return nil
}
