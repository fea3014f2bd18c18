package vsphereexecutor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nkeys"
	"github.com/prometheus/client_golang/prometheus"

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

const testSite = "dc1"

// stage is the service between a real bus and a simulated vCenter.
type stage struct {
	t       *testing.T
	dir     string
	server  *embedded.Server
	planner *bus.Conn
	render  *bus.Conn
	admin   *bus.Conn
	log     *lockedBuffer
}

// lockedBuffer is a log that several goroutines write.
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

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, dir: t.TempDir(), log: &lockedBuffer{}}
	topology := subject.Topology{Shards: 1, Sites: []string{testSite}, Replicas: 1}
	users, err := bus.MakeUsers(s.dir, topology)
	if err != nil {
		t.Fatal(err)
	}
	if s.server, err = embedded.Start(embedded.Options{Dir: t.TempDir(), Host: "127.0.0.1", Users: users}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.server.Shutdown)
	s.admin, s.planner, s.render = s.connect(subject.UserAdmin), s.connect(subject.UserPlanner), s.connect(subject.UserRenderer)
	if err := bus.Init(t.Context(), s.admin, topology); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stage) connect(user string) *bus.Conn {
	s.t.Helper()
	c, err := bus.Connect(s.t.Context(), s.server.Config(s.dir, user), user, slog.New(slog.DiscardHandler))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// run runs the service until stop is called.
func (s *stage) run(instance string) (stop func() error) {
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx,
			Config{Bus: s.server.Config(s.dir, subject.ConsumerVSphere(testSite)), Site: testSite, SealSeedFile: bus.SealFile(s.dir, testSite), ImagesDir: filepath.Join(s.dir, "images")},
			service.Env{
				Name: "vsphere-executor", Instance: instance, Metrics: prometheus.NewRegistry(), Health: service.NewHealth(),
				Log: slog.New(slog.NewJSONHandler(s.log, nil)),
			})
	}()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-ended })
		return err
	}
	s.t.Cleanup(func() { _ = stop() })
	return stop
}

func (s *stage) store(c *bus.Conn, to string, m wire.Message, err error) {
	s.t.Helper()
	if err == nil {
		_, err = c.Publish(s.t.Context(), bus.Rollup(bus.NewMsg(to, m)))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// site stores the Site of a simulated vCenter.
func (s *stage) site(url string) { s.t.Helper(); s.siteOf(url, nil) }

func (s *stage) siteOf(url string, images *fleet.SiteImages) {
	s.t.Helper()
	secret := func(name string) fleet.Secret {
		file := filepath.Join(s.dir, name)
		if err := os.WriteFile(file, []byte(name+"\n"), 0o600); err != nil {
			s.t.Fatal(err)
		}
		return fleet.Secret{File: file}
	}
	vsphere := &fleet.SiteVSphere{URL: url, Username: secret("user"), Password: secret("password"), Images: images}
	record := &plan.Site{Document: fleet.Site{
		APIVersion: fleet.APIVersion, Kind: fleet.KindSite, Metadata: fleet.Metadata{Name: testSite},
		Spec: fleet.SiteSpec{VSphere: vsphere},
	}}
	m, err := wire.Record(record, nil)
	s.store(s.planner, subject.Site(testSite), m, err)
}

// secretConfig is what must never be seen in a log.
const secretConfig = `{"ignition":{"version":"3.3.0"},"secret":"hunter2"}`

func (s *stage) config() string {
	s.t.Helper()
	seed, err := os.ReadFile(bus.SealFile(s.dir, testSite))
	if err != nil {
		s.t.Fatal(err)
	}
	key, err := nkeys.FromCurveSeed(bytes.TrimSpace(seed))
	if err != nil {
		s.t.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		s.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(secretConfig))
	digest := hex.EncodeToString(sum[:])
	sealed, err := render.Seal(&render.Config{Ignition: []byte(secretConfig), Digest: digest, Encoded: "aHVudGVyMg=="}, public)
	s.store(s.render, subject.Config(testSite, digest), wire.Message{Type: "config", Body: sealed}, err)
	return digest
}

// do submits a job and returns its result.
func (s *stage) do(number int64, j plan.Job) *plan.Result {
	s.t.Helper()
	j.JobRef = plan.JobRef{Worker: plan.WorkerVSphere, Site: testSite, Fleet: "web", Node: "edge-0", Number: number}
	j.FleetUID, j.Incarnation, j.Attempt, j.Pool = "uid", 1, 1, "edge"
	j.MachineUUID, j.MAC = "00000000-0000-4000-8000-000000000001", "02:00:00:00:00:01"
	m, err := wire.Job(&j)
	s.store(s.planner, subject.Job(0, string(j.Worker), j.Site, j.Fleet, j.Node, number), m, err)
	of := subject.Result(0, string(j.Worker), j.Site, j.Fleet, j.Node, number, 1)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		m, err := s.admin.Last(s.t.Context(), subject.ShardStream(0), of)
		if errors.Is(err, bus.ErrNotFound) {
			continue
		}
		if err != nil {
			s.t.Fatal(err)
		}
		r, err := wire.DecodeResult(m.Type(), m.Version(), m.Data)
		if err != nil {
			s.t.Fatal(err)
		}
		return r
	}
	s.t.Fatalf("no result of job %d; log:\n%s", number, s.log)
	return nil
}

func TestService(t *testing.T) {
	t.Parallel()
	w := newBenchWorld(t)
	t.Cleanup(w.close)
	s := newStage(t)
	stop := s.run("first")
	create := plan.Job{
		Action: plan.ActionCreate, ConfigDigest: s.config(),
		VSphere: &fleet.VSphere{Site: testSite, Source: fleet.VSphereSource{Template: benchTemplate}},
	}
	// Without its Site nothing can be done, and nobody is to blame.
	r := s.do(1, create)
	if r.Failure == nil || r.Failure.Kind != fault.Busy || r.Failure.Hint == "" {
		t.Errorf("create without a Site: %+v; want busy, with a hint", r.Failure)
	}
	s.site(w.server.URL.Scheme + "://" + w.server.URL.Host + "/sdk")
	number := int64(2)
	for ; r.Failure != nil && r.Failure.Kind == fault.Busy; number++ { // until the Site is taken up
		r = s.do(number, create)
	}
	if r.Failure != nil || r.MachineID == "" {
		t.Fatalf("create: %+v, failure %+v; want a machine", r, r.Failure)
	}
	if err := stop(); err != nil {
		t.Errorf("Run after a clean stop: %v", err)
	}
	s.takeOver(w, number, create, r.MachineID)
	for _, secret := range []string{"hunter2", "aHVudGVyMg", "password\n"} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// takeOver has another replica find the machine and remove it.
func (s *stage) takeOver(w *benchWorld, number int64, create plan.Job, machine string) {
	s.t.Helper()
	s.run("second")
	again := s.do(number, create)
	got := []any{again.Failure, again.MachineID, again.Adopted, again.By}
	if d := cmp.Diff([]any{(*plan.Failure)(nil), machine, true, "second"}, got); d != "" {
		s.t.Error("create again (-want +got):\n" + d)
	}
	// The planner may no longer know the pool.
	if r := s.do(number+1, plan.Job{Action: plan.ActionDelete, MachineID: machine}); r.Failure != nil {
		s.t.Errorf("delete: %+v", r.Failure)
	}
	for _, vm := range w.model.Map().All("VirtualMachine") {
		if vm.Entity().Name == "web-edge-0" {
			s.t.Error("the VM is still there after delete")
		}
	}
}
