package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	"yardmaster.dev/pkg/bus"
)

// DefaultListen is where a gateway listens when it is not told.
const DefaultListen = "127.0.0.1:7070"

// Config is the gateway's configuration; its zero value serves a yard on
// this machine, on loopback and without a token.
type Config struct {
	Bus bus.Config `json:"bus,omitzero"`
	// Listen is the address of the API and of the nodes' phone-home.
	Listen string `json:"listen,omitempty"`
	// TokenFile holds the tokens that may use the API: one a line, with a
	// name for the audit log before it. Without it the gateway listens on
	// loopback only.
	TokenFile string `json:"tokenFile,omitempty"`
	TLS       TLS    `json:"tls,omitzero"`
	// Observe serves /healthz, /readyz and /metrics beside the API.
	Observe bool `json:"observe,omitempty"`
}

// TLS is the listener's certificate; without one it speaks plain HTTP.
type TLS struct {
	CertFile string `json:"certFile,omitempty"`
	KeyFile  string `json:"keyFile,omitempty"`
	// ClientCAFile is a PEM bundle: a client certificate that it vouches
	// for is as good as a token.
	ClientCAFile string `json:"clientCaFile,omitempty"`
}

// errExposed is why a gateway does not start.
var errExposed = errors.New("no token and no client certificates: whoever reaches this address could delete every fleet")

// guard refuses to listen where strangers can reach a gateway that asks
// nobody who they are.
func (c Config) guard() error {
	if c.TokenFile != "" || c.TLS.ClientCAFile != "" {
		return nil
	}
	if loopback(c.Listen) {
		return nil
	}
	return fmt.Errorf("listen on %s: %w; set tokenFile or tls.clientCaFile, or listen on %s",
		c.Listen, errExposed, DefaultListen)
}

// door reads who may come in.
func (c Config) door() (door, error) {
	if c.TokenFile == "" {
		return door{open: c.TLS.ClientCAFile == ""}, nil
	}
	ts, err := loadTokens(c.TokenFile)
	return door{tokens: ts}, err
}

// loopback reports whether addr can only be reached from this machine. A
// name other than localhost may resolve to anything, so it counts as open.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// load returns the listener's TLS configuration, nil for plain HTTP.
func (t TLS) load() (*tls.Config, error) {
	if t == (TLS{}) {
		return nil, nil //nolint:nilnil // nil is how net/http spells plain HTTP
	}
	if t.CertFile == "" || t.KeyFile == "" {
		return nil, errors.New("tls: certFile and keyFile go together")
	}
	cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("tls: read the certificate: %w", err)
	}
	out := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{cert},
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if t.ClientCAFile == "" {
		return out, nil
	}
	bundle, err := os.ReadFile(t.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("tls: read the clients' CA: %w", err)
	}
	out.ClientCAs = x509.NewCertPool()
	if !out.ClientCAs.AppendCertsFromPEM(bundle) {
		return nil, fmt.Errorf("tls: %s holds no PEM certificate", t.ClientCAFile)
	}
	// Nodes have no certificate and must be able to phone home.
	out.ClientAuth = tls.VerifyClientCertIfGiven
	return out, nil
}
