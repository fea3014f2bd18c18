package discover

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	vfault "github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	probeWait  = 10 * time.Second
	logoutWait = 5 * time.Second
)

// Server is what answers at a URL, before anybody has logged in.
type Server struct {
	URL         *url.URL
	Certificate *x509.Certificate
	// Fingerprint is the certificate's SHA-256: AA:BB:...
	Fingerprint string
	// Untrusted is why this machine's CAs do not trust it, nil if they do.
	Untrusted error
}

// ParseURL reads what people write for a vCenter: a host, or the URL of its
// SDK endpoint.
func ParseURL(text string) (*url.URL, error) {
	u, err := soap.ParseURL(strings.TrimSpace(text))
	switch {
	case err != nil:
		return nil, errors.New("not a URL; write https://vcenter.example/sdk")
	case u == nil || u.Hostname() == "":
		return nil, errors.New("no host in it; write https://vcenter.example/sdk")
	case u.User != nil && strings.Contains(text, "@"):
		return nil, errors.New("it holds credentials; write them nowhere: --username and --password-file, or wait to be asked")
	case u.Scheme != "https":
		return nil, errors.New("the password would travel in clear text; write https://")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("remove what follows ? or #")
	}
	u.User = nil
	return u, nil
}

// Probe looks at the certificate that is shown at a URL.
func Probe(ctx context.Context, u *url.URL) (*Server, error) {
	dialer := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: probeWait},
		Config:    &tls.Config{InsecureSkipVerify: true, ServerName: u.Hostname()}, //nolint:gosec // it is only looked at
	}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443")))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	secured, ok := conn.(*tls.Conn)
	if !ok || len(secured.ConnectionState().PeerCertificates) == 0 {
		return nil, errors.New("it shows no certificate")
	}
	chain := secured.ConnectionState().PeerCertificates
	s := &Server{URL: u, Certificate: chain[0], Fingerprint: soap.ThumbprintSHA256(chain[0])}
	options := x509.VerifyOptions{DNSName: u.Hostname(), Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	_, s.Untrusted = s.Certificate.Verify(options)
	return s, nil
}

// Is reports whether a fingerprint, however it was written, is the server's.
func (s *Server) Is(fingerprint string) bool {
	bare := strings.NewReplacer(":", "", " ", "", "-", "")
	return strings.EqualFold(bare.Replace(fingerprint), bare.Replace(s.Fingerprint))
}

// errChanged means that another server answers than the one that was looked
// at.
var errChanged = errors.New("the certificate is not the one that was accepted; no password was sent")

// ErrLogin means that the login was refused.
var ErrLogin = errors.New("the login is refused")

// login logs in to exactly the server that was accepted. Every connection must
// show its certificate, and nobody is sent elsewhere.
func (s *Server) login(ctx context.Context, user, password string) (*vim25.Client, func(), error) {
	sc := soap.NewClient(s.URL, true)
	sc.UserAgent = "yardctl"
	sc.DefaultTransport().TLSClientConfig.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 || !state.PeerCertificates[0].Equal(s.Certificate) {
			return errChanged
		}
		return nil
	}
	sc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	vim, err := vim25.NewClient(ctx, sc)
	if err != nil {
		return nil, nil, fmt.Errorf("speak to %s: %w", s.URL.Host, err)
	}
	manager := session.NewManager(vim)
	if err := manager.Login(ctx, url.UserPassword(user, password)); err != nil {
		if vfault.Is(err, &types.InvalidLogin{}) {
			return nil, nil, fmt.Errorf("log in to %s as %s: %w", s.URL.Host, user, ErrLogin)
		}
		return nil, nil, fmt.Errorf("log in to %s as %s: %w", s.URL.Host, user, err)
	}
	return vim, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutWait)
		defer cancel()
		_ = manager.Logout(ctx) // it ends by itself too
	}, nil
}
