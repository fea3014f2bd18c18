package gateway

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

const (
	// answerWait is how long a command's answer waits for its receipt.
	answerWait = 5 * time.Second
	// lonelyWait is the same when no planner is known to run: one may just
	// have started.
	lonelyWait = time.Second
	// storeWait bounds the storing of a command.
	storeWait = 4 * time.Second
	// retryAfter is what clients are asked to wait when we are in trouble.
	retryAfter = 2 * time.Second
	// maxID is the longest command id; maxSuffix is the room that a client's
	// id leaves for -<n>.
	maxID     = 64
	maxSuffix = 4
)

var commandID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// newID returns the client's command id or, if it sent none, a new one.
func newID(asked string) (string, error) {
	if asked == "" {
		return "c-" + rand.Text(), nil
	}
	if !commandID.MatchString(asked) {
		return "", connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("command_id %q: write 1 to 64 of A-Z a-z 0-9 _ -", asked))
	}
	return asked, nil
}

// placeID is the id of the command that places a fleet on behalf of another
// command: the same one when that is repeated.
func placeID(id, fleet string) string {
	sum := sha256.Sum256([]byte(id + "/" + fleet))
	return "place-" + hex.EncodeToString(sum[:12])
}

// order is a command on its way: where it is stored and whose receipt
// answers it.
type order struct {
	shard   int
	scope   string // the fleet, or plan.YardScope
	command *plan.Command
}

// send stores an order and returns its answer: the receipt or, when the
// planner takes longer than answerWait, that it is pending. Sending the same
// id again is harmless.
func (g *Gateway) send(ctx context.Context, o order) (*v1.CommandResponse, error) {
	o.command.By, o.command.At = caller(ctx), time.Now()
	answer := g.model.receipt(o.scope, o.command.ID)
	defer answer.forget()
	position, err := g.store(ctx, o)
	if err != nil {
		return nil, err
	}
	wait := answerWait
	if g.model.lonely() {
		wait = lonelyWait
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	r, at, err := answer.wait(ctx)
	if err != nil {
		return &v1.CommandResponse{
			Pending: true, Summary: g.pendingWords(), Stamp: position, CommandId: o.command.ID,
		}, nil
	}
	return &v1.CommandResponse{
		Accepted: r.Accepted, Code: r.Code, Refusal: r.Refusal, Revision: int32(r.Revision), Summary: r.Summary,
		Stamp: viewStamp(at), CommandId: o.command.ID,
	}, nil
}

// pendingWords says why a command was not answered in time.
func (g *Gateway) pendingWords() string {
	if g.model.lonely() {
		return "stored; " + warnLonely + ", it will be decided when one does"
	}
	return "stored; the planner has not decided it yet"
}

// unavailable is our own trouble: the client is asked to come back.
func unavailable(err error) *connect.Error {
	out := connect.NewError(connect.CodeUnavailable, err)
	out.Meta().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	return out
}

var (
	errBusAway  = errors.New("the bus does not answer: nothing was sent")
	errLoading  = errors.New("the gateway is still reading the ledger; try again in a moment")
	errNotFound = errors.New("not found")
)

// notFound says that a thing does not exist, and how to see what does.
func notFound(kind, name, list string) error {
	return connect.NewError(connect.CodeNotFound,
		fmt.Errorf("%s %q: %w; yardctl get %s shows what there is", kind, name, errNotFound, list))
}

// inFlightWait is the pause before a command is sent again that another
// sender has under way at the same time.
const inFlightWait = 50 * time.Millisecond

// store puts a command on the bus and returns its position, nil if it was
// there already. The command's subject may hold one message only, so that
// repeating it is harmless, ours after a lost answer too.
func (g *Gateway) store(ctx context.Context, o order) (*v1.Stamp, error) {
	body, err := wire.Command(o.command)
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	conn, err := g.model.conn()
	if err != nil {
		g.metrics.unsent.Inc()
		return nil, unavailable(err)
	}
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	for {
		msg := bus.NewMsg(subject.Command(o.shard, o.scope, o.command.ID), body)
		sequence, err := conn.Publish(ctx, bus.TTL(bus.Expect(msg, 0), subject.InputTTL))
		switch {
		case err == nil:
			conn.Worked()
			return g.model.position(o.shard, sequence), nil
		case bus.Code(err) == bus.CodeWrongLastSequence:
			return nil, nil //nolint:nilnil // it is stored, and where does not matter: its receipt says more
		case bus.Code(err) == bus.CodeInFlight:
			if pause(ctx, inFlightWait) == nil {
				continue
			}
		default:
			conn.Struggled()
		}
		g.metrics.unsent.Inc()
		g.log.WarnContext(ctx, "command was not stored", service.KeyCommand, o.command.ID, service.KeyErr, err.Error())
		return nil, unavailable(fmt.Errorf("the bus did not store the command: %w", err))
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
