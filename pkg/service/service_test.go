package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	h := NewHealth()
	h.Set("bus", nil)
	h.Set("mirror", errors.New("not loaded"))
	get := func() (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
		return w.Code, w.Body.String()
	}
	code, body := get()
	if want := "bus: ok\nmirror: not loaded\n"; code != http.StatusServiceUnavailable || body != want {
		t.Errorf("readyz = %d %q; want 503 %q", code, body, want)
	}
	h.Set("mirror", nil)
	if code, _ := get(); code != http.StatusOK {
		t.Errorf("readyz = %d; want 200", code)
	}
}

func TestPortOwnerNamesTheProcess(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/net/tcp"); err != nil {
		t.Log("no /proc: PortOwner is empty here")
		if got := PortOwner("127.0.0.1:1"); got != "" {
			t.Errorf("PortOwner = %q; want empty", got)
		}
		return
	}
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if got, want := PortOwner(l.Addr().String()), fmt.Sprintf("(pid %d)", os.Getpid()); !strings.Contains(got, want) {
		t.Errorf("PortOwner(%s) = %q; want %q in it", l.Addr(), got, want)
	}
	if _, err := Listen(t.Context(), l.Addr().String()); err == nil || !strings.Contains(err.Error(), "the port is taken by") {
		t.Errorf("Listen on a taken port: %v; want its owner named", err)
	}
}

func TestRunProcessStopsWithItsContext(t *testing.T) {
	t.Parallel()
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	log := slog.New(slog.DiscardHandler)
	err = runProcess(ctx, "test", Process{HealthListen: addr}, log, func(ctx context.Context, env Env) error {
		env.Health.Set("work", nil)
		body := fetch(t, "http://"+addr+"/readyz")
		if body != "work: ok\n" {
			t.Errorf("readyz = %q; want the service's check", body)
		}
		if m := fetch(t, "http://"+addr+"/metrics"); !strings.Contains(m, "yardmaster_build_info") {
			t.Errorf("metrics lack yardmaster_build_info: %q", m)
		}
		cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	if err != nil {
		t.Errorf("runProcess = %v; want a clean stop", err)
	}
}

func TestRunProcessReturnsTheServicesError(t *testing.T) {
	t.Parallel()
	want := errors.New("boom")
	err := runProcess(t.Context(), "test", Process{HealthListen: "off"}, slog.New(slog.DiscardHandler),
		func(context.Context, Env) error { return want })
	if !errors.Is(err, want) {
		t.Errorf("runProcess = %v; want %v", err, want)
	}
}

// fetch waits for the listener, which starts beside the service.
func fetch(t *testing.T, url string) string {
	t.Helper()
	for {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
}
