package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

// The bounds of a question and its answer.
const (
	// MaxQuestion is the longest question, in bytes.
	MaxQuestion = 512 << 10
	// AnswerPart is the longest part of an answer, well below what the
	// server takes in one message.
	AnswerPart = 512 << 10
	// MaxAnswer bounds all parts together.
	MaxAnswer = 16 << 20
	// AskWait is how long an answer is waited for when the context has no
	// deadline.
	AskWait = 15 * time.Second
)

// Ask asks the executor that holds the site's seat and fills answer in. It
// asks once: an executor that dies or loses its seat meanwhile gives no
// answer. Errors are classified.
func (c *Conn) Ask(ctx context.Context, site, what string, question, answer proto.Message) error {
	ctx, cancel := askContext(ctx)
	defer cancel()
	body, err := proto.Marshal(question)
	if err != nil {
		return fmt.Errorf("ask site %s for %s: %w", site, what, err)
	}
	if len(body) > MaxQuestion {
		return fault.Newf(fault.Permanent, fault.SpecUnsupported, "ask site %s for %s: the question has %d bytes, %d is the most", site, what, len(body), MaxQuestion)
	}
	parts, err := c.nc.SubscribeSync(subject.Answer(site, rand.Text()))
	if err != nil {
		return unanswered(site, what, err)
	}
	defer func() { _ = parts.Unsubscribe() }() // a lost connection has done it
	until, _ := ctx.Deadline()
	m, err := wire.Question(&ymv1.Question{Body: body, Wait: durationpb.New(time.Until(until))})
	if err != nil {
		return fmt.Errorf("ask site %s for %s: %w", site, what, err)
	}
	q := NewMsg(subject.Ask(site, what), m)
	q.Reply = parts.Subject
	if err := c.nc.PublishMsg(q); err != nil {
		return unanswered(site, what, err)
	}
	if body, err = collect(ctx, parts); err != nil {
		return unanswered(site, what, err)
	}
	if err := proto.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("read what site %s says of %s: %w", site, what, err)
	}
	return nil
}

func askContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, AskWait)
}

// collect puts the parts of an answer together.
func collect(ctx context.Context, parts *nats.Subscription) ([]byte, error) {
	var body []byte
	for next := int32(0); ; next++ {
		m, err := parts.NextMsgWithContext(ctx)
		if err != nil {
			return nil, err
		}
		a, err := wire.DecodeAnswer(m.Header.Get(wire.HeaderType), m.Header.Get(wire.HeaderVersion), m.Data)
		if err != nil {
			return nil, err
		}
		if a.GetFailure() != nil {
			return nil, wire.Fault(a.GetFailure())
		}
		if a.GetPart() != next || len(body)+len(a.GetBody()) > MaxAnswer {
			return nil, fmt.Errorf("part %d of the answer is not the one after part %d, or is too long", a.GetPart(), next-1)
		}
		body = append(body, a.GetBody()...)
		if !a.GetMore() {
			return body, nil
		}
	}
}

// unanswered says in words why there is no answer.
func unanswered(site, what string, err error) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return fault.WithHint(
			fault.Newf(fault.Busy, fault.BackendDown, "ask site %s for %s: no executor holds the site's seat", site, what),
			"start the site's vsphere-executor (yardctl status shows who runs); after a change of hands try again in a few seconds")
	case errors.Is(err, context.DeadlineExceeded):
		return fault.WithHint(
			fault.Newf(fault.Transient, fault.Timeout, "ask site %s for %s: the executor gave no answer in time", site, what),
			"its vCenter is slow or the executor just changed: try again")
	}
	return fault.WithHint(fmt.Errorf("ask site %s for %s: %w", site, what, err), fault.Of(err).Hint)
}
