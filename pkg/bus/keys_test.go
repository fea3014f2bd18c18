package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

func seed(tb testing.TB, create func() (nkeys.KeyPair, error)) string {
	tb.Helper()
	key, err := create()
	if err != nil {
		tb.Fatal(err)
	}
	s, err := key.Seed()
	if err != nil {
		tb.Fatal(err)
	}
	return string(s)
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	one, two, three := seed(t, nkeys.CreateUser), seed(t, nkeys.CreateUser), seed(t, nkeys.CreateUser)
	curve := seed(t, nkeys.CreateCurveKeys)
	for name, c := range map[string]struct {
		content string
		want    int
	}{
		"one":              {one, 1},
		"one, line end":    {one + "\r\n", 1},
		"two":              {one + "\n" + two + "\n", 2},
		"comments":         {"# of spring\n\n  " + one + "\n", 1},
		"a curve key":      {curve, 1},
		"three":            {one + "\n" + two + "\n" + three, 0},
		"of two kinds":     {one + "\n" + curve, 0},
		"nothing":          {"", 0},
		"only a comment":   {"# soon\n", 0},
		"half a seed":      {one[:20], 0},
		"one and a half":   {one + "\n" + two[:30], 0},
		"a public key":     {"UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4", 0},
		"a very long line": {strings.Repeat("S", 1<<16), 0},
	} {
		keys, err := bus.ParseKeys([]byte(c.content))
		if len(keys) != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%s: %d keys, %v; want %d", name, len(keys), err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), one[:20]) {
			t.Errorf("%s: the error tells the seed: %v", name, err)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(seed(f, nkeys.CreateUser) + "\n" + seed(f, nkeys.CreateUser)))
	f.Add([]byte(seed(f, nkeys.CreateCurveKeys)))
	f.Add([]byte("SX\nSU\n#\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		keys, err := bus.ParseKeys(content)
		if (err == nil) != (len(keys) > 0) || len(keys) > 2 {
			t.Errorf("%d keys, %v", len(keys), err)
		}
	})
}

// rotated takes a file through a rotation.
func rotated(t *testing.T, file string) {
	t.Helper()
	before := content(t, file)
	if err := bus.Rotate(file); err != nil {
		t.Fatal(err)
	}
	during := content(t, file)
	if strings.HasPrefix(during, before) || !strings.HasSuffix(during, before) || strings.Count(during, "\n") != 2 {
		t.Errorf("%s does not hold another key before the old one", file)
	}
	if err := bus.Rotate(file); err == nil {
		t.Errorf("%s was rotated twice", file)
	}
	if err := bus.Finish(file); err != nil {
		t.Fatal(err)
	}
	if after := content(t, file); !strings.HasPrefix(during, after) || len(after) != len(before) {
		t.Errorf("%s does not hold the other key alone", file)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v; want it for its owner only", file, info.Mode(), err)
	}
}

func content(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRotateAndFinish(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	users, err := bus.MakeUsers(dir, topology)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{bus.SeedFile(dir, subject.UserPlanner), bus.SealFile(dir, "a")} {
		rotated(t, file)
	}
	again, err := bus.MakeUsers(dir, topology)
	if err != nil || len(again) != len(users) {
		t.Errorf("%d users after the rotation, %v; want %d", len(again), err, len(users))
	}
}

// reload has the server know the keys that lie in the folder, as a reload of
// its configuration does.
func (w *world) reload() {
	w.t.Helper()
	users, err := bus.MakeUsers(w.dir, topology)
	if err == nil {
		err = w.server.Reload(users)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// dial connects a planner through a socket: the pipe of the embedded server hangs when
// a key is refused.
func (w *world) dial(log slog.Handler) (*bus.Conn, error) {
	const user = subject.UserPlanner
	cfg := w.server.Config(w.dir, user)
	cfg.InProcess = nil
	c, err := bus.Connect(w.t.Context(), cfg, user, slog.New(log))
	if err == nil {
		w.t.Cleanup(c.Close)
	}
	return c, err
}

// generation waits until the connection was made anew that often.
func generation(t *testing.T, c *bus.Conn, want uint64) {
	t.Helper()
	deadline := time.After(patience)
	for {
		got, changed := c.Generation()
		if got >= want {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%s was not connected anew", c.User())
		}
	}
}

// TestKeyIsRotated takes the steps of docs/operate.md, the services' files
// first, while a planner writes.
func TestKeyIsRotated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := bus.SeedFile(w.dir, subject.UserPlanner)
	var refused atomic.Int64
	c, err := w.dial(&counter{n: &refused, least: slog.LevelWarn})
	if err == nil {
		err = bus.Rotate(file)
	}
	if err != nil {
		t.Fatal(err)
	}
	// The server does not know the key yet: it is tried, and the connection stands.
	deadline := time.Now().Add(patience)
	for refused.Load() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the key was not tried")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n, _ := c.Generation(); n != 0 || !c.NATS().IsConnected() {
		t.Error("the connection was given up for a key that the server does not know")
	}
	w.reload()
	generation(t, c, 1)
	write := func(when string) {
		t.Helper()
		if _, err := c.Publish(t.Context(), bus.NewMsg(subject.Step(0, "web"), wire.Message{Type: "step", Body: []byte("x")})); err != nil {
			t.Errorf("publish %s: %v", when, err)
		}
	}
	write("with the key taken up")
	if err := bus.Finish(file); err != nil {
		t.Fatal(err)
	}
	w.reload()
	write("without the old key")
	if n, _ := c.Generation(); n != 1 {
		t.Errorf("connected anew %d times; want once", n)
	}
	select {
	case err := <-c.Failed():
		t.Errorf("the connection failed: %v", err)
	default:
	}
}

// TestKeyIsDroppedTooEarly has the server forget a key that is in use: the
// service goes on as soon as its file holds the other one.
func TestKeyIsDroppedTooEarly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := bus.SeedFile(w.dir, subject.UserPlanner)
	old, _ := os.ReadFile(file)
	var refused atomic.Int64
	c, err := w.dial(&counter{n: &refused, least: slog.LevelError})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(bus.Rotate(file), bus.Finish(file)); err != nil {
		t.Fatal(err)
	}
	fresh, _ := os.ReadFile(file)
	w.reload()
	deadline := time.Now().Add(patience)
	for refused.Load() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("a refused key was not told")
		}
		if err := os.WriteFile(file, old, 0o600); err != nil { // the service's copy is still the old one
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := os.WriteFile(file, fresh, 0o600); err != nil {
		t.Fatal(err)
	}
	generation(t, c, 1)
	if n := refused.Load(); n != 1 {
		t.Errorf("%d errors logged; want one", n)
	}
}

// TestStartBeforeReload starts a service with a file that was rotated while
// the server knows the old key only.
func TestStartBeforeReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := bus.SeedFile(w.dir, subject.UserPlanner)
	if err := bus.Rotate(file); err != nil {
		t.Fatal(err)
	}
	c, err := w.dial(slog.DiscardHandler)
	if err == nil {
		err = bus.Finish(file)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.dial(slog.DiscardHandler); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("Connect with a key that the server does not know: %v; want it refused", err)
	}
	w.reload()
	generation(t, c, 1)
}

// counter counts errors in a log.
type counter struct {
	slog.Handler
	n     *atomic.Int64
	least slog.Level
}

func (c *counter) Enabled(_ context.Context, l slog.Level) bool { return l >= c.least }

func (c *counter) Handle(context.Context, slog.Record) error { c.n.Add(1); return nil }
