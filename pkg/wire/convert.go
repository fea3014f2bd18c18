package wire

import (
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"yardmaster.dev/pkg/fault"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func when(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func span(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

func reason(s string) fault.Reason { return fault.Reason(s) }

func counts(m map[string]int) map[string]int32 {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]int32, len(m))
	for k, v := range m {
		out[k] = int32(v)
	}
	return out
}

func ints(m map[string]int32) map[string]int {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]int, len(m))
	for k, v := range m {
		out[k] = int(v)
	}
	return out
}

func optional(v *int) *int32 {
	if v == nil {
		return nil
	}
	n := int32(*v)
	return &n
}

func optionalInt(v *int32) *int {
	if v == nil {
		return nil
	}
	n := int(*v)
	return &n
}

// document encodes a document as canonical JSON: encoding/json sorts maps
// and writes fields in the order of the struct.
func document(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode document: %w", err)
	}
	return b, nil
}

func undocument(b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode document: %w", err)
	}
	return nil
}

var kinds = map[fault.Kind]ymv1.FaultKind{
	fault.Transient: ymv1.FaultKind_FAULT_KIND_TRANSIENT,
	fault.Busy:      ymv1.FaultKind_FAULT_KIND_BUSY,
	fault.Permanent: ymv1.FaultKind_FAULT_KIND_PERMANENT,
	fault.Cancelled: ymv1.FaultKind_FAULT_KIND_CANCELLED,
}

func faultKind(k ymv1.FaultKind) fault.Kind {
	for kind, stored := range kinds {
		if stored == k {
			return kind
		}
	}
	return fault.Transient
}
