package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/reread"
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

// door reads who may come in, and again when the file of tokens changes.
func (c Config) door(log *slog.Logger) (door, error) {
	if c.TokenFile == "" {
		return door{open: c.TLS.ClientCAFile == ""}, nil
	}
	ts, err := reread.Of(log, func(contents [][]byte) (tokens, error) { return tokensOf(c.TokenFile, contents[0]) }, c.TokenFile)
	if err != nil {
		return door{}, fmt.Errorf("read the tokens: %w", err)
	}
	return door{tokens: ts.Get}, nil
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

// load returns the listener's TLS configuration, nil for plain HTTP. Each
// connection gets the certificate and the clients' CA of the present.
func (t TLS) load(log *slog.Logger) (*tls.Config, error) {
	if t == (TLS{}) {
		return nil, nil //nolint:nilnil // nil is how net/http spells plain HTTP
	}
	if t.CertFile == "" || t.KeyFile == "" {
		return nil, errors.New("tls: certFile and keyFile go together")
	}
	files := []string{t.CertFile, t.KeyFile}
	if t.ClientCAFile != "" {
		files = append(files, t.ClientCAFile)
	}
	present, err := reread.Of(log, t.config, files...)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			return present.Get(hello.Context()), nil
		},
	}, nil
}

// config understands the files' contents.
func (t TLS) config(contents [][]byte) (*tls.Config, error) {
	cert, err := tls.X509KeyPair(contents[0], contents[1])
	if err != nil {
		return nil, fmt.Errorf("read the certificate of %s and %s: %w", t.CertFile, t.KeyFile, err)
	}
	out := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{cert},
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if t.ClientCAFile == "" {
		return out, nil
	}
	out.ClientCAs = x509.NewCertPool()
	if !out.ClientCAs.AppendCertsFromPEM(contents[2]) {
		return nil, fmt.Errorf("%s holds no PEM certificate", t.ClientCAFile)
	}
	// Nodes have no certificate and must be able to phone home.
	out.ClientAuth = tls.VerifyClientCertIfGiven
	return out, nil
}
