// Package wire converts the core's types to the messages that are stored
// and sent, and back. It is the only converter.
//
// Encoding is deterministic, so that a stored body can be hashed. A record
// written by a newer version may hold fields that this one does not know:
// they are kept aside when it is decoded and written back when the record is
// overwritten (see [Kept]).
package wire

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"yardmaster.dev/pkg/plan"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

// The headers of every message.
const (
	// HeaderType names the message.
	HeaderType = "Ym-Type"
	// HeaderVersion is the message's version: it rises only when an older
	// reader would misunderstand it.
	HeaderVersion = "Ym-V"
	// HeaderChain stands on records that have a story: the hash of the body
	// of their newest event, in hex.
	HeaderChain = "Ym-Chain"
	// HeaderAmended marks a record that was rewritten without an event, so
	// that its newest event does not hold its hash.
	HeaderAmended = "Ym-Amended"
)

// Version is the version that this program writes; a message with a higher
// one is refused.
const Version = "1"

// Format is the record format of this program. The yard record says which
// one its writers use; a planner with a lower one stands by.
const Format = 1

// Message is an encoded message.
type Message struct {
	Type string
	Body []byte
}

// Kept is a decoded message with fields that this program does not know; it
// is nil when there are none, which is the rule.
type Kept struct{ message protoreflect.Message }

var deterministic = proto.MarshalOptions{Deterministic: true}

func encode(typ string, m proto.Message, kept *Kept) (Message, error) {
	if kept != nil {
		carry(m.ProtoReflect(), kept.message)
	}
	body, err := deterministic.Marshal(m)
	if err != nil {
		return Message{}, fmt.Errorf("encode %s: %w", typ, err)
	}
	return Message{Type: typ, Body: body}, nil
}

// carry copies src's unknown fields to dst, and those of the messages in its
// singular fields.
func carry(dst, src protoreflect.Message) {
	if src.Descriptor() != dst.Descriptor() {
		return
	}
	if u := src.GetUnknown(); len(u) > 0 {
		dst.SetUnknown(append(protoreflect.RawFields{}, u...))
	}
	src.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() != nil && !f.IsList() && !f.IsMap() && dst.Has(f) {
			carry(dst.Mutable(f).Message(), v.Message())
		}
		return true
	})
}

// keep returns m if there is anything unknown in it that carry would copy.
func keep(m proto.Message) *Kept {
	if hasUnknown(m.ProtoReflect()) {
		return &Kept{message: m.ProtoReflect()}
	}
	return nil
}

func hasUnknown(m protoreflect.Message) bool {
	if len(m.GetUnknown()) > 0 {
		return true
	}
	found := false
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() != nil && !f.IsList() && !f.IsMap() {
			found = hasUnknown(v.Message())
		}
		return !found
	})
	return found
}

// checkVersion refuses what only a newer program can read.
func checkVersion(version string) error {
	if version != Version {
		return fmt.Errorf("message version %q is not %s: a newer release wrote it", version, Version)
	}
	return nil
}

// The types of messages, as they stand in HeaderType.
const (
	TypeFleet       = "fleet"
	TypeRevision    = "revision"
	TypeNode        = "node"
	TypeDeadLetter  = "dead_letter"
	TypeReceipt     = "receipt"
	TypeClaim       = "claim"
	TypePlace       = "place"
	TypeSite        = "site"
	TypeNetwork     = "network"
	TypeImages      = "images"
	TypeYard        = "yard"
	TypeSeat        = "seat"
	TypeEvent       = "event"
	TypeJob         = "job"
	TypeCommand     = "command"
	TypeResult      = "result"
	TypeStep        = "step"
	TypeObservation = "observation"
	TypeService     = "service_state"
	TypeGuest       = "guest_report"
	TypeQuestion    = "question"
	TypeAnswer      = "answer"
	TypeSiteImages  = "site_images"
)

// blank returns an empty message of the type, nil if it is not known.
func blank(typ string) proto.Message {
	if f, ok := blanks[typ]; ok {
		return f()
	}
	return nil
}

var blanks = map[string]func() proto.Message{
	TypeFleet:       func() proto.Message { return &ymv1.FleetRecord{} },
	TypeRevision:    func() proto.Message { return &ymv1.RevisionRecord{} },
	TypeNode:        func() proto.Message { return &ymv1.NodeRecord{} },
	TypeDeadLetter:  func() proto.Message { return &ymv1.DeadLetterRecord{} },
	TypeReceipt:     func() proto.Message { return &ymv1.ReceiptRecord{} },
	TypeClaim:       func() proto.Message { return &ymv1.ClaimRecord{} },
	TypePlace:       func() proto.Message { return &ymv1.PlaceRecord{} },
	TypeSite:        func() proto.Message { return &ymv1.SiteRecord{} },
	TypeNetwork:     func() proto.Message { return &ymv1.NetworkRecord{} },
	TypeImages:      func() proto.Message { return &ymv1.ImagesRecord{} },
	TypeYard:        func() proto.Message { return &ymv1.YardRecord{} },
	TypeSeat:        func() proto.Message { return &ymv1.Seat{} },
	TypeEvent:       func() proto.Message { return &ymv1.Event{} },
	TypeJob:         func() proto.Message { return &ymv1.Job{} },
	TypeCommand:     func() proto.Message { return &ymv1.Command{} },
	TypeResult:      func() proto.Message { return &ymv1.Result{} },
	TypeStep:        func() proto.Message { return &ymv1.Step{} },
	TypeObservation: func() proto.Message { return &ymv1.Observation{} },
	TypeService:     func() proto.Message { return &ymv1.ServiceState{} },
	TypeGuest:       func() proto.Message { return &ymv1.GuestReport{} },
	TypeQuestion:    func() proto.Message { return &ymv1.Question{} },
	TypeAnswer:      func() proto.Message { return &ymv1.Answer{} },
	TypeSiteImages:  func() proto.Message { return &ymv1.SiteImages{} },
}

// Decode returns the message of a type as it is stored, unknown fields
// included.
func Decode(typ, version string, body []byte) (proto.Message, error) {
	m := blank(typ)
	if m == nil {
		return nil, fmt.Errorf("message type %q is not known", typ)
	}
	if err := checkVersion(version); err != nil {
		return nil, fmt.Errorf("%s: %w", typ, err)
	}
	if err := proto.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("decode %s: %w", typ, err)
	}
	return m, nil
}

// decodeAs decodes a message that must be a T.
func decodeAs[T proto.Message](typ, version string, body []byte) (T, error) {
	var zero T
	m, err := Decode(typ, version, body)
	if err != nil {
		return zero, err
	}
	t, ok := m.(T)
	if !ok {
		return zero, fmt.Errorf("message type %q is not %s", typ, zero.ProtoReflect().Descriptor().Name())
	}
	return t, nil
}

// EncodeEvent encodes an event with the hash of its predecessor's body and
// that of the record it produced.
func EncodeEvent(e *plan.Event, prev, record []byte) (Message, error) {
	return encode(TypeEvent, &ymv1.Event{
		Fleet: e.Fleet, FleetUid: e.FleetUID, Node: e.Node, Number: e.Number, At: stamp(e.At),
		Incarnation: int32(e.Incarnation), Attempt: int32(e.Attempt),
		Fact: string(e.Fact), From: string(e.From), To: string(e.To), By: e.By, Input: e.Input,
		Reason: string(e.Reason), Message: e.Message, Took: span(e.Took), Revision: int32(e.Revision),
		Disrupted: int32(e.Disrupted), Surged: int32(e.Surged), Prev: prev, Record: record,
	}, nil)
}

// Event is a stored event with its place in the chain.
type Event struct {
	plan.Event
	Prev   []byte
	Record []byte
}

// DecodeEvent reads what EncodeEvent wrote.
func DecodeEvent(typ, version string, body []byte) (*Event, error) {
	m, err := decodeAs[*ymv1.Event](typ, version, body)
	if err != nil {
		return nil, err
	}
	return &Event{
		Event: plan.Event{
			Fleet: m.GetFleet(), FleetUID: m.GetFleetUid(), Node: m.GetNode(), Number: m.GetNumber(), At: when(m.GetAt()),
			Incarnation: int(m.GetIncarnation()), Attempt: int(m.GetAttempt()),
			Fact: plan.Fact(m.GetFact()), From: plan.State(m.GetFrom()), To: plan.State(m.GetTo()), By: m.GetBy(), Input: m.GetInput(),
			Reason: reason(m.GetReason()), Message: m.GetMessage(), Took: m.GetTook().AsDuration(), Revision: int(m.GetRevision()),
			Disrupted: int(m.GetDisrupted()), Surged: int(m.GetSurged()),
		},
		Prev: m.GetPrev(), Record: m.GetRecord(),
	}, nil
}
