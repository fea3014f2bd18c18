package gateway

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"yardmaster.dev/pkg/ledger"
)

// HeaderAfter asks that an answer be at least as new as the stamps in it,
// shard/epoch/sequence, several with commas. A client that got a stamp from
// one gateway sends it to read its own write at another one.
const HeaderAfter = "Ym-After"

// readAfter holds a request back until the read model has reached the
// stamps in its HeaderAfter.
type readAfter struct{ *Gateway }

// WrapUnary holds back unary requests.
func (a readAfter) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if err := a.reach(ctx, req.Header().Get(HeaderAfter)); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// WrapStreamingClient changes nothing: the gateway is no client.
func (readAfter) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler holds back streams.
func (a readAfter) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if err := a.reach(ctx, conn.RequestHeader().Get(HeaderAfter)); err != nil {
			return err
		}
		return next(ctx, conn)
	}
}

func (a readAfter) reach(ctx context.Context, header string) error {
	if header == "" {
		return nil
	}
	stamps, err := parseStamps(header)
	if err != nil {
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("header %s: %w", HeaderAfter, err))
	}
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	for _, s := range stamps {
		err := a.model.mirror.Wait(ctx, s)
		if errors.Is(err, ledger.ErrOtherStream) {
			return connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("header %s: %w", HeaderAfter, err))
		}
		if err != nil {
			return unavailable(fmt.Errorf("this gateway has not yet seen sequence %d of shard %d", s.Sequence, s.Shard))
		}
	}
	return nil
}
