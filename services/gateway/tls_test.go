package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// authority signs the certificates of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.make(t, "ca", &x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// make writes a certificate and its key to name.crt and name.key.
func (a *authority) make(t *testing.T, name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(int64(len(name))), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		a.file(name + ".crt"): {Type: "CERTIFICATE", Bytes: der},
		a.file(name + ".key"): {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// A client certificate is as good as a token; a node has neither and may
// still report.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.make(t, "gateway", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	a.make(t, "ann", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	cfg := Config{Listen: "127.0.0.1:0", TLS: TLS{
		CertFile: a.file("gateway.crt"), KeyFile: a.file("gateway.key"), ClientCAFile: a.file("ca.crt"),
	}}
	entrance, err := cfg.door(quiet())
	if err != nil {
		t.Fatal(err)
	}
	l, err := listen(t.Context(), cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	names := make(chan string, 1)
	h := entrance.admit(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		names <- caller(r.Context()) + " " + r.Proto
	}), refuser(newMetrics(prometheus.NewRegistry())))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, newServer(h, quiet()), func() {}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})

	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	ann, err := tls.LoadX509KeyPair(a.file("ann.crt"), a.file("ann.key"))
	if err != nil {
		t.Fatal(err)
	}
	if got := status(t, l.Addr().String(), &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{ann}}); got != http.StatusOK {
		t.Errorf("with a certificate: %d; want 200", got)
	}
	if got := <-names; !strings.HasPrefix(got, "cert:ann HTTP/2") {
		t.Errorf("caller = %q; want cert:ann by HTTP/2", got)
	}
	if got := status(t, l.Addr().String(), &tls.Config{RootCAs: pool}); got != http.StatusUnauthorized {
		t.Errorf("without a certificate: %d; want 401", got)
	}
}

func status(t *testing.T, addr string, secured *tls.Config) int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: secured, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestTLSMistakes(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	for name, c := range map[string]TLS{
		"key alone":    {KeyFile: a.file("ca.key")},
		"CA alone":     {ClientCAFile: a.file("ca.crt")},
		"no such file": {CertFile: a.file("none"), KeyFile: a.file("none")},
		"a key for CA": {CertFile: a.file("ca.crt"), KeyFile: a.file("ca.key"), ClientCAFile: a.file("ca.key")},
	} {
		if _, err := c.load(quiet()); err == nil || !strings.HasPrefix(err.Error(), "tls: ") {
			t.Errorf("%s: load() = %v; want an error about tls", name, err)
		}
	}
}

// Tokens, the certificate and the clients' CA count by what is in their
// files, and a file that makes no sense changes nothing.
func TestSecretsAreReadAgain(t *testing.T) {
	t.Parallel()
	a, b := newAuthority(t), newAuthority(t)
	server := &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	for _, ca := range []*authority{a, b} {
		ca.make(t, "gateway", server)
		ca.make(t, "ann", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	}
	cfg := Config{Listen: "127.0.0.1:0", TokenFile: a.file("tokens"), TLS: TLS{
		CertFile: a.file("gateway.crt"), KeyFile: a.file("gateway.key"), ClientCAFile: a.file("ca.crt"),
	}}
	write(t, cfg.TokenFile, "ci old-token-0123456789")
	entrance, err := cfg.door(quiet())
	if err != nil {
		t.Fatal(err)
	}
	l, err := listen(t.Context(), cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	h := entrance.admit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), refuser(newMetrics(prometheus.NewRegistry())))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, newServer(h, quiet()), func() {}) }()
	t.Cleanup(func() { cancel(); <-done })

	answers := func(ca *authority, token string, cert bool) int {
		secured := &tls.Config{RootCAs: x509.NewCertPool()}
		secured.RootCAs.AddCert(ca.cert)
		if cert {
			pair, err := tls.LoadX509KeyPair(ca.file("ann.crt"), ca.file("ann.key"))
			if err != nil {
				t.Fatal(err)
			}
			secured.Certificates = []tls.Certificate{pair}
		}
		return ask(t, l.Addr().String(), secured, token)
	}
	expect := func(what string, ca *authority, token string, cert bool, want int) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for answers(ca, token, cert) != want {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d; want %d", what, answers(ca, token, cert), want)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	expect("first token", a, "old-token-0123456789", false, http.StatusOK)
	write(t, cfg.TokenFile, "ci new-token-0123456789\nci old-token-0123456789")
	expect("another token beside it", a, "new-token-0123456789", false, http.StatusOK)
	expect("old token beside another", a, "old-token-0123456789", false, http.StatusOK)
	write(t, cfg.TokenFile, "ci new-token-0123456789")
	expect("dropped token", a, "old-token-0123456789", false, http.StatusUnauthorized)
	write(t, cfg.TokenFile, "# half written")
	expect("token of the last good file", a, "new-token-0123456789", false, http.StatusOK)

	for _, name := range []string{"gateway.crt", "gateway.key", "ca.crt"} {
		content, err := os.ReadFile(b.file(name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, a.file(name), string(content))
	}
	expect("client of the other CA", b, "", true, http.StatusOK)
	if got := answers(a, "new-token-0123456789", false); got != 0 {
		t.Errorf("a client that trusts the old certificate only: %d; want no connection", got)
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ask returns the status of a request, 0 if there is no connection.
func ask(t *testing.T, addr string, secured *tls.Config, token string) int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: secured, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
