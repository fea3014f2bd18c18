package gateway

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// The API wants a token when it has one, health does not, and metrics only
// from elsewhere.
func TestTokens(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("# people\nplatform-ci 0123456789abcdef0123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	y := newYard(t, 1)
	y.planners()
	f := y.gateway(Config{TokenFile: file})
	for name, c := range map[string]struct {
		header map[string]string
		status int
	}{
		"none":   {nil, http.StatusUnauthorized},
		"wrong":  {map[string]string{"Authorization": "Bearer 0123456789abcdef0124"}, http.StatusUnauthorized},
		"basic":  {map[string]string{"Authorization": "Basic 0123456789abcdef0123"}, http.StatusUnauthorized},
		"right":  {map[string]string{"Authorization": "Bearer 0123456789abcdef0123"}, http.StatusOK},
		"casing": {map[string]string{"Authorization": "bearer 0123456789abcdef0123"}, http.StatusOK},
	} {
		if c.header == nil {
			c.header = map[string]string{}
		}
		c.header["Content-Type"] = "application/json"
		r := do(t, http.MethodPost, f.url+"/yardmaster.v1.YardService/ListFleets", "{}", c.header)
		if r.status != c.status {
			t.Errorf("token %s: %d %s; want %d", name, r.status, r.body, c.status)
		}
	}
	if r := get(t, f.url+"/metrics"); r.status != http.StatusOK || !strings.Contains(r.body, "yardmaster_gateway_requests_total") {
		t.Errorf("metrics on loopback = %d; want 200 with our own", r.status)
	}
	if _, err := f.Version(t.Context(), request(&v1.VersionRequest{})); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("Version without a token: %v; want unauthenticated", err)
	}
	// The token's name stands in the audit log.
	req := request(&v1.ApplyRequest{Sources: []*v1.Source{{Filename: "y.yaml", Content: []byte(yardYAML(1))}}})
	req.Header().Set("Authorization", "Bearer 0123456789abcdef0123")
	if _, err := f.Apply(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	events := request(&v1.ListEventsRequest{Fleet: "web"})
	events.Header().Set("Authorization", "Bearer 0123456789abcdef0123")
	resp, err := f.ListEvents(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	if e := resp.Msg.GetEvents(); len(e) == 0 || e[0].GetBy() != "platform-ci" {
		t.Errorf("events = %v; want the first by platform-ci", e)
	}
}
