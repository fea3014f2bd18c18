// Package embedded runs a NATS server inside the process, with the settings
// that the ledger needs. It is a package of its own so that clients do not
// link the server.
package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"yardmaster.dev/pkg/bus"
)

// Options says how the server runs.
type Options struct {
	// Dir is where the store lies.
	Dir string
	// Host and Port are where it listens; port 0 picks a free one. An empty
	// Host does not listen at all: only this process can connect.
	Host string
	Port int
	// Users may connect; with none, everybody may do everything.
	Users []bus.Identity
	// MaxStore bounds the file store; zero is a part of the free disk.
	MaxStore int64
	// Log receives the server's own warnings and errors; nil drops them.
	Log *slog.Logger
}

// Server is a running server.
type Server struct {
	ns      *server.Server
	options Options
}

const startWait = 20 * time.Second

// Start starts a server and waits until it takes connections.
func Start(o Options) (*Server, error) {
	ns, err := server.NewServer(options(o))
	if err != nil {
		return nil, fmt.Errorf("make the embedded NATS server: %w", err)
	}
	if o.Log != nil {
		ns.SetLoggerV2(&logger{log: o.Log}, false, false, false)
	}
	ns.Start()
	if !ns.ReadyForConnections(startWait) {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, fmt.Errorf("start the embedded NATS server on %s: it was not ready within %s; is the port taken, or the store in use by another process?", net.JoinHostPort(o.Host, strconv.Itoa(o.Port)), startWait)
	}
	if !ns.JetStreamEnabled() {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, errors.New("start the embedded NATS server: JetStream did not start; see its log")
	}
	return &Server{ns: ns, options: o}, nil
}

// options holds the promises: see docs and the test that guards them.
func options(o Options) *server.Options {
	opts := &server.Options{
		ServerName: "yardmaster", Host: o.Host, Port: o.Port, DontListen: o.Host == "",
		NoSigs: true, NoSystemAccount: true,
		JetStream: true, StoreDir: o.Dir, SyncAlways: true,
		JetStreamMaxStore: o.MaxStore,
		JetStreamLimits: server.JSLimitOpts{
			MaxBatchInflightPerStream: bus.MaxBatchesPerStream,
			MaxBatchInflightTotal:     bus.MaxBatchesTotal,
		},
	}
	if o.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	opts.Nkeys = users(o.Users)
	return opts
}

func users(known []bus.Identity) []*server.NkeyUser {
	var out []*server.NkeyUser
	for _, u := range known {
		out = append(out, &server.NkeyUser{Nkey: u.PublicKey, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: u.Publish, Deny: u.DenyPublish},
			Subscribe: &server.SubjectPermission{Allow: u.Subscribe},
		}})
	}
	return out
}

// Reload has the server know these users and no others. Who is connected as
// another one is cut off.
func (s *Server) Reload(known []bus.Identity) error {
	opts := s.options
	opts.Users = known
	next := options(opts)
	if opts.Port == 0 {
		addr, ok := s.ns.Addr().(*net.TCPAddr)
		if ok {
			next.Port = addr.Port
		}
	}
	if err := s.ns.ReloadOptions(next); err != nil {
		return fmt.Errorf("reload the embedded NATS server: %w", err)
	}
	return nil
}

// InProcessConn connects without a socket: a Server is a provider for
// bus.Config.
func (s *Server) InProcessConn() (net.Conn, error) { return s.ns.InProcessConn() }

// URL is where clients connect.
func (s *Server) URL() string { return s.ns.ClientURL() }

// Config connects to this server as the user whose keys lie in dir; without
// a user as nobody in particular.
func (s *Server) Config(dir, user string) bus.Config {
	cfg := bus.Config{URL: s.URL(), InProcess: s, User: user}
	if user != "" {
		cfg.SeedFile = bus.SeedFile(dir, user)
	}
	return cfg
}

// Shutdown stops the server and waits for it.
func (s *Server) Shutdown() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
}

// logger passes on what matters.
type logger struct{ log *slog.Logger }

func (l *logger) Noticef(string, ...any) {}
func (l *logger) Debugf(string, ...any)  {}
func (l *logger) Tracef(string, ...any)  {}
func (l *logger) Warnf(format string, v ...any) {
	l.log.Warn("nats server", "detail", fmt.Sprintf(format, v...))
}

func (l *logger) Errorf(format string, v ...any) {
	l.log.Error("nats server", "detail", fmt.Sprintf(format, v...))
}

func (l *logger) Fatalf(format string, v ...any) {
	l.log.Error("nats server", "detail", fmt.Sprintf(format, v...))
}
