package wire

import (
	"errors"

	"yardmaster.dev/pkg/fault"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

// Question encodes a question to an executor.
func Question(q *ymv1.Question) (Message, error) { return encode(TypeQuestion, q, nil) }

// DecodeQuestion reads what Question wrote.
func DecodeQuestion(typ, version string, body []byte) (*ymv1.Question, error) {
	return decodeAs[*ymv1.Question](typ, version, body)
}

// Answer encodes a part of an answer.
func Answer(a *ymv1.Answer) (Message, error) { return encode(TypeAnswer, a, nil) }

// DecodeAnswer reads what Answer wrote.
func DecodeAnswer(typ, version string, body []byte) (*ymv1.Answer, error) {
	return decodeAs[*ymv1.Answer](typ, version, body)
}

// Failure writes a classified error down.
func Failure(err error) *ymv1.Failure {
	f := fault.Of(err)
	return &ymv1.Failure{
		Kind: kinds[f.Kind], Reason: string(f.Reason), Message: err.Error(), Hint: f.Hint, RetryAfter: span(f.RetryAfter),
	}
}

// Fault reads what Failure wrote.
func Fault(f *ymv1.Failure) error {
	return &fault.Error{
		Kind: faultKind(f.GetKind()), Reason: reason(f.GetReason()), Hint: f.GetHint(),
		RetryAfter: f.GetRetryAfter().AsDuration(), Err: errors.New(f.GetMessage()),
	}
}
