package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/bus/embedded"
	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/ledger"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	v1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
)

// patience bounds every wait of these tests; it is only used up when
// something is broken.
const patience = 30 * time.Second

// yard is a real bus with real planners and workers that only pretend.
type yard struct {
	t      *testing.T
	dir    string
	shards int
	server *embedded.Server
	users  []bus.Identity
	port   int
}

func newYard(t *testing.T, shards int) *yard {
	t.Helper()
	y := &yard{t: t, dir: t.TempDir(), shards: shards}
	// The users are ready for more shards than there are.
	roomy := y.topology()
	roomy.Shards++
	var err error
	if y.users, err = bus.MakeUsers(y.dir, roomy); err != nil {
		t.Fatal(err)
	}
	y.startBus()
	admin := y.connect(subject.UserAdmin)
	defer admin.Close()
	if err := bus.Init(t.Context(), admin, y.topology()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { y.server.Shutdown() })
	return y
}

func (y *yard) topology() subject.Topology {
	return subject.Topology{Shards: y.shards, Sites: []string{"dc1"}, ShardBytes: 64 << 20}
}

// startBus starts the server, on the same port as before.
func (y *yard) startBus() {
	y.t.Helper()
	s, err := embedded.Start(embedded.Options{Dir: y.dir + "/nats", Host: "127.0.0.1", Port: y.port, Users: y.users, MaxStore: 8 << 30})
	if err != nil {
		y.t.Fatal(err)
	}
	y.server = s
	if y.port == 0 {
		_, port, _ := strings.Cut(strings.TrimPrefix(s.URL(), "nats://"), ":")
		if _, err := fmt.Sscan(port, &y.port); err != nil {
			y.t.Fatal(err)
		}
	}
}

func (y *yard) config(user string) bus.Config {
	cfg := y.server.Config(y.dir, user)
	cfg.InProcess = nil // the server may be another one later
	return cfg
}

func (y *yard) connect(user string) *bus.Conn {
	y.t.Helper()
	conn, err := bus.Connect(y.t.Context(), y.config(user), "test", quiet())
	if err != nil {
		y.t.Fatal(err)
	}
	return conn
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// while runs f until the test, or what the returned function says, ends it.
func (y *yard) while(what string, f func(ctx context.Context) error) (stop func()) {
	y.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(y.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) {
			y.t.Errorf("%s: %v", what, err)
		}
	}()
	stop = func() { cancel(); <-done }
	y.t.Cleanup(stop)
	return stop
}

// planners plans every shard and says so.
func (y *yard) planners() {
	y.t.Helper()
	conn := y.connect(subject.UserPlanner)
	y.t.Cleanup(conn.Close)
	state := wire.ServiceState{Service: servicePlanner, Instance: "planner-1"}
	for k := range y.shards {
		state.Scopes = append(state.Scopes, wire.ServiceScope{Name: fmt.Sprintf("shard-%d", k), Active: true})
		p := ledger.NewPlanner(ledger.PlannerConfig{Conn: conn, Shard: k, Instance: "planner-1", Log: quiet()})
		y.while("planner", p.Run)
	}
	y.while("planner's heartbeat", func(ctx context.Context) error {
		bus.Heartbeat(ctx, conn, func() wire.ServiceState { return state })
		return nil
	})
}

// workers renders and makes machines, as far as the planner can tell.
func (y *yard) workers() {
	y.t.Helper()
	for user, work := range map[string]executor.Work{
		subject.UserRenderer:           {Worker: plan.WorkerRender},
		subject.ConsumerVSphere("dc1"): {Worker: plan.WorkerVSphere, Site: "dc1"},
	} {
		conn := y.connect(user)
		y.t.Cleanup(conn.Close)
		work.Conn, work.By, work.Log = conn, user+"-1", quiet()
		y.while(user, func(ctx context.Context) error { return work.Run(ctx, pretend) })
	}
}

// tokenOf is the phone-home token that the pretended renderer draws.
func tokenOf(fleet, key string) string { return "token-of-" + fleet + "-" + key }

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func pretend(_ context.Context, j *plan.Job) *plan.Result {
	now := time.Now()
	r := &plan.Result{
		Node: j.Node, Job: j.Number, Attempt: j.Attempt, Incarnation: j.Incarnation, Worker: j.Worker, Action: j.Action,
		Started: now, Finished: now,
	}
	switch j.Action {
	case plan.ActionRender:
		r.ConfigDigest, r.ConfigSize, r.TokenSHA256 = hashOf(j.Node), 1200, hashOf(tokenOf(j.Fleet, j.Node))
		if j.Fleet == "again" && j.Revision > 1 {
			r.TokenSHA256 = hashOf("next-" + tokenOf(j.Fleet, j.Node))
		}
	case plan.ActionCreate:
		if j.Fleet == "frail" && j.Incarnation == 1 {
			r.Failure = &plan.Failure{Kind: fault.Permanent, Reason: fault.TemplateMissing, Message: "no such template", Log: []string{"last words"}}
			break
		}
		r.MachineID, r.MachineUUID = "vm-"+j.Node, j.MachineUUID
	case plan.ActionForget, plan.ActionBlank, plan.ActionDelete, plan.ActionResize, plan.ActionOffer:
	}
	return r
}

// front is a gateway as its clients see it.
type frontDoor struct {
	yardmasterv1connect.YardServiceClient
	url      string
	stop     func()
	health   *service.Health
	registry *prometheus.Registry
}

// gateway runs a gateway and waits until it answers.
func (y *yard) gateway(cfg Config) *frontDoor {
	y.t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(y.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		y.t.Fatal(err)
	}
	cfg.Bus, cfg.Listen, cfg.Observe = y.config(subject.UserGateway), l.Addr().String(), true
	registry := service.NewRegistry()
	env := service.Env{Name: "gateway", Instance: "gw-1", Log: quiet(), Metrics: registry, Health: service.NewHealth()}
	stop := y.while("gateway", func(ctx context.Context) error { return runOn(ctx, l, cfg, env) })
	url := "http://" + l.Addr().String()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	front := &frontDoor{
		YardServiceClient: yardmasterv1connect.NewYardServiceClient(client, url),
		url:               url, stop: stop, health: env.Health, registry: registry,
	}
	until(y.t, "the gateway is ready", func() bool {
		resp := get(y.t, url+"/readyz")
		return resp.status == http.StatusOK
	})
	return front
}

// until waits for a condition.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !met() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain: %s", patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func request[T any](m *T) *connect.Request[T] { return connect.NewRequest(m) }

// apply applies YAML and fails the test unless everything was accepted.
func (f *frontDoor) apply(t *testing.T, id, yaml string) []*v1.CommandResponse {
	t.Helper()
	resp, err := f.Apply(t.Context(), request(&v1.ApplyRequest{
		Sources: []*v1.Source{{Filename: "test.yaml", Content: []byte(yaml)}}, CommandId: id,
	}))
	if err != nil {
		t.Fatal(err)
	}
	if p := resp.Msg.GetProblems(); len(p) > 0 {
		t.Fatalf("apply: %v", p)
	}
	for _, r := range resp.Msg.GetResults() {
		if !r.GetAccepted() {
			t.Fatalf("apply: not accepted: %v", r)
		}
	}
	return resp.Msg.GetResults()
}

const site = `
apiVersion: yardmaster.dev/v1alpha1
kind: Site
metadata: {name: dc1}
spec:
  vsphere:
    url: https://vcenter.example/sdk
    username: {env: VC_USER}
    password: {env: VC_PASSWORD}
    datacenter: dc1
`

const network = `
apiVersion: yardmaster.dev/v1alpha1
kind: Network
metadata: {name: dmz}
spec:
  subnet: 10.0.0.0/24
  range: 10.0.0.10-10.0.0.200
  gateway: 10.0.0.1
`

func fleetYAML(name string, replicas int) string {
	return fmt.Sprintf(`
apiVersion: yardmaster.dev/v1alpha1
kind: Fleet
metadata: {name: %s, labels: {team: platform}}
spec:
  os: {version: 4593.2.5}
  config: [{role: base}, {role: static-net}]
  pools:
    - name: edge
      replicas: %d
      networks: [{ref: dmz}]
      vsphere: {site: dc1, cluster: c1, datastore: ds1, cpus: 2, memory: 4Gi}
`, name, replicas)
}

func yardYAML(replicas int) string {
	// The fleet comes first on purpose: the gateway puts them in order.
	return strings.Join([]string{fleetYAML("web", replicas), network, site}, "---")
}

// headerOf is a stamp as HeaderAfter wants it.
func headerOf(s *v1.Stamp) string {
	return fmt.Sprintf("%d/%d/%d", s.GetShard(), s.GetEpoch(), s.GetSequence())
}

// grpcClient speaks gRPC over HTTP/2 without TLS.
func grpcClient(url string) yardmasterv1connect.YardServiceClient {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	return yardmasterv1connect.NewYardServiceClient(client, url, connect.WithGRPC())
}
