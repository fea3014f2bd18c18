package ledger_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/bus/embedded"
	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/ledger"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// yard is a server with planners and workers that do every job at once.
type yard struct {
	tb      testing.TB
	dir     string
	server  *embedded.Server
	users   []bus.Identity
	shards  int
	admin   *bus.Conn
	gateway *bus.Conn
	mirror  *ledger.Mirror
	log     *slog.Logger
	// policy makes stages short and fan-outs need several steps.
	policy func(*plan.Policy)
}

func testPolicy(p *plan.Policy) {
	p.Grace = 500 * time.Millisecond
	p.Chunk = 16
}

// patience bounds every wait of these tests.
const patience = 60 * time.Second

func testLog(tb testing.TB) *slog.Logger {
	tb.Helper()
	level := slog.LevelError + 4
	if testing.Verbose() && os.Getenv("LEDGER_LOG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

func topology(shards int) subject.Topology {
	return subject.Topology{Shards: shards, Sites: []string{"dc1"}, Replicas: 1, ShardBytes: 256 << 20}
}

func newYard(tb testing.TB, shards int) *yard {
	tb.Helper()
	y := &yard{tb: tb, dir: tb.TempDir(), shards: shards, log: testLog(tb), policy: testPolicy}
	var err error
	if y.users, err = bus.MakeUsers(y.dir, topology(shards)); err != nil {
		tb.Fatal(err)
	}
	y.server = y.startServer(0)
	tb.Cleanup(func() { y.server.Shutdown() })
	y.admin = y.connect(subject.UserAdmin)
	if err := bus.Init(tb.Context(), y.admin, topology(shards)); err != nil {
		tb.Fatal(err)
	}
	y.gateway = y.connect(subject.UserGateway)
	all := make([]int, shards)
	for k := range all {
		all[k] = k
	}
	y.mirror = ledger.NewMirror(ledger.MirrorConfig{
		Conn: y.gateway, Shards: all, World: func() *plan.World { return plan.NewWorld(plan.EveryShard) }, Log: y.log,
	})
	y.start(y.mirror.Run)
	return y
}

func (y *yard) startServer(port int) *embedded.Server {
	y.tb.Helper()
	s, err := embedded.Start(embedded.Options{Dir: y.dir, Host: "127.0.0.1", Port: port, Users: y.users, Log: y.log})
	if err != nil {
		y.tb.Fatal(err)
	}
	return s
}

func (y *yard) connect(user string) *bus.Conn {
	y.tb.Helper()
	cfg := y.server.Config(y.dir, user)
	cfg.InProcess = nil // through TCP, as a restarted server is reached
	c, err := bus.Connect(y.tb.Context(), cfg, user, y.log)
	if err != nil {
		y.tb.Fatal(err)
	}
	y.tb.Cleanup(c.Close)
	return c
}

// start runs f until stop is called or the test ends.
func (y *yard) start(f func(context.Context) error) (stop func()) {
	y.tb.Helper()
	ctx, cancel := context.WithCancel(y.tb.Context())
	var group errgroup.Group
	group.Go(func() error { return f(ctx) })
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := group.Wait(); err != nil {
			y.tb.Errorf("ended with: %v", err)
		}
	}
	y.tb.Cleanup(stop)
	return stop
}

// planners starts one planner per shard.
func (y *yard) planners(name string) (stop func()) {
	y.tb.Helper()
	var stops []func()
	for k := range y.shards {
		stops = append(stops, y.start(y.planner(name, k).Run))
	}
	return func() {
		for _, s := range stops {
			s()
		}
	}
}

func (y *yard) planner(name string, shard int) *ledger.Planner {
	y.tb.Helper()
	return ledger.NewPlanner(ledger.PlannerConfig{
		Conn: y.connect(subject.UserPlanner), Shard: shard, Instance: name, Log: y.log.With("instance", name),
		Policy: y.policy,
	})
}

// workers starts a renderer and an executor that do nothing, and well; a
// created machine phones home at once.
func (y *yard) workers(slots int) {
	y.tb.Helper()
	render := &executor.Work{Conn: y.connect(subject.UserRenderer), Worker: plan.WorkerRender, Slots: slots, By: "render-1", Log: y.log}
	vsphere := &executor.Work{
		Conn: y.connect(subject.ConsumerVSphere("dc1")), Worker: plan.WorkerVSphere, Site: "dc1", Slots: slots, By: "vsphere-1", Log: y.log,
	}
	y.start(func(ctx context.Context) error { return render.Run(ctx, y.render) })
	y.start(func(ctx context.Context) error { return vsphere.Run(ctx, y.effect) })
}

func token(j *plan.Job) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%s/%d", j.Fleet, j.FleetUID, j.Node, j.Incarnation))
	return hex.EncodeToString(sum[:])
}

func (y *yard) render(_ context.Context, j *plan.Job) *plan.Result {
	if j.Action == plan.ActionForget {
		return &plan.Result{}
	}
	return &plan.Result{ConfigDigest: "d" + token(j), ConfigSize: 1000, TokenSHA256: token(j)}
}

func (y *yard) effect(ctx context.Context, j *plan.Job) *plan.Result {
	if j.Action != plan.ActionCreate {
		return &plan.Result{}
	}
	// A guest calls until it is recognized; one whose job was undone and made
	// again calls again.
	c := &plan.Command{ID: fmt.Sprintf("ph-%s-%d", token(j)[:32], j.Made), By: "node", PhoneHome: &plan.PhoneHome{
		Node: j.Node, Incarnation: j.Incarnation, TokenSHA256: token(j), Address: "10.0.0.1",
	}}
	if err := y.publish(ctx, y.shardOf(j.Fleet), j.Fleet, c); err != nil {
		return nil
	}
	return &plan.Result{MachineID: "vm-" + j.Fleet + j.Node, MachineUUID: j.MachineUUID}
}

func (y *yard) shardOf(fleetName string) int {
	shard := 0
	y.mirror.View(func(w *plan.World) {
		if p := w.Place(fleetName); p != nil {
			shard = p.Shard
		}
	})
	return shard
}

// publish stores a command; one that is there already is fine.
func (y *yard) publish(ctx context.Context, shard int, scope string, c *plan.Command) error {
	m, err := wire.Command(c)
	if err != nil {
		return err
	}
	for {
		_, err = y.gateway.Publish(ctx, bus.TTL(bus.Expect(bus.NewMsg(subject.Command(shard, scope, c.ID), m), 0), subject.InputTTL))
		if err == nil || bus.Code(err) == bus.CodeWrongLastSequence {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// ask sends a command and waits for its receipt.
func (y *yard) ask(shard int, scope string, c *plan.Command) *plan.Receipt {
	y.tb.Helper()
	if err := y.publish(y.tb.Context(), shard, scope, c); err != nil {
		y.tb.Fatal(err)
	}
	var r *plan.Receipt
	y.wait("receipt of "+c.ID, func(w *plan.World) bool { r = w.Receipt(scope, c.ID); return r != nil })
	return r
}

func (y *yard) accepted(shard int, scope string, c *plan.Command) {
	y.tb.Helper()
	if r := y.ask(shard, scope, c); !r.Accepted {
		y.tb.Fatalf("command %s was refused: %v", c.ID, r.Refusal)
	}
}

// documents applies a site and a network.
func (y *yard) documents() {
	y.tb.Helper()
	y.accepted(0, plan.YardScope, &plan.Command{ID: "site", ApplySite: &fleet.Site{
		APIVersion: fleet.APIVersion, Kind: fleet.KindSite, Metadata: fleet.Metadata{Name: "dc1"},
		Spec: fleet.SiteSpec{VSphere: &fleet.SiteVSphere{
			URL: "https://vcenter.example/sdk", Username: fleet.Secret{Env: "U"}, Password: fleet.Secret{Env: "P"}, Datacenter: "dc1",
		}},
	}})
	y.accepted(0, plan.YardScope, &plan.Command{ID: "network", ApplyNetwork: &fleet.Network{
		APIVersion: fleet.APIVersion, Kind: fleet.KindNetwork, Metadata: fleet.Metadata{Name: "dmz"},
		Spec: fleet.NetworkSpec{Subnet: "10.0.0.0/16", Range: "10.0.1.1-10.0.200.200", Gateway: "10.0.0.1", DNS: []string{"10.0.0.2"}},
	}})
}

func document(name string, replicas int) fleet.Fleet {
	return fleet.Fleet{
		APIVersion: fleet.APIVersion, Kind: fleet.KindFleet, Metadata: fleet.Metadata{Name: name},
		Spec: fleet.FleetSpec{
			OS: fleet.OS{Channel: "stable", Version: "4593.2.5"}, Config: []fleet.Layer{{Role: "base"}},
			Protect: fleet.Protect{MaxCreate: &replicas, MaxDestroyPercent: new(100)},
			Pools: []fleet.Pool{{
				Name: "w", Replicas: replicas, Networks: []fleet.PoolNetwork{{Ref: "dmz"}},
				VSphere: &fleet.VSphere{Site: "dc1", Cluster: "c1", Datastore: "ds1", CPUs: 2, Memory: "2Gi"},
			}},
		},
	}
}

// apply places a fleet and applies its document.
func (y *yard) apply(id string, doc fleet.Fleet) {
	y.tb.Helper()
	name := doc.Metadata.Name
	y.accepted(0, plan.YardScope, &plan.Command{ID: "place-" + id, Place: &plan.PlaceFleet{Name: name}})
	y.wait("place of "+name, func(w *plan.World) bool { return w.Place(name) != nil })
	y.accepted(y.shardOf(name), name, &plan.Command{ID: id, By: "me", ApplyFleet: &plan.ApplyFleet{Document: doc}})
}

// wait returns when the gateway's mirror meets the condition.
func (y *yard) wait(what string, met func(w *plan.World) bool) {
	y.tb.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok := false
		y.mirror.View(func(w *plan.World) { ok = met(w) })
		if ok {
			return
		}
		if time.Now().After(deadline) {
			y.mirror.View(func(w *plan.World) {
				for _, f := range w.Fleets() {
					y.tb.Logf("fleet %+v", *f)
					for n := range w.Nodes(f.Name) {
						if n.State != plan.Ready {
							y.tb.Logf("%s is %s since %s, event %d, job %+v, due %s for %s: %s %s", n.Name(), n.State, n.Since, n.Event, n.Job, n.Due, n.DueFor, n.Reason, n.Message)
						}
					}
				}
			})
			y.tb.Fatalf("waited %s for %s", patience, what)
		}
		select {
		case <-y.tb.Context().Done():
			y.tb.Fatalf("stopped while waiting for %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// settled waits until a fleet has so many ready nodes with nothing left to do.
func (y *yard) settled(name string, count int) {
	y.tb.Helper()
	y.wait(fmt.Sprintf("%d ready nodes of %s", count, name), func(w *plan.World) bool {
		ready := 0
		for n := range w.Nodes(name) {
			switch {
			case n.State == plan.Deleted:
			case n.State == plan.Ready && n.Job == nil && n.Chore == "":
				ready++
			default:
				return false
			}
		}
		return ready == count
	})
}

// verify walks every chain.
func (y *yard) verify() ledger.Audit {
	y.tb.Helper()
	audit, err := ledger.Verify(y.tb.Context(), y.gateway, "")
	if err != nil {
		y.tb.Fatal(err)
	}
	if len(audit.Breaks) > 0 {
		y.tb.Fatalf("history is broken: %v", audit.Breaks)
	}
	return audit
}

// noClaimTwice checks that every address is held by one node, and that
// claims and nodes agree.
func (y *yard) noClaimTwice() {
	y.tb.Helper()
	y.mirror.View(func(w *plan.World) {
		held := map[string]string{}
		for _, f := range w.Fleets() {
			for n := range w.Nodes(f.Name) {
				for _, a := range n.Addresses {
					if n.State == plan.Deleted {
						continue
					}
					if other, ok := held[a.Addr]; ok {
						y.tb.Errorf("address %s is held by %s and %s", a.Addr, other, n.Name())
					}
					held[a.Addr] = n.Name()
				}
			}
		}
	})
}
