package executor

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

// Answer answers a kind of question with a message. It is asked beside the
// jobs and never through the breaker, because a person who asks wants to hear
// what is wrong; it must be safe to ask again.
type Answer func(ctx context.Context, question []byte) (proto.Message, error)

// On makes an Answer of a function of the question's own type.
func On[Q any, P interface {
	*Q
	proto.Message
}](answer func(context.Context, P) (proto.Message, error)) Answer {
	return func(ctx context.Context, question []byte) (proto.Message, error) {
		q := P(new(Q))
		if err := proto.Unmarshal(question, q); err != nil {
			return nil, fault.Newf(fault.Permanent, fault.Poison, "read the question: %w", err)
		}
		return answer(ctx, q)
	}
}

const (
	// answersAtOnce is how many questions are worked on at a time, and as
	// many again may wait.
	answersAtOnce = 4
	// answerMost bounds the time that one answer may take, however patient
	// the asker is.
	answerMost = 2 * time.Minute
)

// answer answers questions while the seat is ours.
func (t *turn) answer(ctx context.Context) error {
	if len(t.Answers) == 0 {
		return nil
	}
	waiting := make(chan *nats.Msg, answersAtOnce)
	sub, err := t.Conn.NATS().Subscribe(subject.Ask(t.Site, "*"), func(q *nats.Msg) {
		select {
		case waiting <- q:
		default:
			t.reply(ctx, q, nil, fault.Newf(fault.Busy, fault.BackendBusy, "the executor answers %d questions already", answersAtOnce))
		}
	})
	if err != nil {
		return fmt.Errorf("listen to questions about site %s: %w", t.Site, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // a lost connection has done it
	group, ctx := errgroup.WithContext(ctx)
	for range answersAtOnce {
		group.Go(func() error {
			for {
				select {
				case q := <-waiting:
					body, err := t.consider(ctx, q)
					t.reply(ctx, q, body, err)
				case <-ctx.Done():
					return nil
				}
			}
		})
	}
	return group.Wait()
}

// consider makes the answer to one question. A holder that was frozen may
// wake up to questions that its successor answers.
func (t *turn) consider(ctx context.Context, m *nats.Msg) (body []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			t.Log.ErrorContext(ctx, "answer panicked", "subject", m.Subject, "err", p)
			err = fault.Newf(fault.Permanent, fault.Poison, "the executor panicked: %v", p)
		}
	}()
	if epoch, ok := t.seat.Holding(); !ok || epoch != t.epoch {
		return nil, fault.Newf(fault.Cancelled, fault.Stopped, "the seat of site %s has run out; ask again", t.Site)
	}
	q, err := wire.DecodeQuestion(m.Header.Get(wire.HeaderType), m.Header.Get(wire.HeaderVersion), m.Data)
	if err != nil {
		return nil, fault.New(fault.Permanent, fault.Poison, err)
	}
	what := m.Subject[len(subject.Ask(t.Site, "")):]
	answer, ok := t.Answers[what]
	if !ok {
		return nil, fault.WithHint(fault.Newf(fault.Permanent, fault.SpecUnsupported, "the executor knows nothing of %q", what),
			"it may be older than the gateway: run the same release")
	}
	ctx, cancel := context.WithTimeout(ctx, min(q.GetWait().AsDuration(), answerMost))
	defer cancel()
	result, err := answer(ctx, q.GetBody())
	if err != nil {
		return nil, err
	}
	if body, err = proto.Marshal(result); err == nil && len(body) > bus.MaxAnswer {
		err = fault.Newf(fault.Permanent, fault.SpecUnsupported, "the answer has %d bytes, %d is the most", len(body), bus.MaxAnswer)
	}
	return body, err
}

// reply sends an answer in as many parts as it takes.
func (t *turn) reply(ctx context.Context, q *nats.Msg, body []byte, failure error) {
	if q.Reply == "" {
		return
	}
	for part := int32(0); ; part++ {
		n := min(len(body), bus.AnswerPart)
		a := &ymv1.Answer{Part: part, Body: body[:n], More: len(body) > n, By: t.By}
		if failure != nil {
			a.Failure = wire.Failure(failure)
		}
		m, err := wire.Answer(a)
		if err == nil {
			err = t.Conn.NATS().PublishMsg(bus.NewMsg(q.Reply, m))
		}
		if err != nil {
			t.Log.WarnContext(ctx, "answer was not sent", "subject", q.Subject, "err", err.Error())
			return
		}
		if body = body[n:]; !a.GetMore() {
			return
		}
	}
}
