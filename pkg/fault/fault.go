// Package fault says why something failed and whether trying again can help.
//
// A foreign error is classified once, at the edge where it is understood;
// from there on only its [Kind] steers and only its [Reason] is shown. The
// package never logs and never wraps an error in secret: [Error] unwraps to
// its cause.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind says what a failure means for the job that met it.
type Kind uint8

// The kinds. The zero value is Transient: an unclassified error is tried
// again, bounded by the node's attempts.
const (
	// Transient failures are tried again with back-off and cost an attempt.
	Transient Kind = iota
	// Busy means that the backend asks for patience; it costs no attempt.
	Busy
	// Permanent failures go to the dead-letter list at once.
	Permanent
	// Cancelled means that we were told to stop; nothing is held against
	// the node.
	Cancelled
)

var kindNames = [...]string{"transient", "busy", "permanent", "cancelled"}

// String returns the kind's name as it stands in records and metrics.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Error is a classified failure.
type Error struct {
	Kind   Kind
	Reason Reason
	// Hint tells the operator what to do; may be empty.
	Hint string
	// RetryAfter is how long a busy backend asked us to wait; zero means
	// that the plan's policy decides.
	RetryAfter time.Duration
	Err        error
}

// New classifies err. It returns nil for a nil err.
func New(kind Kind, reason Reason, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: kind, Reason: reason, Err: err}
}

// Newf classifies a new error made from format, which may use %w.
func Newf(kind Kind, reason Reason, format string, args ...any) error {
	return &Error{Kind: kind, Reason: reason, Err: fmt.Errorf(format, args...)}
}

// WithHint adds what the operator should do next to a classified error; an
// unclassified one becomes Transient and Unknown.
func WithHint(err error, hint string) error {
	if err == nil {
		return nil
	}
	f := Of(err)
	f.Hint = hint
	return &f
}

// Error returns the cause's text.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Of returns err's classification. A nil err gives the zero Error; an
// unclassified one is Transient with reason Unknown, unless it is a cancelled
// context, which is Cancelled.
func Of(err error) Error {
	if err == nil {
		return Error{}
	}
	if f, ok := errors.AsType[*Error](err); ok {
		out := *f
		out.Err = err
		return out
	}
	if errors.Is(err, context.Canceled) {
		return Error{Kind: Cancelled, Reason: Stopped, Err: err}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Error{Kind: Transient, Reason: Timeout, Err: err}
	}
	return Error{Kind: Transient, Reason: Unknown, Err: err}
}
