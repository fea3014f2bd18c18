package simulator

import (
	"context"
	"net"
	"sync"
	"time"

	"yardmaster.dev/pkg/service"
)

// door is a listener that can be shut for a time: the port then refuses
// connections, and those that were open are cut.
type door struct {
	addr string

	mu     sync.Mutex
	inner  net.Listener
	opened chan struct{} // closed when inner is open
	done   chan struct{}
	conns  map[net.Conn]bool
}

func openDoor(ctx context.Context, addr string) (*door, error) {
	l, err := service.Listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	d := &door{addr: l.Addr().String(), inner: l, opened: make(chan struct{}), done: make(chan struct{}), conns: map[net.Conn]bool{}}
	close(d.opened)
	return d, nil
}

// Accept waits while the door is shut.
func (d *door) Accept() (net.Conn, error) {
	for {
		d.mu.Lock()
		inner, opened := d.inner, d.opened
		d.mu.Unlock()
		select {
		case <-opened:
		case <-d.done:
			return nil, net.ErrClosed
		}
		conn, err := inner.Accept()
		if err == nil {
			return d.track(conn), nil
		}
		if !d.shutMeanwhile(inner) {
			return nil, err
		}
	}
}

func (d *door) shutMeanwhile(inner net.Listener) bool {
	select {
	case <-d.done:
		return false
	default:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.opened:
		return d.inner != inner
	default:
		return true
	}
}

// Close shuts the door for good.
func (d *door) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.done:
		return net.ErrClosed
	default:
	}
	close(d.done)
	return d.inner.Close()
}

// Addr is the address the door is at.
func (d *door) Addr() net.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inner.Addr()
}

// shut closes the port and cuts what is open. It reports whether it was open.
func (d *door) shut() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.opened:
	default:
		return false
	}
	d.opened = make(chan struct{})
	_ = d.inner.Close() // the error would be that it is closed already
	for c := range d.conns {
		_ = c.Close()
	}
	return true
}

// open listens again, and tries until it can: somebody may have the port for
// a moment.
func (d *door) open(ctx context.Context) error {
	for {
		l, err := service.Listen(ctx, d.addr)
		if err == nil {
			d.mu.Lock()
			d.inner = l
			close(d.opened)
			d.mu.Unlock()
			return nil
		}
		select {
		case <-time.After(openRetry):
		case <-ctx.Done():
			return err
		}
	}
}

const openRetry = 100 * time.Millisecond

// track remembers a connection until it is closed.
func (d *door) track(c net.Conn) net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns[c] = true
	return &visitor{Conn: c, d: d}
}

type visitor struct {
	net.Conn
	d *door
}

// Close forgets the connection.
func (v *visitor) Close() error {
	v.d.mu.Lock()
	delete(v.d.conns, v.Conn)
	v.d.mu.Unlock()
	return v.Conn.Close()
}
