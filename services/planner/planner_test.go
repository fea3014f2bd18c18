package planner

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/bus/embedded"
	"yardmaster.dev/pkg/ledger"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

func start(t *testing.T, shards int) (*embedded.Server, string) {
	t.Helper()
	dir := t.TempDir()
	topology := subject.Topology{Shards: shards, Sites: []string{"dc1"}, ShardBytes: 64 << 20}
	users, err := bus.MakeUsers(dir, topology)
	if err != nil {
		t.Fatal(err)
	}
	server, err := embedded.Start(embedded.Options{Dir: dir, Users: users})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	admin := connect(t, server, dir, subject.UserAdmin)
	if err := bus.Init(t.Context(), admin, topology); err != nil {
		t.Fatal(err)
	}
	return server, dir
}

func connect(t *testing.T, server *embedded.Server, dir, user string) *bus.Conn {
	t.Helper()
	c, err := bus.Connect(t.Context(), server.Config(dir, user), user, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func scrape(t *testing.T, r *prometheus.Registry) string {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !met() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	server, dir := start(t, 2)
	registry := prometheus.NewRegistry()
	env := service.Env{
		Name: "planner", Instance: "p1", Log: slog.New(slog.DiscardHandler), Metrics: registry, Health: service.NewHealth(),
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, Config{Bus: server.Config(dir, subject.UserPlanner)}, env) }()
	eventually(t, "health", func() bool { return env.Health.Report(&strings.Builder{}) })
	eventually(t, "both shards to be active", func() bool {
		text := scrape(t, registry)
		return strings.Contains(text, `yardmaster_leader{scope="shard-0",service="planner"} 1`) &&
			strings.Contains(text, `yardmaster_leader{scope="shard-1",service="planner"} 1`)
	})

	gateway := connect(t, server, dir, subject.UserGateway)
	mirror := ledger.NewMirror(ledger.MirrorConfig{
		Conn: gateway, Shards: []int{0, 1}, World: func() *plan.World { return plan.NewWorld(plan.EveryShard) }, Log: env.Log,
	})
	mirrored := make(chan error, 1)
	go func() { mirrored <- mirror.Run(ctx) }()
	m, err := wire.Command(&plan.Command{ID: "p1", Place: &plan.PlaceFleet{Name: "web"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gateway.Publish(t.Context(), bus.NewMsg(subject.Command(0, plan.YardScope, "p1"), m)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command's receipt", func() bool {
		var r *plan.Receipt
		mirror.View(func(w *plan.World) { r = w.Receipt(plan.YardScope, "p1") })
		return r != nil && r.Accepted
	})
	eventually(t, "a heartbeat", func() bool {
		last, err := connect(t, server, dir, subject.UserWatcher).
			LeaderLast(t.Context(), subject.StreamObservations, subject.Observation(subject.YardScope, subject.ServiceScope, "planner-p1", subject.AspectService))
		if err != nil {
			return false
		}
		s, err := wire.DecodeServiceState(last.Type(), last.Version(), last.Data)
		return err == nil && s.Instance == "p1" && len(s.Scopes) == 2
	})
	if text := scrape(t, registry); !strings.Contains(text, `yardmaster_nats_stream_limit_bytes{stream="YM_1"} 6.7108864e+07`) {
		t.Errorf("the stream's limit is missing:\n%s", text)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v", err)
	}
	if err := <-mirrored; err != nil {
		t.Errorf("Mirror.Run = %v", err)
	}
}

func TestShards(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		given []string
		of    int
		want  int
		wrong bool
	}{
		"all":       {of: 3, want: 3},
		"some":      {given: []string{"2"}, of: 3, want: 1},
		"too high":  {given: []string{"3"}, of: 3, wrong: true},
		"no number": {given: []string{"x"}, of: 3, wrong: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Config{Shards: c.given}.shards(c.of)
			if (err != nil) != c.wrong || len(got) != c.want {
				t.Errorf("shards(%v of %d) = %v, %v", c.given, c.of, got, err)
			}
		})
	}
}
