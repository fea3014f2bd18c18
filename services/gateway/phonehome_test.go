package gateway

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/proto/subject"
)

// Phone-home tells a node the truth, whatever it is.
func TestPhoneHomePaths(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	f := y.gateway(Config{})
	f.apply(t, "", yardYAML(1))
	f.inState(t, 1, plan.Rendering)
	if r := f.report(t, "web-edge-0", "early", "{}"); r.status != http.StatusServiceUnavailable {
		t.Errorf("before the config is rendered: %d %s; want 503", r.status, r.body)
	}
	y.workers()
	f.inState(t, 1, plan.Booting)
	right := tokenOf("web", "edge-0")
	for name, c := range map[string]struct {
		node, token, body string
		status            int
	}{
		"unknown node": {"web-edge-1", right, "{}", http.StatusNotFound},
		"hostile name": {"..%2f..", right, "{}", http.StatusNotFound},
		"wrong token":  {"web-edge-0", "x" + right, "{}", http.StatusUnauthorized},
		"no token":     {"web-edge-0", "", "{}", http.StatusUnauthorized},
		"no JSON":      {"web-edge-0", right, "machine_id=1", http.StatusBadRequest},
		"two objects":  {"web-edge-0", right, "{}{}", http.StatusBadRequest},
		"a list":       {"web-edge-0", right, "[]", http.StatusBadRequest},
		"too large":    {"web-edge-0", right, `{"boot_id":"` + strings.Repeat("x", maxReport) + `"}`, http.StatusBadRequest},
	} {
		if r := f.report(t, c.node, c.token, c.body); r.status != c.status {
			t.Errorf("%s: %d %s; want %d", name, r.status, r.body, c.status)
		}
	}
	for range 2 { // curl may repeat it
		r := f.report(t, "web-edge-0", right, `{"machine_id":"m\u001b[31m","address":"not one","extra":1}`)
		if r.status != http.StatusOK {
			t.Errorf("right token: %d %s; want 200", r.status, r.body)
		}
	}
	f.inState(t, 1, plan.Ready)
	conn := y.connect(subject.UserWatcher)
	defer conn.Close()
	m, err := conn.Last(t.Context(), subject.ShardStream(0), subject.Command(0, "web", "ph-"+hashOf(right)[:32]))
	if err != nil {
		t.Fatal(err)
	}
	checkReport(t, m, right)
}

func checkReport(t *testing.T, m *bus.Message, token string) {
	t.Helper()
	if strings.Contains(string(m.Data), token) {
		t.Error("the stored command holds the node's token")
	}
	if strings.ContainsRune(string(m.Data), '\x1b') {
		t.Error("the stored command holds a terminal's control character")
	}
}

// Whatever a guest sends is bounded and harmless to show, or refused.
func FuzzPhoneHome(f *testing.F) {
	for _, seed := range []string{
		`{"machine_id":"7d","boot_id":"b","hostname":"web-edge-0","os_version":"4593.2.5"}`,
		`{"address":"10.0.0.10"}`, `{"address":"10.0.0.10; rm -rf /"}`, `{}`, `{}{}`, `[]`, `null`, `"x"`, ``,
		`{"machine_id":"\u001b[2J\u0000\ud800"}`, `{"machine_id":1}`, `{"MACHINE_ID":"x","machine_id":"y"}`,
		`{"hostname":"` + strings.Repeat("é", 300) + `"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := readReport(bytes.NewReader(body))
		if err != nil {
			if !errors.Is(err, errReport) || got != (report{}) {
				t.Errorf("readReport(%q) = %v, %v; want nothing and errReport", body, got, err)
			}
			return
		}
		for _, field := range []string{got.MachineID, got.BootID, got.Hostname, got.OSVersion, got.Address} {
			if len(field) > maxClaim || !utf8.ValidString(field) || strings.ContainsFunc(field, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("readReport(%q) lets %q through", body, field)
			}
		}
		if got.Address != "" && net.ParseIP(got.Address) == nil {
			t.Errorf("readReport(%q): address %q is none", body, got.Address)
		}
	})
}
