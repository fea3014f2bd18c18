package yardmaster

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
)

// The yard starts its own program as the simulated world; here that is the
// test's program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "simulate" {
		os.Exit(Simulate(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// screenshot is what a person saw so far; it wakes whoever waits for a text.
type screenshot struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{}
}

func (s *screenshot) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.more)
	s.more = make(chan struct{})
	return s.buf.Write(p)
}

func (s *screenshot) text() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String(), s.more
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// session runs a yard until the screen shows want, calls look and stops it.
func session(t *testing.T, o Options, want string, look func()) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	shot := &screenshot{more: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- Up(ctx, o, shot) }()
	for {
		text, more := shot.text()
		if strings.Contains(text, want) {
			break
		}
		select {
		case <-more:
		case err := <-done:
			t.Fatalf("Up ended before %q was on the screen: %v\n%s", want, err, text)
		}
	}
	look()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Up = %v; want a clean stop", err)
	}
	text, _ := shot.text()
	return text
}

func TestUpBringsTheFirstFleetAndFindsItAgain(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	o.Dir = t.TempDir()
	o.Example = "../../examples/first.yaml"
	o.Gateway, o.NATS, o.VCenter, o.Control = freeAddr(t), freeAddr(t), freeAddr(t), freeAddr(t)

	first := session(t, o, "stop   Ctrl-C", func() {
		metrics := get(t, "http://"+o.Gateway+"/metrics")
		if !strings.Contains(metrics, `yardmaster_pool_nodes{fleet="web",pool="edge",state="ready"} 3`) || strings.Contains(metrics, "yardmaster_fleet_paused") {
			t.Errorf("/metrics does not count 3 ready nodes, or one that goes on as paused:\n%s", metrics)
		}
		documented(t, metrics)
		if ready := get(t, "http://"+o.Gateway+"/readyz"); strings.Contains(ready, "not ") {
			t.Errorf("/readyz = %q; want every check to be fine", ready)
		}
		edit(t, o, "clones: 3")
		pause(t, o, true)
		if held := get(t, "http://"+o.Gateway+"/metrics"); !strings.Contains(held, `yardmaster_fleet_paused_timestamp_seconds{fleet="web"} 1.`) ||
			strings.Contains(held, `fleet="_`) {
			t.Errorf("/metrics does not say that just the fleet is paused:\n%s", held)
		}
		pause(t, o, false)
	})
	for _, want := range []string{"applying", "web-edge-0", "web-edge-2", "first node ready after", "stopped; everything is kept"} {
		if !strings.Contains(first, want) {
			t.Errorf("the first screen lacks %q:\n%s", want, first)
		}
	}

	var before string
	again := session(t, o, "stop   Ctrl-C", func() {
		before = get(t, "http://"+o.Control+"/machines")
		if doc := siteOf(t, o); !strings.Contains(doc, "clones: 3") {
			t.Errorf("the restart undid what its owner changed on the Site:\n%s", doc)
		}
	})
	if strings.Contains(again, "applying") {
		t.Errorf("the second start applied the example again:\n%s", again)
	}
	if n := strings.Count(before, `"poweredOn"`); n != 3 {
		t.Errorf("after the restart %d machines are on; want 3: %s", n, before)
	}
}

// edit gives the simulated site a limit, as its owner may.
func edit(t *testing.T, o Options, limit string) {
	t.Helper()
	doc := strings.Replace(siteOf(t, o), "  vsphere:\n", "  vsphere:\n    limits: {"+limit+"}\n", 1)
	if err := apply(t.Context(), owner(t, o), "site.yaml", []byte(doc)); err != nil {
		t.Errorf("apply the owner's site: %v\n%s", err, doc)
	}
}

// pause holds the whole yard, or lets it go on.
func pause(t *testing.T, o Options, held bool) {
	t.Helper()
	if _, err := owner(t, o).Pause(t.Context(), connect.NewRequest(&yardmasterv1.PauseRequest{Paused: held})); err != nil {
		t.Errorf("pause: %v", err)
	}
}

func siteOf(t *testing.T, o Options) string {
	t.Helper()
	answer, err := owner(t, o).GetDocument(t.Context(), connect.NewRequest(&yardmasterv1.GetDocumentRequest{Kind: "Site", Name: site}))
	if err != nil {
		t.Error(err)
		return ""
	}
	return answer.Msg.GetYaml()
}

func owner(t *testing.T, o Options) yardmasterv1connect.YardServiceClient {
	t.Helper()
	token, err := o.files().ownToken()
	if err != nil {
		t.Error(err)
	}
	return yardmasterv1connect.NewYardServiceClient(&http.Client{Transport: bearer(token)}, "http://"+o.Gateway)
}

// documented reports metrics that docs/metrics.md does not name.
func documented(t *testing.T, metrics string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (yardmaster_\S+)`).FindAllStringSubmatch(metrics, -1) {
		if !strings.Contains(string(page), "`"+m[1]+"`") {
			t.Errorf("docs/metrics.md does not name %s", m[1])
		}
	}
}

func TestUpNamesTheOwnerOfATakenPort(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	o := DefaultOptions()
	o.Dir = t.TempDir() + "/yard"
	o.Gateway, o.NATS, o.VCenter, o.Control = l.Addr().String(), freeAddr(t), freeAddr(t), freeAddr(t)
	err = Up(t.Context(), o, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "gateway: listen on "+l.Addr().String()) || !strings.Contains(err.Error(), "--gateway") {
		t.Errorf("Up = %v; want the taken address and the flag to change it", err)
	}
	if _, err := os.Stat(o.Dir); err == nil {
		t.Errorf("Up made %s although it could not start", o.Dir)
	}
}

func TestResetRefusesAForeignFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/precious", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Reset(dir); err == nil {
		t.Errorf("Reset(%s) = nil; want a refusal", dir)
	}
	if _, err := os.Stat(dir + "/precious"); err != nil {
		t.Errorf("Reset removed what is not a yard: %v", err)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
