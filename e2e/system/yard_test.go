//go:build e2e

// Package system runs the whole yard as separate processes against the
// simulated vCenter, kills them, and looks at what is left in vCenter.
package system

import (
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

const site = "dc1"

// yard is every process of a production yard, two of those that take over.
type yard struct {
	tb        testing.TB
	bus       *harness.Bus
	sim       *harness.Simulator
	planners  []*harness.Proc
	executors []*harness.Proc
	renderer  *harness.Proc
	gateway   *harness.Proc
	vcenter   *harness.VCenter
	api       yardmasterv1connect.YardServiceClient
	conn      *bus.Conn
	url       string
}

func newYard(tb testing.TB, simulator ...string) *yard {
	tb.Helper()
	y := &yard{tb: tb}
	y.sim = harness.StartSimulator(tb, append([]string{
		"--clone-delay", "200ms", "--power-delay", "50ms", "--boot-delay", "500ms", "--phone-home-retry", "1s",
	}, simulator...)...)
	y.bus = harness.StartBus(tb, harness.BusOptions{Topology: subject.Topology{Shards: 1, Sites: []string{site}}})
	y.url = "http://" + harness.Addr(harness.Ports(tb, 1)[0])
	for i := range 2 {
		y.planners = append(y.planners, harness.StartService(tb, "planner", fmt.Sprintf("planner-%d", i), y.bus.ServiceArgs(subject.UserPlanner)...))
		y.executors = append(y.executors, harness.StartService(tb, "vsphere-executor", fmt.Sprintf("executor-%d", i),
			append(y.bus.ServiceArgs(subject.ConsumerVSphere(site)), "--site", site, "--seal-seed-file", bus.SealFile(y.bus.Dir, site))...))
	}
	secrets := filepath.Join(harness.Dir(tb), "secrets")
	if err := os.MkdirAll(secrets, 0o700); err != nil {
		tb.Fatal(err)
	}
	y.renderer = harness.StartService(tb, "renderer", "renderer-0",
		append(y.bus.ServiceArgs(subject.UserRenderer), "--secrets-dir", secrets, "--gateway", y.url)...)
	y.gateway = harness.StartService(tb, "gateway", "gateway-0",
		append(y.bus.ServiceArgs(subject.UserGateway), "--listen", strings.TrimPrefix(y.url, "http://"), "--observe", "true")...)
	y.vcenter = harness.NewVCenter(tb, y.sim.Login())
	y.conn = y.bus.Connect(tb, subject.UserWatcher)
	y.api = yardmasterv1connect.NewYardServiceClient(http.DefaultClient, y.url)
	harness.Wait(tb, "gateway", 30*time.Second, harness.Healthy(y.url+"/readyz"))
	y.apply(y.site() + network)
	return y
}

// services are all processes that may be killed.
func (y *yard) services() []*harness.Proc {
	return slices.Concat(y.planners, y.executors, []*harness.Proc{y.renderer, y.gateway})
}

func (y *yard) site() string {
	dir := harness.Dir(y.tb)
	for name, content := range map[string]string{"user": harness.SimulatorUser, "password": harness.SimulatorSecret} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			y.tb.Fatal(err)
		}
	}
	return fmt.Sprintf(`---
apiVersion: yardmaster.dev/v1alpha1
kind: Site
metadata: {name: %s}
spec:
  vsphere:
    url: %s
    username: {file: %s}
    password: {file: %s}
    thumbprint: %q
    datacenter: dc1
`, site, y.sim.URL(), filepath.Join(dir, "user"), filepath.Join(dir, "password"), y.sim.Thumbprint())
}

const network = `---
apiVersion: yardmaster.dev/v1alpha1
kind: Network
metadata: {name: lan}
spec:
  subnet: 10.0.0.0/16
  range: 10.0.1.0-10.0.4.255
  gateway: 10.0.0.1
  dns: [10.0.0.1]
  portgroup: VM Network
`

// fleetOf is a fleet with an own layer that shows every placeholder.
func fleetOf(name string, nodes int, more string) string {
	return fmt.Sprintf(`---
apiVersion: yardmaster.dev/v1alpha1
kind: Fleet
metadata: {name: %[1]s}
spec:
  os: {channel: stable, version: 4593.2.5}
  config:
    - role: base
    - role: static-net
    - butane: |
        variant: flatcar
        version: 1.0.0
        storage:
          files:
            - path: /etc/who
              mode: 0644
              contents:
                inline: "{{ .node.name }} {{ .node.hostname }} {{ .node.address }} {{ .vars.word }}"
  vars: {word: hello}
  pools:
    - name: w
      replicas: %[2]d
      networks: [{ref: lan}]
      vsphere: {site: dc1, cluster: c1, datastore: ds1, folder: %[1]s, cpus: 2, memory: 4Gi, clone: linked}
  protect: {maxDestroyPercent: 100}
%[3]s`, name, nodes, more)
}

// file writes documents into the test's folder.
func (y *yard) file(name, documents string) string {
	y.tb.Helper()
	path := filepath.Join(harness.Dir(y.tb), name)
	if err := os.WriteFile(path, []byte(documents), 0o600); err != nil {
		y.tb.Fatal(err)
	}
	return path
}

// apply applies documents and wants them accepted.
func (y *yard) apply(documents string) {
	y.tb.Helper()
	path := y.file("apply.yaml", documents)
	y.persist("apply", "-f", path, "--yes")
}

// result is what a command gave.
type result struct {
	code     int
	out, err string
}

// ctl runs yardctl against the gateway.
func (y *yard) ctl(args ...string) result {
	y.tb.Helper()
	ctx, cancel := context.WithTimeout(y.tb.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Binary(y.tb, "yardctl"), args...)
	cmd.Env = append(os.Environ(), "YARDCTL_SERVER="+y.url, "NO_COLOR=1", "HOME="+harness.Dir(y.tb))
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		y.tb.Fatalf("yardctl %v: %v", args, err)
	}
	return result{code: cmd.ProcessState.ExitCode(), out: out.String(), err: errs.String()}
}

// persist repeats a command while the yard cannot be reached, as a pipeline
// would; any other failure ends the test.
func (y *yard) persist(args ...string) {
	y.tb.Helper()
	err := harness.Poll(2*time.Minute, func() error {
		r := y.ctl(args...)
		if r.code == 0 {
			return nil
		}
		return fmt.Errorf("yardctl %s: exit %d: %s%s", strings.Join(args, " "), r.code, r.out, r.err)
	})
	if err != nil {
		y.tb.Fatal(err)
	}
}

// nodes reads the nodes of a fleet.
func (y *yard) nodes(fleet string) ([]*ymv1.NodeView, error) {
	ctx, cancel := context.WithTimeout(y.tb.Context(), 5*time.Second)
	defer cancel()
	res, err := y.api.ListNodes(ctx, connect.NewRequest(&ymv1.ListNodesRequest{Fleet: fleet}))
	if err != nil {
		return nil, err
	}
	return res.Msg.GetNodes(), nil
}

// ready waits until a fleet has so many nodes and all are ready.
func (y *yard) ready(fleet string, want int, within time.Duration) {
	y.tb.Helper()
	harness.Wait(y.tb, fmt.Sprintf("%d ready nodes of %s", want, fleet), within, func() error {
		nodes, err := y.nodes(fleet)
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

// settled waits until the ledger is at rest and checks it as a whole.
func (y *yard) settled(within time.Duration) *replay.Ledger {
	y.tb.Helper()
	var l *replay.Ledger
	err := harness.Poll(within, func() error {
		var err error
		if l, err = replay.Load(y.tb.Context(), y.conn.NATS(), y.bus.Topology.Shards); err != nil {
			return err
		}
		if open := l.Settled(); len(open) > 0 {
			return fmt.Errorf("%d things are under way, such as %s", len(open), open[0])
		}
		return nil
	})
	if err != nil {
		y.tb.Errorf("not settled within %s: %v", within, err)
	}
	if l != nil {
		for _, line := range l.Check(nil) {
			y.tb.Errorf("broken promise: %s", line)
		}
	}
	return l
}
