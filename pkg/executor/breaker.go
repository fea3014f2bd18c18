package executor

import (
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"yardmaster.dev/pkg/fault"
)

const (
	// breakerAfter busy failures in a row open the breaker; a refused login
	// opens it at once, so that no account is locked.
	breakerAfter = 3
	// BreakerPause is how long an open breaker lets nothing through before
	// it tries one job.
	BreakerPause = 10 * time.Second
)

// breaker keeps jobs away from a backend that cannot do any. What it turns
// away costs no attempt.
type breaker struct {
	inner *gobreaker.TwoStepCircuitBreaker[any]
	pause time.Duration

	mu     sync.Mutex
	opened time.Time
	last   error // why it opened
}

func newBreaker(name string, pause time.Duration, changed func(up float64)) *breaker {
	if pause <= 0 {
		pause = BreakerPause
	}
	b := &breaker{pause: pause}
	b.inner = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Name:        name,
		MaxRequests: 1,
		Timeout:     pause,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= breakerAfter || fault.Of(b.reason()).Reason == fault.LoginRefused
		},
		IsSuccessful: func(err error) bool { return fault.Of(err).Kind != fault.Busy },
		IsExcluded: func(err error) bool {
			f := fault.Of(err)
			return f.Kind == fault.Cancelled || onItsWay(f)
		},
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				b.mu.Lock()
				b.opened = time.Now()
				b.mu.Unlock()
				changed(0)
				return
			}
			if to == gobreaker.StateClosed {
				changed(1)
			}
		},
	})
	changed(1)
	return b
}

// through runs work unless the breaker is open.
func (b *breaker) through(work func() error) error {
	finished, err := b.inner.Allow()
	if err != nil {
		return b.refusal()
	}
	// A panic must give the one try of a half-open breaker back.
	err = errors.New("the work did not end")
	defer func() { finished(err) }()
	err = work()
	if f := fault.Of(err); f.Kind == fault.Busy && !onItsWay(f) {
		b.mu.Lock()
		b.last = err
		b.mu.Unlock()
	}
	return err
}

// onItsWay reports whether a job waits for an image or a disk on its way, which
// says nothing about the backend.
func onItsWay(f fault.Error) bool {
	return f.Reason == fault.ImageImporting || f.Reason == fault.UploadWaiting
}

// reason is the last busy failure.
func (b *breaker) reason() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// refusal says how long a job that was turned away should wait.
func (b *breaker) refusal() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := fault.Of(b.last)
	wait := max(time.Until(b.opened.Add(b.pause)), time.Second)
	return &fault.Error{Kind: fault.Busy, Reason: f.Reason, Hint: f.Hint, RetryAfter: max(wait, f.RetryAfter), Err: b.last}
}

// state is closed, open or half-open, and why it is not closed.
func (b *breaker) state() (state, why string) {
	s := b.inner.State()
	if err := b.reason(); s != gobreaker.StateClosed && err != nil {
		why = err.Error()
	}
	return s.String(), why
}
