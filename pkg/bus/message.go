package bus

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// ErrNotFound means that a subject holds no message.
var ErrNotFound = errors.New("no message there")

// Message is a stored message.
type Message struct {
	Subject  string
	Sequence uint64
	Time     time.Time
	Header   nats.Header
	Data     []byte
}

// Type and Version are the message's headers.
func (m *Message) Type() string { return m.Header.Get(wire.HeaderType) }

// Version is the message's version header.
func (m *Message) Version() string { return m.Header.Get(wire.HeaderVersion) }

// NewMsg makes a message ready to be published.
func NewMsg(to string, m wire.Message) *nats.Msg {
	return &nats.Msg{Subject: to, Data: m.Body, Header: nats.Header{
		wire.HeaderType:    {m.Type},
		wire.HeaderVersion: {wire.Version},
	}}
}

// Expect makes the message fail unless the newest message of its subject is
// sequence; 0 means that there is none.
func Expect(m *nats.Msg, sequence uint64) *nats.Msg {
	m.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(sequence, 10)}
	return m
}

// Rollup makes the message the only one of its subject.
func Rollup(m *nats.Msg) *nats.Msg {
	m.Header[jetstream.MsgRollup] = []string{jetstream.MsgRollupSubject}
	return m
}

// TTL lets the message expire. Never use it on what was ever overwritten.
func TTL(m *nats.Msg, ttl time.Duration) *nats.Msg {
	m.Header[jetstream.MsgTTLHeader] = []string{strconv.Itoa(int(ttl/time.Second)) + "s"}
	return m
}

// Last reads a subject's newest message from any copy of the stream: it may
// be old. Only compare-and-set makes sure.
func (c *Conn) Last(ctx context.Context, stream, of string) (*Message, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	resp, err := c.nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+stream+"."+of, nil)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", of, err)
	}
	switch resp.Header.Get("Status") {
	case "":
	case "404":
		return nil, fmt.Errorf("read %s: %w", of, ErrNotFound)
	default:
		return nil, fmt.Errorf("read %s: %s %s", of, resp.Header.Get("Status"), resp.Header.Get("Description"))
	}
	m := &Message{Subject: resp.Header.Get(jetstream.SubjectHeader), Header: resp.Header, Data: resp.Data}
	if m.Sequence, err = strconv.ParseUint(resp.Header.Get(jetstream.SequenceHeader), 10, 64); err != nil {
		return nil, fmt.Errorf("read %s: %w", of, err)
	}
	if m.Time, err = time.Parse(time.RFC3339Nano, resp.Header.Get(jetstream.TimeStampHeaer)); err != nil {
		return nil, fmt.Errorf("read %s: %w", of, err)
	}
	return m, nil
}

type leaderAnswer struct {
	Error   *jetstream.APIError `json:"error"`
	Message *struct {
		Subject  string    `json:"subject"`
		Sequence uint64    `json:"seq"`
		Header   string    `json:"hdrs"`
		Data     []byte    `json:"data"`
		Time     time.Time `json:"time"`
	} `json:"message"`
}

// LeaderLast reads the newest message of a subject, which may hold
// wildcards, from the stream's leader.
func (c *Conn) LeaderLast(ctx context.Context, stream, of string) (*Message, error) {
	return c.leader(ctx, stream, of, map[string]any{"last_by_subj": of})
}

// LeaderAt reads the message at a sequence from the stream's leader.
func (c *Conn) LeaderAt(ctx context.Context, stream string, sequence uint64) (*Message, error) {
	return c.leader(ctx, stream, fmt.Sprintf("%s at %d", stream, sequence), map[string]any{"seq": sequence})
}

func (c *Conn) leader(ctx context.Context, stream, of string, request map[string]any) (*Message, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	body, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", of, err)
	}
	resp, err := c.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, body)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", of, err)
	}
	var a leaderAnswer
	if err := json.Unmarshal(resp.Data, &a); err != nil {
		return nil, fmt.Errorf("read %s: %w", of, err)
	}
	if a.Error != nil && a.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
		return nil, fmt.Errorf("read %s: %w", of, ErrNotFound)
	}
	if a.Error != nil {
		return nil, fmt.Errorf("read %s: %w", of, a.Error)
	}
	if a.Message == nil {
		return nil, fmt.Errorf("read %s: the answer holds no message", of)
	}
	m := &Message{Subject: a.Message.Subject, Sequence: a.Message.Sequence, Time: a.Message.Time, Data: a.Message.Data}
	m.Header, err = decodeHeader(a.Message.Header)
	return m, err
}

func decodeHeader(encoded string) (nats.Header, error) {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("decode header: %w", err)
	}
	if len(raw) == 0 {
		return nats.Header{}, nil
	}
	h, err := nats.DecodeHeadersMsg(raw)
	if err != nil {
		return nil, fmt.Errorf("decode header: %w", err)
	}
	return h, nil
}

// Publish stores one message and returns its sequence.
func (c *Conn) Publish(ctx context.Context, m *nats.Msg) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	ack, err := c.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, fmt.Errorf("publish %s: %w", m.Subject, err)
	}
	return ack.Sequence, nil
}

// Yard reads the yard's own record.
func (c *Conn) Yard(ctx context.Context) (*plan.Yard, error) {
	m, err := c.Last(ctx, subject.ShardStream(0), subject.Yard())
	if err != nil {
		return nil, fmt.Errorf("yard record: %w", err)
	}
	name, err := subject.Parse(m.Subject)
	if err != nil {
		return nil, err
	}
	r, _, err := wire.DecodeRecord(name, m.Type(), m.Version(), m.Data)
	if err != nil {
		return nil, fmt.Errorf("yard record: %w", err)
	}
	y, ok := r.(*plan.Yard)
	if !ok {
		return nil, fmt.Errorf("yard record: %s holds a %s", m.Subject, m.Type())
	}
	return y, nil
}

// The codes of JetStream that steer.
const (
	// CodeWrongLastSequence proves that another message is there.
	CodeWrongLastSequence jetstream.ErrorCode = 10071
	// CodeInFlight means that another proposal for the subject is under way
	// and may still fail: it proves nothing.
	CodeInFlight jetstream.ErrorCode = 10164
)

// Code returns the JetStream error code in err, 0 if there is none.
func Code(err error) jetstream.ErrorCode {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.ErrorCode
	}
	return 0
}
