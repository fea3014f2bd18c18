package gateway

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"yardmaster.dev/pkg/service"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The whole surface of the listener, as a stranger without a token meets it.
func TestRoutes(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m := newMetrics(registry)
	g := &Gateway{hub: newHub(m), metrics: m, reports: make(chan struct{}, 1), log: quiet()}
	handler := g.routes(door{tokens: func(context.Context) tokens { return tokens{{name: "a"}} }}, service.ObserveHandler(service.NewHealth(), registry))

	paths := []string{"/", "/healthz", "/readyz", "/metrics", "/v1/nodes/web-edge-0/phone-home", "/v1/nodes/web-edge-0/report", "/v1/nodes/a/b/phone-home", "/yardmaster.v1.YardService/Nope"}
	methods := v1.File_yardmaster_v1_api_proto.Services().ByName("YardService").Methods()
	for i := range methods.Len() {
		paths = append(paths, fmt.Sprintf("/yardmaster.v1.YardService/%s", methods.Get(i).Name()))
	}
	var b strings.Builder
	for _, path := range paths {
		fmt.Fprintf(&b, "%-45s", path)
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("{}"))
			r.RemoteAddr = "192.0.2.1:1234"
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			fmt.Fprintf(&b, "  %s %d", method, w.Code)
		}
		b.WriteByte('\n')
	}
	golden(t, "testdata/routes.txt", b.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), rewritten with -update:\n%s", file, diff)
	}
}

// A stranger's crowd is put off before anything is looked up.
func TestPhoneHomeCrowd(t *testing.T) {
	t.Parallel()
	m := newMetrics(prometheus.NewRegistry())
	g := &Gateway{metrics: m, reports: make(chan struct{}), log: quiet()} // no room at all
	w := httptest.NewRecorder()
	g.phoneHome(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/nodes/a/phone-home", http.NoBody))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("phone-home in a crowd = %d, Retry-After %q; want 503 with it", w.Code, w.Header().Get("Retry-After"))
	}
}
