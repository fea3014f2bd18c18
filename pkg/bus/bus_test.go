package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/bus/embedded"
	"yardmaster.dev/proto/subject"
)

var topology = subject.Topology{Shards: 2, Sites: []string{"a", "b"}, Replicas: 1, ShardBytes: 64 << 20}

const patience = 20 * time.Second

type world struct {
	t      *testing.T
	dir    string
	server *embedded.Server
	admin  *bus.Conn
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	users, err := bus.MakeUsers(w.dir, topology)
	if err != nil {
		t.Fatal(err)
	}
	if w.server, err = embedded.Start(embedded.Options{Dir: w.dir, Host: "127.0.0.1", Users: users}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.server.Shutdown)
	w.admin = w.connect(subject.UserAdmin)
	if err := bus.Init(t.Context(), w.admin, topology); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) connect(user string) *bus.Conn {
	w.t.Helper()
	c, err := bus.Connect(w.t.Context(), w.server.Config(w.dir, user), user, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// TestInitIsRepeatable makes the same yard again, then a larger one.
func TestInitIsRepeatable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	before, err := w.admin.Yard(ctx)
	if err != nil {
		t.Fatal(err)
	}
	larger := topology
	larger.Shards, larger.ShardBytes = 4, 128<<20
	for _, next := range []subject.Topology{topology, larger} {
		if err := bus.Init(ctx, w.admin, next); err != nil {
			t.Fatal(err)
		}
	}
	after, err := w.admin.Yard(ctx)
	if err != nil || after.UID != before.UID || after.Shards != 4 {
		t.Errorf("yard = %+v, %v; want %s with 4 shards", after, err, before.UID)
	}
	s, err := w.admin.JS().Stream(ctx, "YM_0")
	if err != nil || s.CachedInfo().Config.MaxBytes != 128<<20 {
		t.Errorf("YM_0 was not enlarged: %v", err)
	}
	if err := bus.Init(ctx, w.admin, topology); err == nil {
		t.Error("Init took shards away")
	}
}

// TestCheckShowsTheDifference weakens one promise after the other.
func TestCheckShowsTheDifference(t *testing.T) {
	t.Parallel()
	for name, weaken := range map[string]func(*jetstream.StreamConfig){
		"max_bytes":            func(c *jetstream.StreamConfig) { c.MaxBytes = -1 },
		"discard":              func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"max_msgs_per_subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 },
		"allow_direct":         func(c *jetstream.StreamConfig) { c.AllowDirect = false },
		"max_age":              func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour; c.Duplicates = time.Minute },
		"allow_atomic":         func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false },
		"allow_msg_schedules": func(c *jetstream.StreamConfig) {
			c.AllowMsgSchedules, c.Discard = true, jetstream.DiscardOld
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s, err := w.admin.JS().Stream(t.Context(), "YM_1")
			if err != nil {
				t.Fatal(err)
			}
			cfg := s.CachedInfo().Config
			weaken(&cfg)
			if _, err := w.admin.JS().UpdateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			_, err = bus.Check(t.Context(), w.connect(subject.UserGateway))
			if !errors.Is(err, bus.ErrTopology) || !strings.Contains(err.Error(), "stream YM_1: "+name) {
				t.Errorf("Check = %v; want it to name %s of YM_1", err, name)
			}
		})
	}
}

// TestPromises holds the topology to the settings that the ledger rests on;
// reference/jetstream.md says what each of them loses when it is weakened.
func TestPromises(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, promised := range topology.Streams() {
		s, err := w.admin.JS().Stream(t.Context(), promised.Name)
		if err != nil {
			t.Fatal(err)
		}
		holdStream(t, s.CachedInfo().Config)
	}
	for _, promised := range topology.Consumers() {
		c, err := w.admin.JS().Consumer(t.Context(), promised.Stream, promised.Name)
		if err != nil {
			t.Fatal(err)
		}
		if cfg := c.CachedInfo().Config; cfg.MaxDeliver > 0 || len(cfg.BackOff) > 0 || cfg.AckPolicy != jetstream.AckExplicitPolicy {
			t.Errorf("consumer %s of %s gives up messages: %+v", promised.Name, promised.Stream, cfg)
		}
	}
}

func holdStream(t *testing.T, c jetstream.StreamConfig) {
	t.Helper()
	check := func(ok bool, what string) {
		t.Helper()
		if !ok {
			t.Errorf("stream %s: %s", c.Name, what)
		}
	}
	check(c.PersistMode == jetstream.DefaultPersistMode, "its writes are acknowledged before they are synced")
	check(!c.AllowMsgSchedules, "schedules come back after a crash")
	check(c.MaxMsgsPerSubject <= 0 || c.Name == subject.StreamObservations, "a limit per subject brings removed records back")
	check(c.MaxBytes > 0, "it can fill the disk")
	check(c.Retention == jetstream.LimitsPolicy, "acknowledged messages vanish")
	check(c.Storage == jetstream.FileStorage, "a single server that is killed forgets it")
	if c.Name == subject.StreamObservations {
		return
	}
	check(c.DenyDelete, "single messages can be deleted")
	if strings.HasPrefix(c.Name, "YM_") {
		check(c.Discard == jetstream.DiscardNew, "records are thrown away when it is full")
		check(c.AllowAtomicPublish && c.AllowRollup && c.AllowMsgTTL && !c.DenyPurge, "transitions cannot be written")
		check(c.MaxAge == 0, "records expire")
		check(c.SubjectDeleteMarkerTTL == 0, "delete markers raise shorter lives")
	}
}

// TestServerConfig has a real server read what is printed for external ones.
func TestServerConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	users, err := bus.MakeUsers(dir, topology)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(file, []byte(bus.ServerConfig(filepath.Join(dir, "store"), users)), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !opts.JetStream || !opts.SyncAlways {
		t.Error("the printed configuration does not sync every write")
	}
	if opts.JetStreamKey != "" || opts.JetStreamOldKey != "" {
		t.Error("the printed configuration encrypts streams, which loses them")
	}
	if opts.JetStreamLimits.MaxBatchInflightPerStream != bus.MaxBatchesPerStream {
		t.Errorf("batch limits = %+v", opts.JetStreamLimits)
	}
	if len(opts.Nkeys) != len(topology.Users()) {
		t.Errorf("%d users; want %d", len(opts.Nkeys), len(topology.Users()))
	}
	startWith(t, opts, dir)
}

func startWith(t *testing.T, opts *server.Options, dir string) {
	t.Helper()
	for _, u := range opts.Nkeys {
		if u.Permissions == nil || len(u.Permissions.Publish.Allow) == 0 || len(u.Permissions.Subscribe.Allow) == 0 {
			t.Errorf("user %s has permissions %+v", u.Nkey, u.Permissions)
		}
	}
	opts.Port, opts.NoSigs, opts.NoLog, opts.DontListen = -1, true, true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server did not start with the printed configuration")
	}
	c, err := bus.Connect(t.Context(), bus.Config{SeedFile: bus.SeedFile(dir, subject.UserAdmin), InProcess: s}, "admin", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := bus.Init(t.Context(), c, topology); err != nil {
		t.Error(err)
	}
}

func TestMakeUsersKeepsSeeds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := bus.MakeUsers(dir, topology)
	if err != nil {
		t.Fatal(err)
	}
	again, err := bus.MakeUsers(dir, topology)
	if err != nil {
		t.Fatal(err)
	}
	for i := range first {
		if first[i].PublicKey != again[i].PublicKey {
			t.Errorf("user %s has another key the second time", first[i].Name)
		}
	}
	for _, file := range []string{bus.SeedFile(dir, subject.UserPlanner), bus.SealFile(dir, "a")} {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", file, info, err)
		}
	}
	if err := os.WriteFile(bus.SeedFile(dir, subject.UserPlanner), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bus.MakeUsers(dir, topology); err == nil {
		t.Error("a file that holds no seed was overlooked")
	}
}

func TestStrangerIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := t.TempDir()
	if _, err := bus.MakeUsers(other, topology); err != nil {
		t.Fatal(err)
	}
	cfg := w.server.Config(other, subject.UserAdmin)
	cfg.InProcess = nil
	_, err := bus.Connect(t.Context(), cfg, "stranger", slog.New(slog.DiscardHandler))
	if !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("Connect with a key that the server does not know = %v", err)
	}
}

// TestThreeFailuresMoveOn: a server that answers pings and nothing else is
// left.
func TestThreeFailuresMoveOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect(subject.UserGateway)
	before, changed := c.Generation()
	c.Struggled()
	c.Struggled()
	c.Worked()
	c.Struggled()
	c.Struggled()
	if now, _ := c.Generation(); now != before {
		t.Fatal("two failures in a row made a new connection")
	}
	c.Struggled()
	select {
	case <-changed:
	case <-time.After(patience):
		t.Fatal("three failures in a row changed nothing")
	}
	if _, err := c.Yard(t.Context()); err != nil {
		t.Errorf("the new connection does not work: %v", err)
	}
}

// TestConnectWaits starts the client before the server.
func TestConnectWaits(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bus.Connect(ctx, bus.Config{URL: "nats://127.0.0.1:1"}, "early", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("Connect found a server where there is none")
	}
}

func TestNoYard(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	c, err := bus.Connect(t.Context(), s.Config("", ""), "early", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := bus.Check(t.Context(), c); err == nil || errors.Is(err, bus.ErrTopology) {
		t.Errorf("Check of an empty server = %v; want an error that can pass", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	told := 0
	if _, err := bus.Await(ctx, c, func(error) { told++; cancel() }); err == nil || told != 1 {
		t.Errorf("Await = %v, reported %d times", err, told)
	}
}
