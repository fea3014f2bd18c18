// Package realyard is a whole yard as separate processes against the
// simulated vCenter, for the suites that hurt it and the bench that measures
// it.
package realyard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/e2e/replay"
	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/proto/subject"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
)

// Site is the name of the yard's first site, its only one unless Options say
// otherwise.
const Site = "dc1"

// Yard is every process of a production yard.
type Yard struct {
	TB  testing.TB
	Bus *harness.Bus
	// Sites are the vCenters; Simulator and VCenter are those of the first.
	Sites     []*Place
	Simulator *harness.Simulator
	Planners  []*harness.Proc
	// Executors are those of all sites, one site's after the other's.
	Executors []*harness.Proc
	Renderers []*harness.Proc
	Gateway   *harness.Proc
	VCenter   *harness.VCenter
	// API is the gateway's.
	API yardmasterv1connect.YardServiceClient

	conn       *bus.Conn
	url        string
	datacenter string
}

// Options says how many of each there are; the default is what takes over:
// two planners, two executors, one renderer.
type Options struct {
	Planners, Executors, Renderers int
	// ESXi makes the simulated world a lone host.
	ESXi bool
	// VCenters is how many there are, each with executors of its own.
	VCenters int
	// Lines puts a line that can be cut before each vCenter.
	Lines bool
	// Limits are those of each vCenter in its Site document, in order.
	Limits []string
	// Simulator are further flags of the simulated world.
	Simulator []string
}

// New starts a yard with a Site for each vCenter and a Network.
func New(tb testing.TB, o Options) *Yard {
	tb.Helper()
	y := &Yard{TB: tb}
	if o.ESXi {
		o.Simulator = append([]string{"--esxi", "true"}, o.Simulator...)
		y.datacenter = "ha-datacenter"
	}
	names := y.vcenters(o)
	y.Bus = harness.StartBus(tb, harness.BusOptions{Topology: subject.Topology{Shards: 1, Sites: names}})
	listen := harness.Addr(harness.Ports(tb, 1)[0])
	y.url = "http://" + listen
	guests := y.url
	if t := harness.TheTarget(tb); t.Guests != "" {
		guests, listen = t.Guests, ":"+portOf(tb, t.Guests)
		y.url = "http://127.0.0.1" + listen
	}
	start := func(service string, n int, user string, args ...string) (all []*harness.Proc) {
		for i := range n {
			all = append(all, harness.StartService(tb, service, fmt.Sprintf("%s-%d", service, i), append(y.Bus.ServiceArgs(user), args...)...))
		}
		return all
	}
	secrets := filepath.Join(harness.Dir(tb), "secrets")
	if err := os.MkdirAll(secrets, 0o700); err != nil {
		tb.Fatal(err)
	}
	y.Planners = start("planner", cmp.Or(o.Planners, 2), subject.UserPlanner)
	for _, site := range names {
		prefix := "vsphere-executor"
		if site != Site {
			prefix += "-" + site
		}
		for i := range cmp.Or(o.Executors, 2) {
			y.Executors = append(y.Executors, harness.StartService(tb, "vsphere-executor", fmt.Sprintf("%s-%d", prefix, i),
				append(y.Bus.ServiceArgs(subject.ConsumerVSphere(site)), "--site", site, "--seal-seed-file", bus.SealFile(y.Bus.Dir, site),
					"--secrets-dir", secrets, "--images-dir", filepath.Join(harness.Dir(tb), "images", site))...))
		}
	}
	y.Renderers = start("renderer", cmp.Or(o.Renderers, 1), subject.UserRenderer, "--secrets-dir", secrets, "--gateway", guests)
	y.Gateway = start("gateway", 1, subject.UserGateway, "--listen", listen, "--observe", "true")[0]
	y.conn = y.Bus.Connect(tb, subject.UserWatcher)
	y.API = yardmasterv1connect.NewYardServiceClient(http.DefaultClient, y.url)
	harness.Wait(tb, "gateway", 30*time.Second, harness.Healthy(y.url+"/readyz"))
	documents := []string{Network(tb)}
	for i, p := range y.Sites {
		limits := ""
		if i < len(o.Limits) {
			limits = "    limits: " + o.Limits[i] + "\n"
		}
		documents = append(documents, y.site(p)+limits)
	}
	y.Apply(strings.Join(documents, ""))
	return y
}

// Place is one vCenter of the yard.
type Place struct {
	Name      string
	Simulator *harness.Simulator
	VCenter   *harness.VCenter
	// Line is between the executors and the vCenter, if asked for.
	Line *harness.Proxy
	// url is where the executors find it.
	url string
}

// vcenters starts the simulated vCenters, or goes to the one that the
// environment names, and returns the sites' names.
func (y *Yard) vcenters(o Options) (names []string) {
	if t := harness.TheTarget(y.TB); t.Foreign() {
		y.Sites = []*Place{{Name: Site, VCenter: t.Open(y.TB), url: t.URL}}
		y.VCenter = y.Sites[0].VCenter
		// After the processes, which stop in the reverse order, have ended.
		y.TB.Cleanup(func() { y.VCenter.Clear(y.TB) })
		return []string{Site}
	}
	for i := range max(1, o.VCenters) {
		p := &Place{Name: fmt.Sprintf("dc%d", i+1)}
		process := "simulator"
		if i > 0 {
			process += "-" + p.Name
		}
		p.Simulator = harness.StartNamedSimulator(y.TB, process, o.Simulator...)
		p.VCenter = harness.NewVCenter(y.TB, p.Simulator.Login())
		p.url = p.Simulator.URL()
		if o.Lines {
			p.Line = harness.NewProxy(y.TB, p.Simulator.Address)
			p.url = "https://" + p.Line.Addr() + "/sdk"
		}
		y.Sites, names = append(y.Sites, p), append(names, p.Name)
	}
	y.Simulator, y.VCenter = y.Sites[0].Simulator, y.Sites[0].VCenter
	return names
}

// URL is the gateway's.
func (y *Yard) URL() string { return y.url }

// Services are all processes that may be killed.
func (y *Yard) Services() []*harness.Proc {
	return slices.Concat(y.Planners, y.Executors, y.Renderers, []*harness.Proc{y.Gateway})
}

// File writes documents into the test's folder.
func (y *Yard) File(name, documents string) string {
	y.TB.Helper()
	path := filepath.Join(harness.Dir(y.TB), name)
	if err := os.WriteFile(path, []byte(documents), 0o600); err != nil {
		y.TB.Fatal(err)
	}
	return path
}

// Apply applies documents and wants them accepted.
func (y *Yard) Apply(documents string) {
	y.TB.Helper()
	path := y.File("apply.yaml", documents)
	y.Persist("apply", "-f", path, "--yes")
}

// Result is what a command gave.
type Result struct {
	Code     int
	Out, Err string
}

// Ctl runs yardctl against the gateway.
func (y *Yard) Ctl(args ...string) Result {
	y.TB.Helper()
	ctx, cancel := context.WithTimeout(y.TB.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Binary(y.TB, "yardctl"), args...)
	cmd.Env = append(os.Environ(), "YARDCTL_SERVER="+y.url, "NO_COLOR=1", "HOME="+harness.Dir(y.TB))
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		y.TB.Fatalf("yardctl %v: %v", args, err)
	}
	return Result{Code: cmd.ProcessState.ExitCode(), Out: out.String(), Err: errs.String()}
}

// Persist repeats a command while the yard cannot be reached, as a pipeline
// would; any other failure ends the test.
func (y *Yard) Persist(args ...string) {
	y.TB.Helper()
	err := harness.Poll(2*time.Minute, func() error {
		r := y.Ctl(args...)
		if r.Code == 0 {
			return nil
		}
		return fmt.Errorf("yardctl %s: exit %d: %s%s", strings.Join(args, " "), r.Code, r.Out, r.Err)
	})
	if err != nil {
		y.TB.Fatal(err)
	}
}

// Nodes reads the nodes of a fleet.
func (y *Yard) Nodes(fleet string) ([]*ymv1.NodeView, error) {
	ctx, cancel := context.WithTimeout(y.TB.Context(), 5*time.Second)
	defer cancel()
	res, err := y.API.ListNodes(ctx, connect.NewRequest(&ymv1.ListNodesRequest{Fleet: fleet}))
	if err != nil {
		return nil, err
	}
	return res.Msg.GetNodes(), nil
}

// Ready waits until a fleet has so many nodes and all are ready.
func (y *Yard) Ready(fleet string, want int, within time.Duration) {
	y.TB.Helper()
	harness.Wait(y.TB, fmt.Sprintf("%d ready nodes of %s", want, fleet), within, func() error {
		nodes, err := y.Nodes(fleet)
		if err != nil {
			return err
		}
		ready, waiting := 0, ""
		for _, n := range nodes {
			if n.GetState() == "ready" {
				ready++
			} else {
				waiting = fmt.Sprintf("%s is %s: %s %s (%s)", n.GetName(), n.GetState(), n.GetReason(), n.GetMessage(), n.GetWaitingFor())
			}
		}
		if ready != want || len(nodes) != want {
			return fmt.Errorf("%d of %d nodes are ready; %s", ready, len(nodes), waiting)
		}
		return nil
	})
}

// Settled waits until the ledger is at rest and checks it as a whole.
func (y *Yard) Settled(within time.Duration) *replay.Ledger {
	y.TB.Helper()
	var l *replay.Ledger
	err := harness.Poll(within, func() error {
		var err error
		if l, err = replay.Load(y.TB.Context(), y.conn.NATS(), y.Bus.Topology.Shards); err != nil {
			return err
		}
		if open := l.Settled(); len(open) > 0 {
			return fmt.Errorf("%d things are under way, such as %s", len(open), open[0])
		}
		return nil
	})
	if err != nil {
		y.TB.Errorf("not settled within %s: %v", within, err)
	}
	if l != nil {
		for _, line := range l.Check(nil) {
			y.TB.Errorf("broken promise: %s", line)
		}
	}
	return l
}

// Remove deletes a fleet and waits until its nodes are gone.
func (y *Yard) Remove(fleet string) {
	y.TB.Helper()
	y.Persist("delete", "fleet", fleet, "--yes")
	harness.Wait(y.TB, "the end of "+fleet, 2*time.Minute, func() error {
		nodes, err := y.Nodes(fleet)
		if connect.CodeOf(err) == connect.CodeNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		if len(nodes) > 0 {
			return fmt.Errorf("%d nodes are left, such as %s, %s: %s", len(nodes), nodes[0].GetName(), nodes[0].GetState(), nodes[0].GetMessage())
		}
		return nil
	})
}

// AllReady is Ready for thousands, whose list would cost more than the nodes.
func (y *Yard) AllReady(fleet string, want int, within time.Duration) {
	y.TB.Helper()
	harness.Wait(y.TB, fmt.Sprintf("%d ready nodes of %s", want, fleet), within, func() error {
		res, err := y.API.ListPools(y.TB.Context(), connect.NewRequest(&ymv1.ListPoolsRequest{Fleet: fleet}))
		if err != nil {
			return err
		}
		ready := int32(0)
		for _, p := range res.Msg.GetPools() {
			ready += p.GetStates()["ready"]
		}
		if ready != int32(want) {
			return fmt.Errorf("%d are", ready)
		}
		return nil
	})
}

// PoweredOn waits until so many VMs of a fleet were powered on and returns
// how long that took.
func (y *Yard) PoweredOn(fleet string, want int, since time.Time) time.Duration {
	y.TB.Helper()
	harness.Wait(y.TB, "VMs of "+fleet, 5*time.Minute, func() error {
		// The pool's counts, because 200 nodes twenty times a second would
		// cost more than what is measured.
		res, err := y.API.ListPools(y.TB.Context(), connect.NewRequest(&ymv1.ListPoolsRequest{Fleet: fleet}))
		if err != nil {
			return err
		}
		on := int32(0)
		for _, p := range res.Msg.GetPools() {
			on += p.GetStates()["booting"] + p.GetStates()["joining"] + p.GetStates()["ready"]
		}
		if on < int32(want) {
			return fmt.Errorf("%d of %d are on", on, want)
		}
		return nil
	})
	return time.Since(since)
}
