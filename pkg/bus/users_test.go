package bus_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// refused reports whether a publish fails, and that its connection says why.
func refused(t *testing.T, c *bus.Conn, of string) {
	t.Helper()
	if err := c.NATS().Publish(of, nil); err != nil {
		t.Fatalf("publish %s: %v", of, err)
	}
	select {
	case err := <-c.Failed():
		if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), c.User()) {
			t.Errorf("publish %s: the connection failed with %v; want a permission violation of %s", of, err, c.User())
		}
	case <-time.After(patience):
		t.Errorf("user %s may publish %s", c.User(), of)
	}
}

// TestUsersAreRefused tries what each service must not do.
func TestUsersAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	executor := subject.ConsumerVSphere("a")
	for user, subjects := range map[string][]string{
		executor: {
			subject.Node(0, "web", "w-0"), subject.Fleet(1, "web"), subject.Job(0, "vsphere", "a", "web", "w-0", 1),
			subject.Event(0, "web", "w-0", 1), subject.Command(0, "web", "c1"),
			subject.Result(0, "vsphere", "b", "web", "w-0", 1, 1), subject.Result(0, "render", "a", "web", "w-0", 1, 1),
			subject.Seat("b"), subject.Config("a", "d"), subject.Config("b", "d"),
			subject.Observation("b", "web", "w-0", subject.AspectAddress),
			"$JS.API.DIRECT.GET.CFG_b." + subject.Config("b", "d"), "$JS.API.DIRECT.GET.YM_0." + subject.Node(0, "web", "w-0"),
			"$JS.API.DIRECT.GET.YM_0." + subject.Job(0, "vsphere", "b", "web", "w-0", 1),
			"$JS.API.CONSUMER.MSG.NEXT.YM_0.vsphere-b", "$JS.API.CONSUMER.MSG.NEXT.YM_0.planner",
			"$JS.API.CONSUMER.CREATE.YM_0.mine", "$JS.API.STREAM.DELETE.YM_0", "$JS.API.STREAM.PURGE.YM_0",
			"$JS.ACK.YM_0.vsphere-b.1.1.1.1.1", "_INBOX_renderer.x", "_INBOX_gateway.x",
			subject.Ask("a", "machines"), subject.Ask("b", "machines"), subject.Answer("b", "q1"),
		},
		subject.UserRenderer: {
			subject.Result(0, "vsphere", "a", "web", "w-0", 1, 1), subject.Node(0, "web", "w-0"), subject.Seat("a"),
			subject.Command(0, "web", "c1"), "$JS.API.CONSUMER.MSG.NEXT.YM_0.vsphere-a", "$JS.API.STREAM.DELETE.CFG_a",
			subject.Ask("a", "machines"), subject.Answer("a", "q1"),
			"$JS.API.DIRECT.GET.CFG_a." + subject.Config("a", "d"),
		},
		subject.UserGateway: {
			subject.Node(0, "web", "w-0"), subject.Yard(), subject.Receipt(0, "web", "c1"), subject.Event(0, "web", "w-0", 1),
			subject.Result(0, "vsphere", "a", "web", "w-0", 1, 1), subject.Step(0, "web"), subject.Config("a", "d"),
			"$JS.API.CONSUMER.MSG.NEXT.YM_0.planner", "$JS.API.CONSUMER.DELETE.YM_0.planner",
			"$JS.API.CONSUMER.CREATE.YM_0.planner." + subject.InputFilter(0), "$JS.API.STREAM.UPDATE.YM_0",
			subject.Answer("a", "q1"),
		},
		subject.UserPlanner: {
			subject.Command(0, "web", "c1"), subject.Result(0, "vsphere", "a", "web", "w-0", 1, 1), subject.Seat("a"), subject.Yard(),
			subject.Config("a", "d"), "$JS.API.STREAM.DELETE.YM_0", "$JS.API.STREAM.PURGE.YM_0", "$JS.API.STREAM.MSG.DELETE.YM_0",
			subject.Ask("a", "machines"),
			"$JS.API.CONSUMER.DELETE.YM_0.render", "$JS.API.CONSUMER.MSG.NEXT.YM_0.render",
		},
		subject.UserWatcher: {
			subject.Command(0, "web", "c1"), subject.Node(0, "web", "w-0"), "$JS.API.CONSUMER.MSG.NEXT.YM_1.planner",
			subject.Ask("a", "machines"), subject.Answer("a", "q1"),
			"$JS.API.DIRECT.GET.CFG_a." + subject.Config("a", "d"),
		},
		subject.UserAdmin: {subject.Node(0, "web", "w-0"), subject.Command(0, "web", "c1")},
	} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			for _, s := range subjects {
				refused(t, w.connect(user), s)
			}
		})
	}
}

// TestUsersCannotListen tries to read what others are answered.
func TestUsersCannotListen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	executor := subject.ConsumerVSphere("a")
	for user, subjects := range map[string][]string{
		subject.UserGateway:  {">", "_INBOX.>", subject.InboxPrefix(subject.UserRenderer) + ".>", "cfg.>", "ym.>", subject.Ask("a", "*")},
		executor:             {subject.Ask("b", "*"), subject.Ask("*", "*"), subject.Answer("a", "*")},
		subject.UserRenderer: {subject.Ask("a", "*"), subject.Answer("a", "*")},
		subject.UserWatcher:  {subject.Answer("*", "*")},
	} {
		for _, of := range subjects {
			c := w.connect(user)
			if _, err := c.NATS().SubscribeSync(of); err != nil {
				t.Fatal(err)
			}
			select {
			case <-c.Failed():
			case <-time.After(patience):
				t.Errorf("%s may subscribe to %s", user, of)
			}
		}
	}
}

// TestUsersMayWork does once what each service does; the loop's own tests in
// ledger run as these users too.
func TestUsersMayWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	publish := func(user, of string, m wire.Message) {
		t.Helper()
		c := w.connect(user)
		if _, err := c.Publish(ctx, bus.NewMsg(of, m)); err != nil {
			t.Errorf("user %s: %v", user, err)
		}
		select {
		case err := <-c.Failed():
			t.Errorf("user %s: %v", user, err)
		default:
		}
	}
	seat, err := wire.EncodeSeat(wire.Seat{Holder: "me", Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	some := wire.Message{Type: wire.TypeStep}
	executor := subject.ConsumerVSphere("a")
	publish(executor, subject.Seat("a"), seat)
	publish(executor, subject.Result(1, "vsphere", "a", "web", "w-0", 1, 1), some)
	publish(executor, subject.Observation("a", "web", "w-0", subject.AspectLost), some)
	publish(subject.UserRenderer, subject.Config("a", "d"), some)
	publish(subject.UserRenderer, subject.Result(0, "render", "a", "web", "w-0", 1, 1), some)
	publish(subject.UserGateway, subject.Command(0, "web", "c1"), some)
	publish(subject.UserPlanner, subject.Revision(0, "web", 1), some)
	publish(subject.UserPlanner, subject.History(0, "web", "w-0", 1), some)
	publish(subject.UserPlanner, subject.Job(0, "vsphere", "a", "web", "w-0", 1), some)
	read := func(user, stream, of string) {
		t.Helper()
		if _, err := w.connect(user).Last(ctx, stream, of); err != nil {
			t.Errorf("user %s: %v", user, err)
		}
	}
	read(executor, "CFG_a", subject.Config("a", "d"))
	read(executor, "YM_0", subject.Job(0, "vsphere", "a", "web", "w-0", 1))
	read(executor, "YM_0", subject.Seat("a"))
	read(subject.UserRenderer, "YM_0", subject.Seat("a"))
	read(subject.UserRenderer, "YM_0", subject.Revision(0, "web", 1))
	for user, streams := range map[string][]string{
		executor: {"CFG_a"}, subject.UserRenderer: {"CFG_a", "CFG_b"}, subject.UserPlanner: {"OBS"}, subject.UserGateway: {"OBS", "HISTORY"},
	} {
		if yard, err := bus.Check(ctx, w.connect(user), streams...); err != nil || yard.Shards != 2 {
			t.Errorf("Check as %s = %v, %v", user, yard, err)
		}
	}
}
