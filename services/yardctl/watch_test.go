package yardctl_test

import (
	"bytes"
	"context"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
	"yardmaster.dev/services/yardctl"
)

// until is a screen that calls stop once it shows a text.
type until struct {
	text string
	stop func()
	mu   sync.Mutex
	all  bytes.Buffer
}

// Write takes in what is printed.
func (u *until) Write(b []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all.Write(b)
	if strings.Contains(u.all.String(), u.text) {
		u.stop()
	}
	return len(b), nil
}

// TestWatch holds that a watch shows the present nodes, then each event, that
// a followed log shows each line once, and that Ctrl-C is how both end well.
func TestWatch(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"lines":        {[]string{"watch", "web"}, []string{"web-edge-0  ● ready", "web-edge-1  ◔ provisioning", "web-edge-2           rendered         rendering -> provisioning"}},
		"logs":         {[]string{"logs", "web-edge-0", "-f"}, []string{"stage   ignition", "unit    web.service", "units have failed"}},
		"logs as json": {[]string{"logs", "web-edge-0", "-f", "-o", "json"}, []string{`"name":"web.service"`, `"name":"degraded"`}},
		"json":         {[]string{"watch", "-o", "json"}, []string{`{"fleet":{"name":"web"`, `{"synced":true}`, `{"event":{"fleet":"web","node":"web-edge-2"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(mux(yardmasterv1connect.NewYardServiceHandler(&gateway{})))
			t.Cleanup(server.Close)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out, errs := &until{text: c.want[len(c.want)-1], stop: cancel}, &bytes.Buffer{}
			env := map[string]string{"YARDCTL_SERVER": server.URL, "YARDCTL_TOKEN": goodToken, "HOME": t.TempDir()}
			code := yardctl.Run(ctx, yardctl.Env{
				Args: c.args, In: strings.NewReader(""), Out: out, Err: errs,
				Getenv: func(name string) string { return env[name] }, Now: func() time.Time { return now },
			})
			if code != 0 {
				t.Errorf("Run(%q) = %d; want 0; stderr: %s", c.args, code, errs)
			}
			for _, want := range c.want {
				if strings.Count(out.all.String(), want) != 1 {
					t.Errorf("Run(%q) printed\n%s\nwhich has not once %q", c.args, out.all.String(), want)
				}
			}
		})
	}
}
