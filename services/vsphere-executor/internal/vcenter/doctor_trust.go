package vcenter

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/vmware/govmomi/vim25/soap"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

const (
	// certificateWarn is how long before its end a certificate is worth a word.
	certificateWarn = 30 * 24 * time.Hour
	// probeWait bounds the connection that only looks at the certificate.
	probeWait = 5 * time.Second
)

// credentials looks whether the login can be read where the Site says; what
// it is stays where it is.
func (e *examination) credentials(b *Backend, site *fleet.SiteVSphere) (readable bool) {
	readable = true
	for _, part := range []struct {
		what string
		from fleet.Secret
	}{{"username", site.Username}, {"password", site.Password}} {
		where := "variable " + part.from.Env
		if part.from.File != "" {
			where = "file " + part.from.File
		}
		value, err := b.options.Secret(part.from)
		switch {
		case err != nil:
			readable = false
			e.wrong("credentials", "put it where the Site says, at the executor, or correct spec.vsphere."+part.what+" of the Site",
				"the %s cannot be read: %v", part.what, err)
		case value == "":
			readable = false
			e.wrong("credentials", "write the "+part.what+" there, at the executor", "the %s in %s is empty", part.what, where)
		default:
			e.ok("credentials", "the %s is read from %s", part.what, where)
		}
	}
	return readable
}

// certificate looks at the certificate that vCenter shows, with none of our
// secrets at hand, and judges it as the login will. It reports whether a
// login makes sense.
func (e *examination) certificate(ctx context.Context, site *fleet.SiteVSphere) bool {
	u, err := soap.ParseURL(site.URL)
	if err != nil {
		e.wrong("connection", "correct spec.vsphere.url of the Site", "%q: %v", site.URL, err)
		return false
	}
	host := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), map[string]string{"https": "443", "http": "80"}[u.Scheme]))
	if u.Scheme != "https" {
		return e.clear(ctx, u, host)
	}
	dialer := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: probeWait},
		Config:    &tls.Config{InsecureSkipVerify: true, ServerName: u.Hostname()}, //nolint:gosec // it is only looked at, and judged below
	}
	conn, err := dialer.DialContext(ctx, "tcp", host)
	if err != nil {
		e.unreachable(host, err)
		return false
	}
	defer func() { _ = conn.Close() }()
	secured, ok := conn.(*tls.Conn)
	if !ok || len(secured.ConnectionState().PeerCertificates) == 0 {
		e.unreachable(host, errors.New("it shows no certificate"))
		return false
	}
	e.ok("connection", "%s answers", host)
	return e.judge(site, u.Hostname(), secured.ConnectionState().PeerCertificates)
}

func (e *examination) unreachable(host string, err error) {
	e.fail("connection", fault.WithHint(fault.Newf(fault.Busy, fault.BackendDown, "%s cannot be reached from the executor: %w", host, err),
		"is vCenter up? correct spec.vsphere.url of the Site, or let the network through; goes on by itself once it answers"))
}

// clear is certificate for a vCenter that is spoken to without TLS.
func (e *examination) clear(ctx context.Context, u *url.URL, host string) bool {
	conn, err := (&net.Dialer{Timeout: probeWait}).DialContext(ctx, "tcp", host)
	if err != nil {
		e.unreachable(host, err)
		return false
	}
	_ = conn.Close()
	e.warn("connection", "use https, and pin the certificate with spec.vsphere.thumbprint", "%s is not TLS: the password travels in clear text", u)
	return true
}

// judge says whether the certificate is trusted, and why.
func (e *examination) judge(site *fleet.SiteVSphere, name string, chain []*x509.Certificate) bool {
	leaf, options := chain[0], x509.VerifyOptions{DNSName: name, Intermediates: x509.NewCertPool()}
	fingerprint := soap.ThumbprintSHA256(leaf)
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	if site.CAFile != "" {
		pem, err := os.ReadFile(site.CAFile)
		options.Roots = x509.NewCertPool()
		if err != nil || !options.Roots.AppendCertsFromPEM(pem) {
			e.wrong("certificate", "put PEM certificates there, at the executor", "the Site's caFile %s cannot be used%s", site.CAFile, because(err))
			return false
		}
	}
	_, err := leaf.Verify(options)
	pin := colons(site.Thumbprint)
	switch {
	case err == nil:
		e.lasts(leaf, "signed by a trusted CA")
	case time.Now().After(leaf.NotAfter):
		e.wrong("certificate", "renew it in vCenter; who pins it corrects the Site's thumbprint then", "it ended on %s, by the executor's clock", leaf.NotAfter.Format(time.DateOnly))
		return false
	case pin != "" && soap.IsCertificateUntrusted(err) && (pin == fingerprint || pin == soap.ThumbprintSHA1(leaf)):
		e.lasts(leaf, "pinned by the Site's thumbprint")
	case site.Thumbprint != "":
		e.wrong("certificate",
			"if vCenter's certificate was renewed, and only then, set spec.vsphere.thumbprint of the Site to what it shows",
			"it is not the one that is pinned: it shows SHA-256 %s", fingerprint)
		return false
	default:
		e.wrong("certificate",
			"compare the fingerprint at vCenter itself and set it as spec.vsphere.thumbprint of the Site, or set caFile",
			"%v; it shows SHA-256 %s", err, fingerprint)
		return false
	}
	return true
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// lasts says until when a trusted certificate is good.
func (e *examination) lasts(c *x509.Certificate, why string) {
	end := c.NotAfter.Format(time.DateOnly)
	if time.Until(c.NotAfter) < certificateWarn {
		e.warn("certificate", "renew it in vCenter and correct the Site's thumbprint, if it has one", "%s; it ends on %s", why, end)
		return
	}
	e.ok("certificate", "%s, until %s", why, end)
}
