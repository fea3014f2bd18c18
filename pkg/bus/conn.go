// Package bus connects to NATS JetStream: connections with the settings that
// the ledger needs, the topology of proto/subject made and checked, users
// and their keys, reads of single messages, heartbeats.
//
// It writes nothing of its own but the yard record (by [Init], with the
// administrator's credentials) and the heartbeats.
package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"yardmaster.dev/proto/subject"
)

// Config says where the bus is and who we are there. The zero value is a
// server on loopback without users.
type Config struct {
	// URL of one server or several with commas, default nats://127.0.0.1:4222.
	URL string `json:"url"`
	// SeedFile holds the user's nkey seed, and after it an older one while
	// it is rotated. Its name without .nk is the user, unless User says
	// otherwise.
	SeedFile string `json:"seedFile"`
	User     string `json:"user"`
	Password string `json:"password"`
	// CAFile is a PEM bundle that signed the server's certificate; with it
	// the connection is TLS.
	CAFile string `json:"caFile"`
	// CertFile and KeyFile are a client certificate.
	CertFile string `json:"certFile"`
	KeyFile  string `json:"keyFile"`
	// InProcess, if set, is a server in this process.
	InProcess nats.InProcessConnProvider `json:"-"`
}

// The settings of every connection. A client would stay on a server that
// was cut off for minutes if it did not ping.
const (
	pingInterval  = time.Second
	pingsMissed   = 2
	reconnectWait = 100 * time.Millisecond
	refusedWait   = time.Second
	connectWait   = 2 * time.Second
	// CallTimeout bounds one request to JetStream.
	CallTimeout = 2 * time.Second
	// patience is how many failures in a row move us to another server.
	patience = 3
)

// Conn is a connection to the bus.
type Conn struct {
	nc   *nats.Conn
	js   jetstream.JetStream
	log  *slog.Logger
	user string
	url  string
	// transport is how a server is reached.
	transport []nats.Option
	// dialer has the key, nil without one.
	dialer *dialer

	failed chan error
	// refused means that the server does not take our key.
	refused    atomic.Bool
	background sync.WaitGroup
	stop       context.CancelFunc

	mu         sync.Mutex
	generation uint64
	changed    chan struct{}
	failures   int
}

// Connect connects as name. It waits for a server that is not there yet,
// until ctx ends; wrong credentials are an error at once.
func Connect(ctx context.Context, cfg Config, name string, log *slog.Logger) (*Conn, error) {
	c := &Conn{
		log: log, user: cfg.user(), url: cmp.Or(cfg.URL, nats.DefaultURL), transport: cfg.transport(),
		failed: make(chan error, 1), changed: make(chan struct{}), stop: func() {},
	}
	if cfg.SeedFile != "" {
		key, err := newIdentity(ctx, cfg.SeedFile, log)
		if err != nil {
			return nil, err
		}
		c.dialer = &dialer{identity: key, Dialer: net.Dialer{Timeout: connectWait}, inProcess: cfg.InProcess}
	}
	if err := c.dial(ctx, cfg.options(name, c)); err != nil {
		return nil, err
	}
	if c.dialer != nil {
		background, stop := context.WithCancel(context.WithoutCancel(ctx))
		c.stop = stop
		c.background.Go(func() { c.followKey(background) })
	}
	var err error
	c.js, err = jetstream.New(c.nc, jetstream.WithDefaultTimeout(CallTimeout))
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("use JetStream: %w", err)
	}
	return c, nil
}

func (c *Conn) dial(ctx context.Context, opts []nats.Option) error {
	url, wait, tried := c.url, reconnectWait, map[string]bool{}
	for {
		nc, err := nats.Connect(url, append(slices.Clone(opts), c.key()...)...)
		if err == nil {
			c.nc = nc
			if c.dialer != nil {
				c.dialer.nc.Store(nc)
			}
			return nil
		}
		if errors.Is(err, nats.ErrAuthorization) {
			if c.dialer != nil && c.dialer.another(ctx, tried) {
				continue
			}
			return fmt.Errorf("connect to NATS at %s as %q: %w; the server must know the user's public key (yardmaster bus config prints its configuration)", url, c.user, err)
		}
		c.log.WarnContext(ctx, "bus is not reachable", "url", url, "err", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("connect to NATS at %s: %w", url, err)
		case <-time.After(wait):
			wait = min(2*wait, connectWait)
		}
	}
}

func (cfg Config) user() string {
	if cfg.User != "" || cfg.SeedFile == "" {
		return cfg.User
	}
	return strings.TrimSuffix(filepath.Base(cfg.SeedFile), ".nk")
}

// key is the option that presents our key.
func (c *Conn) key() []nats.Option {
	if c.dialer == nil {
		return nil
	}
	return c.dialer.options()
}

// transport is how a server is reached. Certificates are read again for each
// connection.
func (cfg Config) transport() []nats.Option {
	opts := []nats.Option{nats.Timeout(connectWait)}
	if cfg.InProcess != nil {
		opts = append(opts, nats.InProcessServer(cfg.InProcess))
	}
	if cfg.CAFile != "" {
		opts = append(opts, nats.RootCAs(cfg.CAFile))
	}
	if cfg.CertFile != "" {
		opts = append(opts, nats.ClientCert(cfg.CertFile, cfg.KeyFile))
	}
	return opts
}

func (cfg Config) options(name string, c *Conn) []nats.Option {
	opts := append(
		slices.Clone(c.transport),
		nats.Name(name),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsMissed),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(c.delay),
		// A key that is refused may be known again in a moment, or another
		// one stand in its file.
		nats.IgnoreAuthErrorAbort(),
		// Half a batch that was buffered must not be sent later.
		nats.ReconnectBufSize(-1),
		nats.ErrorHandler(c.onError),
		nats.ReconnectHandler(c.onReconnect),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				c.log.Warn("bus connection lost", "err", err)
			}
		}),
		nats.ClosedHandler(func(nc *nats.Conn) {
			if err := nc.LastError(); err != nil {
				c.fail(fmt.Errorf("bus connection was closed: %w", err))
			}
		}),
	)
	if user := cfg.user(); user != "" {
		opts = append(opts, nats.CustomInboxPrefix(subject.InboxPrefix(user)))
	}
	if cfg.Password != "" && cfg.SeedFile == "" {
		opts = append(opts, nats.UserInfo(cfg.User, cfg.Password))
	}
	return opts
}

// delay is the pause before a reconnect: short, unless the server is there
// and refuses us.
func (c *Conn) delay(int) time.Duration {
	wait := reconnectWait
	if c.refused.Load() {
		wait = refusedWait
	}
	return wait + rand.N(wait)
}

func (c *Conn) onError(_ *nats.Conn, _ *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrPermissionViolation) || strings.Contains(strings.ToLower(err.Error()), "permissions violation") {
		// The caller of a refused publish sees a timeout only, so that this
		// is the one place where the reason is known.
		c.log.Error("bus refuses this user", "user", c.user, "err", err)
		c.fail(fmt.Errorf("the bus refuses user %q: %w; its permissions are older than this program or belong to another service: give the server what yardmaster bus config prints", c.user, err))
		return
	}
	if errors.Is(err, nats.ErrAuthorization) {
		if !c.refused.Swap(true) {
			c.log.Error("bus does not take this user's key (any more); trying on with what its seed file holds", "user", c.user, "err", err)
		}
		return
	}
	c.log.Warn("bus error", "err", err)
}

func (c *Conn) fail(err error) {
	select {
	case c.failed <- err:
	default:
	}
}

func (c *Conn) onReconnect(nc *nats.Conn) {
	c.refused.Store(false)
	c.log.Info("bus connection is back", "server", nc.ConnectedUrlRedacted())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	c.failures = 0
	close(c.changed)
	c.changed = make(chan struct{})
}

// Failed delivers what this connection cannot recover from: a refused
// publish or subscription, or its end. The service must stop with it.
func (c *Conn) Failed() <-chan error { return c.failed }

// Generation counts the reconnects; the channel is closed by the next one.
// Whoever holds a memory of a stream throws it away then.
func (c *Conn) Generation() (uint64, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.generation, c.changed
}

// NATS is the underlying connection.
func (c *Conn) NATS() *nats.Conn { return c.nc }

// JS is the JetStream context of this connection.
func (c *Conn) JS() jetstream.JetStream { return c.js }

// User is the name of the bus user, empty without users.
func (c *Conn) User() string { return c.user }

// Worked and Struggled count: after three failures in a row the connection
// moves to another server, since the one it has may be cut off from its
// peers and still answer pings.
func (c *Conn) Worked() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = 0
}

// Struggled reports a call that timed out or had no answer.
func (c *Conn) Struggled() {
	c.mu.Lock()
	c.failures++
	enough := c.failures >= patience
	c.mu.Unlock()
	if enough {
		c.Reconnect("three calls in a row failed")
	}
}

// Reconnect drops the connection and makes a new one, to another server if
// there is one.
func (c *Conn) Reconnect(why string) {
	c.mu.Lock()
	c.failures = 0
	c.mu.Unlock()
	if !c.nc.IsConnected() {
		return
	}
	c.log.Warn("reconnecting to the bus", "reason", why)
	if err := c.nc.ForceReconnect(); err != nil {
		c.log.Warn("bus does not let us reconnect", "err", err)
	}
}

// Close ends the connection after what was sent has left.
func (c *Conn) Close() {
	c.stop()
	c.background.Wait()
	if c.nc.IsConnected() {
		_ = c.nc.FlushTimeout(time.Second) // whoever needs certainty has had an ack
	}
	c.nc.Close()
}
