package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"yardmaster.dev/pkg/reread"
)

// keyEvery is how often a connection looks whether its key changed, and how
// often it tries one that the server does not know yet.
const keyEvery = 3 * time.Second

// identity is the key that a connection presents.
type identity struct {
	file *reread.Value[[]nkeys.KeyPair]

	mu     sync.Mutex
	key    nkeys.KeyPair
	public string
}

func newIdentity(ctx context.Context, file string, log *slog.Logger) (*identity, error) {
	held, err := reread.Of(log, func(contents [][]byte) ([]nkeys.KeyPair, error) { return ParseKeys(contents[0]) }, file)
	if err != nil {
		return nil, fmt.Errorf("read the bus user's seed file %s: %w", file, err)
	}
	i := &identity{file: held}
	return i, i.use(held.Get(ctx)[0])
}

// use presents key from the next dial on.
func (i *identity) use(key nkeys.KeyPair) error {
	public, err := key.PublicKey()
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key, i.public = key, public
	return nil
}

func (i *identity) presents() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.public
}

func (i *identity) sign(nonce []byte) ([]byte, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.key.Sign(nonce)
}

// better returns the keys of the file that are to be preferred to the one
// presented: those before it while it works, all others if it does not.
func (i *identity) better(ctx context.Context, works bool) []nkeys.KeyPair {
	present := i.presents()
	var out []nkeys.KeyPair
	for _, key := range i.file.Get(ctx) {
		public, err := key.PublicKey()
		switch {
		case err != nil:
		case public != present:
			out = append(out, key)
		case works:
			return out
		}
	}
	return out
}

// dialer makes a connection's sockets. The client reads the public key from
// its options and has no callback for it; but it dials under its own lock,
// right before it reads it, so that this is where the key can change.
type dialer struct {
	*identity
	net.Dialer
	inProcess nats.InProcessConnProvider
	nc        atomic.Pointer[nats.Conn]
}

func (d *dialer) present() {
	if nc := d.nc.Load(); nc != nil {
		nc.Opts.Nkey = d.presents()
	}
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	d.present()
	return d.Dialer.Dial(network, address)
}

// InProcessConn implements nats.InProcessConnProvider.
func (d *dialer) InProcessConn() (net.Conn, error) {
	d.present()
	return d.inProcess.InProcessConn()
}

func (d *dialer) options() []nats.Option {
	opts := []nats.Option{nats.Nkey(d.presents(), d.sign), nats.SetCustomDialer(d)}
	if d.inProcess != nil {
		opts = append(opts, nats.InProcessServer(d))
	}
	return opts
}

// another presents another key of the file, after tried ones were refused.
func (d *dialer) another(ctx context.Context, tried map[string]bool) bool {
	tried[d.presents()] = true
	for _, key := range d.better(ctx, false) {
		if public, err := key.PublicKey(); err == nil && !tried[public] {
			return d.use(key) == nil
		}
	}
	return false
}

// followKey takes up a changed key until ctx ends. The key is tried on a
// connection of its own first: a server that does not know it yet must not
// cost us the one that we have.
func (c *Conn) followKey(ctx context.Context) {
	tick := time.NewTicker(keyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, key := range c.dialer.better(ctx, c.nc.IsConnected()) {
			err := c.try(key)
			if err == nil {
				c.log.InfoContext(ctx, "bus key taken up", "user", c.user)
				c.Reconnect("its key changed")
				break
			}
			level := slog.LevelDebug
			if errors.Is(err, nats.ErrAuthorization) {
				level = slog.LevelWarn
			}
			c.log.Log(ctx, level, "bus key of the seed file is not taken", "user", c.user, "err", err)
		}
	}
}

// try connects with key and, if that works, presents it from then on.
func (c *Conn) try(key nkeys.KeyPair) error {
	public, err := key.PublicKey()
	if err != nil {
		return err
	}
	nc, err := nats.Connect(c.url, append(slices.Clone(c.transport), nats.Nkey(public, key.Sign), nats.NoReconnect())...)
	if err != nil {
		return err
	}
	nc.Close()
	return c.dialer.use(key)
}
