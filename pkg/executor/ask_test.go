package executor_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/proto/subject"
)

// answering runs a runner that answers until stopped.
func (y *yard) answering(name string) (stop func()) {
	y.t.Helper()
	_, stop = y.startWith(name, newFake(), map[string]executor.Answer{
		"name": executor.On(func(_ context.Context, q *wrapperspb.StringValue) (proto.Message, error) {
			return wrapperspb.String(q.GetValue() + " " + name), nil
		}),
		"bytes": executor.On(func(_ context.Context, q *wrapperspb.Int64Value) (proto.Message, error) {
			return wrapperspb.Bytes(bytes.Repeat([]byte{7}, int(q.GetValue()))), nil
		}),
		"trouble": executor.On(func(context.Context, *wrapperspb.StringValue) (proto.Message, error) {
			return nil, fault.WithHint(fault.Newf(fault.Busy, fault.LoginRefused, "vCenter says no"), "correct it")
		}),
		"panic": executor.On(func(context.Context, *wrapperspb.StringValue) (proto.Message, error) { panic("ouch") }),
		"slow": executor.On(func(ctx context.Context, _ *wrapperspb.StringValue) (proto.Message, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}),
	})
	return stop
}

// named asks who answers, until somebody does.
func (y *yard) named(gateway *bus.Conn) string {
	y.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		answer := &wrapperspb.StringValue{}
		err := gateway.Ask(y.t.Context(), site, "name", wrapperspb.String("I am"), answer)
		if err == nil {
			return answer.GetValue()
		}
		if f := fault.Of(err); f.Hint == "" || f.Kind == fault.Permanent {
			y.t.Fatalf("Ask = %v; want one that may be asked again and says what to do", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	y.t.Fatal("nobody answers")
	return ""
}

func TestTheActiveExecutorAnswers(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	gateway := y.connect(t, subject.UserGateway)
	err := gateway.Ask(t.Context(), site, "name", wrapperspb.String("?"), &wrapperspb.StringValue{})
	if f := fault.Of(err); f.Reason != fault.BackendDown || !strings.Contains(err.Error(), "no executor holds the site's seat") {
		t.Errorf("Ask without an executor = %v", err)
	}
	stop := y.answering("one")
	if got := y.named(gateway); got != "I am one" {
		t.Errorf("%q answers; want one", got)
	}
	y.answering("two")
	if got := y.named(gateway); got != "I am one" {
		t.Errorf("%q answers beside a stand-by; want one", got)
	}
	stop()
	if got := y.named(gateway); got != "I am two" {
		t.Errorf("%q answers after the change; want two", got)
	}
}

func TestAnswersComeInParts(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	gateway := y.connect(t, subject.UserGateway)
	y.answering("one")
	y.named(gateway)
	for _, size := range []int{0, 1, bus.AnswerPart, 3*bus.AnswerPart + 5} {
		answer := &wrapperspb.BytesValue{}
		if err := gateway.Ask(t.Context(), site, "bytes", wrapperspb.Int64(int64(size)), answer); err != nil || len(answer.GetValue()) != size {
			t.Errorf("Ask for %d bytes = %d bytes, %v", size, len(answer.GetValue()), err)
		}
	}
}

func TestAnswersSayWhatWentWrong(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	gateway := y.connect(t, subject.UserGateway)
	y.answering("one")
	y.named(gateway)
	for what, test := range map[string]struct {
		reason fault.Reason
		words  string
	}{
		"trouble": {fault.LoginRefused, "vCenter says no"},
		"panic":   {fault.Poison, "ouch"},
		"other":   {fault.SpecUnsupported, `nothing of "other"`},
	} {
		err := gateway.Ask(t.Context(), site, what, wrapperspb.String(""), &wrapperspb.StringValue{})
		if f := fault.Of(err); err == nil || f.Reason != test.reason || !strings.Contains(err.Error(), test.words) {
			t.Errorf("Ask for %s = %v (%s); want %s and %q", what, err, f.Reason, test.reason, test.words)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := gateway.Ask(short, site, "slow", wrapperspb.String(""), &wrapperspb.StringValue{}); fault.Of(err).Reason != fault.Timeout {
		t.Errorf("Ask for what takes too long = %v", err)
	}
	if err := gateway.Ask(t.Context(), site, "trouble", wrapperspb.String(""), &wrapperspb.StringValue{}); fault.Of(err).Hint != "correct it" {
		t.Errorf("the hint is %q", fault.Of(err).Hint)
	}
}

func TestQuestionsAndAnswersAreBounded(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	gateway := y.connect(t, subject.UserGateway)
	y.answering("one")
	y.named(gateway)
	long := wrapperspb.String(strings.Repeat("x", bus.MaxQuestion+1))
	if err := gateway.Ask(t.Context(), site, "name", long, &wrapperspb.StringValue{}); fault.Of(err).Kind != fault.Permanent {
		t.Errorf("a question that is too long: %v", err)
	}
	err := gateway.Ask(t.Context(), site, "bytes", wrapperspb.Int64(bus.MaxAnswer+1), &wrapperspb.BytesValue{})
	if fault.Of(err).Kind != fault.Permanent || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an answer that is too long: %v", err)
	}
}
