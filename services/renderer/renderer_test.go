package renderer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	ignition "github.com/coreos/ignition/v2/config/v3_3"
	"github.com/nats-io/nkeys"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/encoding/protojson"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/bus/embedded"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/render"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

const (
	site   = "dc1"
	shard  = 1 // not the one where a renderer that forgot to look would
	secret = "planted-s3cr3t-value"
)

// yard is a bus with a renderer's surroundings: a planner that writes jobs,
// an executor that holds a seat.
type yard struct {
	t       *testing.T
	dir     string
	server  *embedded.Server
	planner *bus.Conn
	seal    nkeys.KeyPair
	logs    *lockedBuffer
}

// lockedBuffer takes the logs of several replicas.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newYard(t *testing.T) *yard {
	t.Helper()
	y := &yard{t: t, dir: t.TempDir(), logs: &lockedBuffer{}}
	topology := subject.Topology{Shards: 2, Sites: []string{site}, Replicas: 1}
	users, err := bus.MakeUsers(y.dir, topology)
	if err != nil {
		t.Fatal(err)
	}
	y.server, err = embedded.Start(embedded.Options{Dir: filepath.Join(y.dir, "store"), Users: users})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(y.server.Shutdown)
	if err := bus.Init(t.Context(), y.connect(subject.UserAdmin), topology); err != nil {
		t.Fatal(err)
	}
	y.planner = y.connect(subject.UserPlanner)
	seed, err := os.ReadFile(bus.SealFile(y.dir, site))
	if err != nil {
		t.Fatal(err)
	}
	if y.seal, err = nkeys.FromCurveSeed(bytes.TrimSpace(seed)); err != nil {
		t.Fatal(err)
	}
	return y
}

func (y *yard) connect(user string) *bus.Conn {
	y.t.Helper()
	conn, err := bus.Connect(y.t.Context(), y.server.Config(y.dir, user), user, slog.New(slog.DiscardHandler))
	if err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(conn.Close)
	return conn
}

// start runs a renderer until the test ends or the returned function is
// called; its error fails the test.
func (y *yard) start(instance string) (stop func()) {
	y.t.Helper()
	secrets := filepath.Join(y.dir, "secrets")
	if err := os.MkdirAll(secrets, 0o700); err != nil {
		y.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(secrets, "join"), []byte(secret+"\n"), 0o600); err != nil {
		y.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(y.t.Context())
	done := make(chan struct{})
	env := service.Env{
		Name: "renderer", Instance: instance, Metrics: prometheus.NewRegistry(), Health: service.NewHealth(),
		Log: slog.New(slog.NewJSONHandler(y.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	cfg := Config{Bus: y.server.Config(y.dir, subject.UserRenderer), SecretsDir: secrets, Gateway: "http://127.0.0.1:7070"}
	go func() {
		defer close(done)
		if err := Run(ctx, cfg, env); err != nil && !errors.Is(err, context.Canceled) {
			y.t.Errorf("Run: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	y.t.Cleanup(stop)
	return stop
}

func (y *yard) publish(conn *bus.Conn, to string, m wire.Message, err error) {
	y.t.Helper()
	if err == nil {
		_, err = conn.Publish(y.t.Context(), bus.NewMsg(to, m))
	}
	if err != nil {
		y.t.Fatal(err)
	}
}

func (y *yard) seat() {
	y.t.Helper()
	public, err := y.seal.PublicKey()
	if err != nil {
		y.t.Fatal(err)
	}
	m, err := wire.EncodeSeat(wire.Seat{Holder: "x", Epoch: 1, Until: time.Now().Add(time.Hour), SealKey: public})
	y.publish(y.connect(subject.ConsumerVSphere(site)), subject.Seat(site), m, err)
}

func newFleet(layers ...fleet.Layer) fleet.Fleet {
	return fleet.Fleet{
		APIVersion: fleet.APIVersion, Kind: fleet.KindFleet, Metadata: fleet.Metadata{Name: "web"},
		Spec: fleet.FleetSpec{
			OS:      fleet.OS{Version: "4593.2.5"},
			Config:  append([]fleet.Layer{{Role: "base"}, {Role: "static-net"}}, layers...),
			Secrets: map[string]fleet.Secret{"join": {File: "join"}, "gone": {File: "gone"}, "home": {Env: "HOME"}},
			Pools:   []fleet.Pool{{Name: "edge", Networks: []fleet.PoolNetwork{{Ref: "dmz"}}}},
		},
	}
}

func joinLayer(secret string) fleet.Layer {
	return fleet.Layer{Butane: "variant: flatcar\nversion: 1.0.0\nstorage:\n  files:\n    - path: /etc/join\n      contents: {inline: 'token {{ .secrets." + secret + " }}'}\n"}
}

func (y *yard) revision(number int, f fleet.Fleet) {
	y.t.Helper()
	r := &plan.Revision{Fleet: "web", FleetUID: "uid", Number: number, Document: f}
	m, err := wire.Record(r, nil)
	y.publish(y.planner, subject.Revision(shard, "web", number), m, err)
}

// job writes a job and returns the function that waits for its result.
func (y *yard) job(number int64, action plan.Action, revision int, digest string) func() *plan.Result {
	y.t.Helper()
	key := fmt.Sprintf("edge-%d", number)
	j := &plan.Job{
		JobRef:   plan.JobRef{Worker: plan.WorkerRender, Site: site, Fleet: "web", Node: key, Number: number},
		FleetUID: "uid", Action: action, Incarnation: 1, Attempt: 1, Revision: revision, Deadline: time.Now().Add(time.Minute),
		Pool: "edge", Ordinal: int(number), Hostname: "web-" + key, MachineUUID: "5f0f6e2a-0b7e-5d3f-9c1b-000000000001", MAC: "02:0a:0b:0c:0d:0e",
		Networks:     []plan.JobNetwork{{Network: "dmz", Addr: "10.0.0.10", Prefix: 24, Gateway: "10.0.0.1"}},
		ConfigDigest: digest,
	}
	m, err := wire.Job(j)
	y.publish(y.planner, subject.Job(shard, "render", site, "web", key, number), m, err)
	name := subject.Result(shard, "render", site, "web", key, number, 1)
	return func() *plan.Result {
		y.t.Helper()
		stored := y.wait(name)
		r, err := wire.DecodeResult(stored.Type(), stored.Version(), stored.Data)
		if err != nil {
			y.t.Fatal(err)
		}
		return r
	}
}

func (y *yard) wait(name string) *bus.Message {
	y.t.Helper()
	stream := subject.ShardStream(shard)
	watcher := y.connect(subject.UserWatcher)
	for deadline := time.Now().Add(20 * time.Second); ; {
		m, err := watcher.Last(y.t.Context(), stream, name)
		if err == nil {
			return m
		}
		if !errors.Is(err, bus.ErrNotFound) || time.Now().After(deadline) {
			y.t.Fatalf("no result at %s: %v\nlogs:\n%s", name, err, y.logs)
		}
	}
}

func (y *yard) sealed(digest string) []byte {
	y.t.Helper()
	m, err := y.connect(subject.ConsumerVSphere(site)).Last(y.t.Context(), subject.ConfigStream(site), subject.Config(site, digest))
	if err != nil {
		y.t.Fatal(err)
	}
	return m.Data
}

func TestRenderAndForget(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.seat()
	y.revision(1, newFleet(joinLayer("join")))
	y.start("a")
	r := y.job(1, plan.ActionRender, 1, "")()
	if r.Failure != nil {
		t.Fatalf("result = %+v; want a config", r.Failure)
	}
	cfg, err := render.Open(y.sealed(r.ConfigDigest), y.seal, r.ConfigDigest)
	if err != nil {
		t.Fatal(err)
	}
	if _, rep, err := ignition.Parse(cfg.GetIgnition()); err != nil || len(rep.Entries) > 0 {
		t.Errorf("Ignition says %v, %s", err, rep)
	}
	text := string(cfg.GetIgnition())
	token := tokenIn(t, text)
	if sum := sha256.Sum256([]byte(token)); hex.EncodeToString(sum[:]) != r.TokenSHA256 {
		t.Errorf("TokenSHA256 = %s; want the hash of the token in the config", r.TokenSHA256)
	}
	if !strings.Contains(text, secret) || strings.Contains(text, secret+"%0A") {
		t.Error("the config does not hold the secret without its line end")
	}
	if cfg.GetGuestinfoEncoding() != render.Encoding || len(cfg.GetGuestinfoData()) != r.ConfigSize || cfg.GetNetworkKargs() == "" {
		t.Errorf("config = %v; want guestinfo of %d bytes and network kargs", protojson.Format(cfg), r.ConfigSize)
	}

	y.forget(2, r.ConfigDigest)
	y.noSecrets(token)
}

// forget has a config forgotten and checks that it is.
func (y *yard) forget(number int64, digest string) {
	y.t.Helper()
	if r := y.job(number, plan.ActionForget, 1, digest)(); r.Failure != nil {
		y.t.Fatalf("forget: %+v", r.Failure)
	}
	if left := y.sealed(digest); len(left) != 0 {
		y.t.Errorf("%d bytes are left of the config; want none", len(left))
	}
}

// tokenIn returns the phone-home token in a config.
func tokenIn(t *testing.T, ignition string) string {
	t.Helper()
	_, after, found := strings.Cut(ignition, "Authorization%3A%20Bearer%20")
	token, _, ended := strings.Cut(after, "%0A")
	if !found || !ended {
		t.Fatalf("no token in %s", ignition)
	}
	return token
}

// noSecrets looks for the planted secret in everything that is stored or
// logged outside of the sealed configs.
func (y *yard) noSecrets(others ...string) {
	y.t.Helper()
	for _, word := range append(others, secret) {
		if word == "" {
			y.t.Error("looking for an empty secret finds nothing")
		}
		if strings.Contains(y.logs.String(), word) {
			y.t.Errorf("a secret was logged:\n%s", y.logs)
		}
		err := filepath.WalkDir(filepath.Join(y.dir, "store"), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if bytes.Contains(content, []byte(word)) {
				y.t.Errorf("a secret lies in %s", path)
			}
			return err
		})
		if err != nil {
			y.t.Fatal(err)
		}
	}
}

func TestWhatCannotBeRenderedSaysWhy(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.seat()
	y.revision(1, newFleet(fleet.Layer{Butane: "variant: flatcar\nversion: 1.0.0\nstorage:\n  file: []\n"}))
	y.revision(2, newFleet(joinLayer("gone")))
	y.revision(3, newFleet(joinLayer("home")))
	y.revision(4, newFleet(fleet.Layer{Butane: "variant: flatcar\nversion: 1.0.0\npasswd:\n  users: [{name: core, password_hash: '{{ .secrets.join }}'}]\n"}))
	y.start("a")
	for i, c := range []struct {
		revision int
		kind     fault.Kind
		reason   fault.Reason
		says     []string
	}{
		{1, fault.Permanent, fault.ConfigRefused, []string{"spec.config[2].butane: line 4: unused key file"}},
		{2, fault.Permanent, fault.SecretMissing, []string{"secret gone", "no such file"}},
		{3, fault.Permanent, fault.SecretMissing, []string{"secret home", EnvPrefix}},
		{4, fault.Permanent, fault.ConfigRefused, []string{"not a crypt(5) hash"}},
		{9, fault.Busy, fault.BackendDown, []string{"revision 9 of fleet web"}},
	} {
		r := y.job(int64(i+1), plan.ActionRender, c.revision, "")()
		if r.Failure == nil || r.Failure.Kind != c.kind || r.Failure.Reason != c.reason {
			t.Errorf("revision %d: failure = %+v; want %v %v", c.revision, r.Failure, c.kind, c.reason)
			continue
		}
		for _, says := range c.says {
			if !strings.Contains(r.Failure.Message, says) {
				t.Errorf("revision %d: message = %q; want it to say %q", c.revision, r.Failure.Message, says)
			}
		}
	}
	y.noSecrets()
}

func TestNothingIsSealedToNobody(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.revision(1, newFleet())
	y.start("a")
	r := y.job(1, plan.ActionRender, 1, "")()
	if r.Failure == nil || r.Failure.Kind != fault.Busy || r.Failure.Reason != fault.BackendDown || !strings.Contains(r.Failure.Hint, "vsphere-executor") {
		t.Errorf("failure = %+v; want busy, backend_down and what to start", r.Failure)
	}
}

func TestReplicasShareTheWork(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.seat()
	y.revision(1, newFleet(joinLayer("join")))
	stop := y.start("a")
	y.start("b")
	var results []func() *plan.Result
	for i := range int64(60) {
		results = append(results, y.job(i, plan.ActionRender, 1, ""))
		if i == 30 {
			stop() // a clean stop in the middle: what it held goes to b
		}
	}
	digests := map[string]bool{}
	for i, result := range results {
		r := result()
		if r.Failure != nil {
			t.Fatalf("job %d: %+v", i, r.Failure)
		}
		digests[r.ConfigDigest] = true
	}
	if len(digests) != len(results) {
		t.Errorf("%d different configs for %d nodes", len(digests), len(results))
	}
}
