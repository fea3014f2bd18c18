package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// debugged is a stored message for people.
type debugged struct {
	Stream   string              `json:"stream"`
	Subject  string              `json:"subject"`
	Sequence uint64              `json:"sequence"`
	Time     time.Time           `json:"time"`
	Header   map[string][]string `json:"header"`
	// Message is the decoded body, Raw the bytes of one that is not ours,
	// Problem why it could not be decoded.
	Message json.RawMessage `json:"message,omitempty"`
	Raw     []byte          `json:"raw,omitempty"`
	Problem string          `json:"problem,omitempty"`
}

// Debug prints what is stored at a subject, or at <stream>:<sequence> such as
// YM_0:4711, as JSON.
func Debug(ctx context.Context, conn *bus.Conn, what string) ([]byte, error) {
	stream, msg, err := find(ctx, conn, what)
	if err != nil {
		return nil, err
	}
	d := debugged{Stream: stream, Subject: msg.Subject, Sequence: msg.Sequence, Time: msg.Time, Header: msg.Header}
	m, err := wire.Decode(msg.Type(), msg.Version(), msg.Data)
	switch {
	case len(msg.Data) == 0:
		d.Problem = "empty: withdrawn, released or dealt with"
	case err != nil:
		d.Problem, d.Raw = err.Error(), msg.Data
	default:
		if d.Message, err = (protojson.MarshalOptions{UseProtoNames: true}).Marshal(m); err != nil {
			d.Problem = err.Error()
		}
		if unknown := len(m.ProtoReflect().GetUnknown()); unknown > 0 {
			d.Problem = fmt.Sprintf("%d bytes are fields that this release does not know", unknown)
		}
	}
	out, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("print %s: %w", what, err)
	}
	return append(out, '\n'), nil
}

func find(ctx context.Context, conn *bus.Conn, what string) (stream string, msg *bus.Message, err error) {
	if stream, at, ok := strings.Cut(what, ":"); ok {
		sequence, err := strconv.ParseUint(at, 10, 64)
		if err != nil {
			return "", nil, fmt.Errorf("%q is no <stream>:<sequence>", what)
		}
		msg, err = conn.LeaderAt(ctx, stream, sequence)
		return stream, msg, err
	}
	if strings.HasPrefix(what, "obs.") {
		stream = subject.StreamObservations
	} else {
		name, err := subject.Parse(what)
		if err != nil {
			return "", nil, fmt.Errorf("%w; subjects look like %s, and YM_0:4711 is message 4711 of shard 0", err, subject.Node(0, "web", "edge-0"))
		}
		stream = subject.ShardStream(name.Shard)
	}
	msg, err = conn.LeaderLast(ctx, stream, what)
	return stream, msg, err
}
