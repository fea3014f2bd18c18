package harness

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/proto/subject"
)

// Bus is one nats-server process, or a cluster of three, with the users,
// permissions, streams and consumers of a topology.
type Bus struct {
	Topology subject.Topology
	// Dir holds the users' seeds in users/.
	Dir     string
	Servers []*Proc
	// URLs are the servers' client URLs.
	URLs []string

	// conf is the configuration of a single server.
	conf func([]bus.Identity) string
}

// BusOptions says what kind of bus.
type BusOptions struct {
	Topology subject.Topology
	// Store is the folder of the single server's store; empty is one in the
	// test's folder.
	Store string
	// Nets, if set, runs a cluster: one server in each.
	Nets []Net
}

// Net is where a server of a cluster lives.
type Net struct {
	// Addr is its IP address; Space its network name space, empty for ours.
	Addr  string
	Space string
}

// StartBus makes the keys, starts the servers and makes the streams.
func StartBus(tb testing.TB, o BusOptions) *Bus {
	tb.Helper()
	b := &Bus{Topology: o.Topology, Dir: filepath.Join(Dir(tb), "bus")}
	users, err := bus.MakeUsers(b.Dir, o.Topology)
	if err != nil {
		tb.Fatal(err)
	}
	if len(o.Nets) == 0 {
		store := o.Store
		if store == "" {
			store = filepath.Join(Dir(tb), "store")
		}
		port := Ports(tb, 1)[0]
		b.conf = func(users []bus.Identity) string {
			return fmt.Sprintf("server_name: n0\nlisten: %q\n%s", Addr(port), bus.ServerConfig(store, users))
		}
		b.serve(tb, "nats", b.conf(users), Net{Addr: "127.0.0.1"}, port)
	} else {
		b.cluster(tb, o.Nets, users)
	}
	b.init(tb)
	return b
}

// cluster gives every server the same ports in its own network.
func (b *Bus) cluster(tb testing.TB, nets []Net, users []bus.Identity) {
	tb.Helper()
	const client, route = 4222, 6222
	var routes []string
	for _, n := range nets {
		routes = append(routes, fmt.Sprintf("nats-route://%s:%d", n.Addr, route))
	}
	for i, n := range nets {
		store := filepath.Join(Dir(tb), fmt.Sprintf("store%d", i))
		conf := fmt.Sprintf("server_name: n%d\nlisten: \"%s:%d\"\ncluster {\n  name: yard\n  listen: \"%s:%d\"\n  routes: [%s]\n}\n%s",
			i, n.Addr, client, n.Addr, route, strings.Join(routes, ", "), bus.ServerConfig(store, users))
		b.serve(tb, fmt.Sprintf("nats%d", i), conf, n, client)
	}
}

func (b *Bus) serve(tb testing.TB, name, conf string, at Net, port int) {
	tb.Helper()
	file := filepath.Join(Dir(tb), name+".conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		tb.Fatal(err)
	}
	spec := Spec{Name: name, Path: Binary(tb, "nats-server"), Args: []string{"-c", file}}
	if at.Space != "" {
		// Not "ip netns exec": that makes a mount name space as well, which
		// keeps every volume of this machine mounted.
		nsenter, err := exec.LookPath("nsenter")
		if err != nil {
			tb.Fatal(err)
		}
		spec.Args = append([]string{"--net=/run/netns/" + at.Space, spec.Path}, spec.Args...)
		spec.Path = nsenter
	}
	b.Servers = append(b.Servers, Start(tb, spec))
	b.URLs = append(b.URLs, fmt.Sprintf("nats://%s:%d", at.Addr, port))
}

// Reload has a single server know the users' keys of the present.
func (b *Bus) Reload(tb testing.TB) {
	tb.Helper()
	users, err := bus.MakeUsers(b.Dir, b.Topology)
	if err == nil {
		err = os.WriteFile(filepath.Join(Dir(tb), "nats.conf"), []byte(b.conf(users)), 0o600)
	}
	if err != nil {
		tb.Fatal(err)
	}
	b.Servers[0].raw(syscall.SIGHUP)
}

// URL lists every server, with commas.
func (b *Bus) URL() string { return strings.Join(b.URLs, ",") }

// Config is how a user connects.
func (b *Bus) Config(user string) bus.Config {
	return bus.Config{URL: b.URL(), SeedFile: bus.SeedFile(b.Dir, user)}
}

// Connect connects as a user until the test ends.
func (b *Bus) Connect(tb testing.TB, user string) *bus.Conn {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	defer cancel()
	c, err := bus.Connect(ctx, b.Config(user), "e2e", slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

func (b *Bus) init(tb testing.TB) {
	tb.Helper()
	admin := b.Connect(tb, subject.UserAdmin)
	Wait(tb, "streams", time.Minute, func() error { return bus.Init(tb.Context(), admin, b.Topology) })
}

// StartPlainBus is a server with the product's settings and without users,
// for what is measured beside it.
func StartPlainBus(tb testing.TB, store string) *nats.Conn {
	tb.Helper()
	port := Ports(tb, 1)[0]
	conf, _, _ := strings.Cut(bus.ServerConfig(store, nil), "authorization")
	b := &Bus{}
	b.serve(tb, "plain", fmt.Sprintf("listen: %q\n%s", Addr(port), conf), Net{Addr: "127.0.0.1"}, port)
	var nc *nats.Conn
	Wait(tb, "plain server", 20*time.Second, func() (err error) {
		nc, err = nats.Connect(b.URL())
		return err
	})
	tb.Cleanup(nc.Close)
	return nc
}
