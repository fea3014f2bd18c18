package vcenter

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/soap"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

func TestTrust(t *testing.T) {
	t.Parallel()
	making.Lock()
	model := simulator.VPX()
	if err := model.Create(); err != nil {
		t.Fatal(err)
	}
	model.Service.TLS = new(tls.Config)
	server := model.Service.NewServer()
	making.Unlock()
	t.Cleanup(func() { server.Close(); model.Remove() })
	cert := server.Certificate()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	fingerprint := soap.ThumbprintSHA256(cert)
	for name, c := range map[string]struct {
		thumbprint, caFile string
		trusted            bool
	}{
		"nothing":                    {"", "", false},
		"ca file":                    {"", ca, true},
		"fingerprint":                {fingerprint, "", true},
		"fingerprint without colons": {strings.ToLower(strings.ReplaceAll(fingerprint, ":", "")), "", true},
		"another's fingerprint":      {strings.Repeat("AB:", 31) + "AB", "", false},
		"no such ca file":            {"", ca + ".none", false},
	} {
		b := (&world{}).backend(t)
		b.Use(t.Context(), &fleet.SiteVSphere{
			URL: "https://" + server.URL.Host, Username: fleet.Secret{Env: "user"}, Password: fleet.Secret{Env: "pass"},
			Thumbprint: c.thumbprint, CAFile: c.caFile,
		})
		err := b.with(t.Context(), func(*connection) error { return nil })
		if (err == nil) != c.trusted {
			t.Errorf("%s: %v; want trusted %v", name, err, c.trusted)
		}
		if err != nil {
			wantFault(t, err, fault.Busy, fault.BackendDown)
		}
		if err != nil && fault.Of(err).Hint == "" {
			t.Errorf("%s: no hint says what to do", name)
		}
	}
}

// Whoever answers at the Site's address cannot send the login elsewhere.
func TestLoginsAreNotRedirected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var followed atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	t.Cleanup(elsewhere.Close)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if bytes.Contains(body, []byte("<Login ")) {
			http.Redirect(rw, r, elsewhere.URL, http.StatusFound)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		w.model.Service.ServeMux.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	b := w.backend(t)
	site := w.site()
	site.URL = server.URL + "/sdk"
	b.Use(t.Context(), site)
	if err := b.with(t.Context(), func(*connection) error { return nil }); err == nil {
		t.Error("a redirected login succeeded")
	}
	if n := followed.Load(); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

func TestSweepsAreSeldom(t *testing.T) {
	t.Parallel()
	if b := New(Options{Metrics: NewMetrics(prometheus.NewRegistry())}); b.sweepEvery != sweepLeast {
		t.Errorf("a new backend sweeps every %v; want %v", b.sweepEvery, sweepLeast)
	}
}
