// Package progress shows the way of nodes to where their fleets want them:
// bars on a terminal, a line for each step otherwise. It reads the gateway's
// watch stream and writes nothing but the screen.
package progress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
	"yardmaster.dev/services/yardctl/show"
)

// Options says what is shown.
type Options struct {
	// Fleets are those that are waited for; empty means all.
	Fleets []string
	// Plain asks for lines though out is a terminal.
	Plain bool
	// NoColour is the value of NO_COLOR.
	NoColour string
}

// ErrFailed means that every node came to rest and some of them need a
// person.
var ErrFailed = errors.New("not every node became ready")

// errAgain asks for a new watch, whose first answer is the whole state.
var errAgain = errors.New("watch again")

// reconnectWait is the pause before a broken watch is begun anew.
const reconnectWait = 500 * time.Millisecond

// view draws what the tracker knows.
type view interface {
	// draw shows a change of a node; it is called for each.
	draw(t *tracker, n *yardmasterv1.NodeView)
	// say prints a line that stays.
	say(line string)
	// close ends the drawing; what is on the screen stays.
	close()
}

// Show shows the nodes on their way until all of them are where their fleets
// want them, then says how long it took. It returns ErrFailed when some will
// not get there by themselves, and ctx's error when that ends first. A watch
// that breaks is begun anew: the work goes on without us.
func Show(ctx context.Context, client yardmasterv1connect.YardServiceClient, out io.Writer, opts Options) error {
	t := newTracker(opts.Fleets)
	palette := show.NewPalette(out, opts.NoColour)
	var v view = &lines{out: out, palette: palette, began: time.Now()}
	if show.Terminal(out) && !opts.Plain {
		v = newBars(ctx, out, palette, t)
	}
	err := follow(ctx, client, t, v)
	v.close()
	if err != nil {
		return err
	}
	for _, line := range t.summary() {
		_, _ = fmt.Fprintln(out, line)
	}
	if t.failed() > 0 {
		return fmt.Errorf("%w: %s; yardctl failed shows why", ErrFailed, show.Count(t.failed(), "failed node"))
	}
	return nil
}

// follow watches until the tracker is settled.
func follow(ctx context.Context, client yardmasterv1connect.YardServiceClient, t *tracker, v view) error {
	lost := false
	for {
		err := watch(ctx, client, t, v)
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		code := connect.CodeOf(err)
		if code == connect.CodeUnauthenticated || code == connect.CodePermissionDenied || code == connect.CodeUnimplemented {
			return err
		}
		if !lost && !errors.Is(err, errAgain) {
			lost = true
			v.say("the watch broke (" + message(err) + "); trying again, the work goes on")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reconnectWait):
		}
	}
}

// message is a Connect error's own text, without its code.
func message(err error) string {
	if e, ok := errors.AsType[*connect.Error](err); ok {
		return e.Message()
	}
	return err.Error()
}

// watch follows one stream; nil means that everything is settled.
func watch(ctx context.Context, client yardmasterv1connect.YardServiceClient, t *tracker, v view) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req := &yardmasterv1.WatchRequest{}
	if len(t.only) == 1 {
		req.Fleet = t.only[0]
	}
	stream, err := client.Watch(ctx, connect.NewRequest(req))
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	t.begin()
	for stream.Receive() {
		changed, again := t.take(stream.Msg())
		if again {
			return errAgain
		}
		if changed != nil {
			v.draw(t, changed)
		}
		if t.settled() {
			return nil
		}
	}
	if stream.Err() == nil {
		return io.ErrUnexpectedEOF
	}
	return stream.Err()
}
