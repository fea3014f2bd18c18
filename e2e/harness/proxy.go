package harness

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy stands between a client and a server and can cut the line.
type Proxy struct {
	target string
	l      net.Listener
	group  sync.WaitGroup

	mu   sync.Mutex
	open bool
	live map[net.Conn]struct{}
}

// NewProxy forwards connections to target.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed by the cleanup
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{target: target, l: l, open: true, live: map[net.Conn]struct{}{}}
	p.group.Go(p.accept)
	tb.Cleanup(func() {
		_ = l.Close() // closing twice is all that can happen
		p.Cut()
		p.group.Wait()
	})
	return p
}

// Addr is where clients connect.
func (p *Proxy) Addr() string { return p.l.Addr().String() }

// Cut breaks every connection and refuses new ones.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = false
	for c := range p.live {
		_ = c.Close() // it may be closed already
	}
}

// Heal lets connections through again.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = true
}

func (p *Proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.group.Go(func() { p.serve(c) })
	}
}

func (p *Proxy) serve(c net.Conn) {
	defer c.Close() //nolint:errcheck // the other side may have closed it
	var d net.Dialer
	s, err := d.DialContext(context.Background(), "tcp", p.target) //nolint:forbidigo // loopback answers or refuses at once
	if err != nil {
		return
	}
	defer s.Close() //nolint:errcheck // the other side may have closed it
	if !p.register(c, s) {
		return
	}
	defer p.forget(c, s)
	var both sync.WaitGroup
	both.Go(func() { pipe(c, s) })
	both.Go(func() { pipe(s, c) })
	both.Wait()
}

func pipe(from, to net.Conn) {
	_, _ = io.Copy(to, from) // the end of a connection is no news here
	_ = to.Close()           // ends the other direction
}

func (p *Proxy) register(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.live[c] = struct{}{}
	}
	return p.open
}

func (p *Proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.live, c)
	}
}
