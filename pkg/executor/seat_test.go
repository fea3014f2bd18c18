package executor_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/bus/embedded"
	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

const site = "dc1"

// testBus is a bus with its own server.
type testBus struct {
	server *embedded.Server
	dir    string
}

func newBus(t *testing.T, shards int) *testBus {
	t.Helper()
	b := &testBus{dir: t.TempDir()}
	topology := subject.Topology{Shards: shards, Sites: []string{site}, Replicas: 1}
	users, err := bus.MakeUsers(b.dir, topology)
	if err != nil {
		t.Fatal(err)
	}
	b.server, err = embedded.Start(embedded.Options{Dir: t.TempDir(), Host: "127.0.0.1", Users: users})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.server.Shutdown)
	if err := bus.Init(t.Context(), b.connect(t, subject.UserAdmin), topology); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *testBus) connect(t *testing.T, user string) *bus.Conn {
	t.Helper()
	c, err := bus.Connect(t.Context(), b.server.Config(b.dir, user), "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// executor connects as the site's executor, which may do no more than it
// needs.
func (b *testBus) executor(t *testing.T) *bus.Conn {
	t.Helper()
	return b.connect(t, subject.ConsumerVSphere(site))
}

func (b *testBus) seat(t *testing.T, holder string, ttl time.Duration) *executor.Seat {
	t.Helper()
	return &executor.Seat{Conn: b.executor(t), Site: site, Holder: holder, SealKey: func(context.Context) (string, error) { return "XKEY", nil }, TTL: ttl, Log: slog.New(slog.DiscardHandler)}
}

func record(t *testing.T, c *bus.Conn) wire.Seat {
	t.Helper()
	m, err := c.Last(t.Context(), subject.ShardStream(0), subject.Seat(site))
	if err != nil {
		t.Fatal(err)
	}
	s, err := wire.DecodeSeat(m.Type(), m.Version(), m.Data)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// holding runs Hold and tells when the seat is taken; stop ends it.
func holding(t *testing.T, s *executor.Seat) (epoch int64, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	taken := make(chan int64, 1)
	var group sync.WaitGroup
	group.Go(func() {
		_ = s.Hold(ctx, func(ctx context.Context, epoch int64) error {
			taken <- epoch
			<-ctx.Done()
			return nil
		})
	})
	stop = func() { cancel(); group.Wait() }
	t.Cleanup(stop)
	return <-taken, stop
}

func TestSeatIsGivenUpOnAStop(t *testing.T) {
	t.Parallel()
	b := newBus(t, 1)
	// With an hour to run out, only giving up can let the next one in.
	first, second := b.seat(t, "first", time.Hour), b.seat(t, "second", time.Hour)
	epoch, stop := holding(t, first)
	if r := record(t, first.Conn); r.Holder != "first" || r.Epoch != epoch || r.SealKey != "XKEY" || time.Until(r.Until) < time.Minute {
		t.Errorf("record %+v; want first's, epoch %d, for an hour", r, epoch)
	}
	stop()
	second.TTL = time.Second
	next, _ := holding(t, second)
	if next != epoch+1 {
		t.Errorf("epoch %d after %d; want the next", next, epoch)
	}
	if err := first.Confirm(t.Context(), epoch); fault.Of(err).Kind != fault.Cancelled {
		t.Errorf("Confirm of a seat that was given up: %v; want cancelled", err)
	}
	if err := second.Confirm(t.Context(), next); err != nil {
		t.Errorf("Confirm: %v", err)
	}
}

func TestSeatHasOneHolder(t *testing.T) {
	t.Parallel()
	b := newBus(t, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var holders, most, turns atomic.Int32
	var group sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		seat := b.seat(t, name, time.Second)
		group.Go(func() {
			for ctx.Err() == nil {
				turn, end := context.WithCancel(ctx)
				_ = seat.Hold(turn, func(context.Context, int64) error {
					most.Store(max(most.Load(), holders.Add(1)))
					if turns.Add(1) == 12 {
						stop()
					}
					holders.Add(-1)
					end() // a clean stop of this replica, so that the seat is given up
					return nil
				})
			}
		})
	}
	group.Wait()
	if most.Load() != 1 {
		t.Errorf("%d holders at once; want 1", most.Load())
	}
}

// TestFrozenHolder: a holder that is stopped (its connection is cut, which is
// all that others see of it) loses the seat, and knows when it wakes.
func TestFrozenHolder(t *testing.T) {
	t.Parallel()
	b := newBus(t, 1)
	frozen, other := b.seat(t, "frozen", time.Second), b.seat(t, "other", time.Second)
	ctx := t.Context()
	taken, lost := make(chan int64, 1), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		_ = frozen.Hold(ctx, func(ctx context.Context, epoch int64) error {
			taken <- epoch
			<-ctx.Done()
			close(lost)
			return nil
		})
	})
	epoch := <-taken
	frozen.Conn.NATS().Close()
	next, stop := holding(t, other)
	if next <= epoch {
		t.Errorf("epoch %d after %d; want a higher one", next, epoch)
	}
	<-lost // its work was ended
	group.Wait()
	if err := frozen.Confirm(ctx, epoch); fault.Of(err).Kind != fault.Cancelled {
		t.Errorf("Confirm after waking: %v; want cancelled", err)
	}
	stop()
}

// TestSeatTakenBehindItsBack: the record says another epoch although our own
// clock says that we still have the seat.
func TestSeatTakenBehindItsBack(t *testing.T) {
	t.Parallel()
	b := newBus(t, 1)
	s := b.seat(t, "first", time.Hour)
	epoch, _ := holding(t, s)
	m, err := wire.EncodeSeat(wire.Seat{Holder: "thief", Epoch: epoch + 1, Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	thief := b.executor(t)
	if _, err := thief.Publish(t.Context(), bus.Rollup(bus.NewMsg(subject.Seat(site), m))); err != nil {
		t.Fatal(err)
	}
	if err := s.Confirm(t.Context(), epoch); fault.Of(err).Kind != fault.Cancelled {
		t.Errorf("Confirm: %v; want cancelled", err)
	}
}
