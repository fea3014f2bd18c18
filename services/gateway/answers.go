package gateway

import (
	"context"
	"sync"

	"yardmaster.dev/pkg/ledger"
	"yardmaster.dev/pkg/plan"
)

// answers hands receipts to those who wait for them, once everything that
// was written together with the receipt has been taken in: whoever has an
// answer also reads its effects.
type answers struct {
	mu      sync.Mutex
	waiting map[string]map[*awaited]struct{}
	// ready holds, by shard, what was found and waits for its transition to
	// be complete; midway says whether one is incomplete.
	ready  map[int][]*awaited
	midway map[int]bool
}

// awaited is one who waits for a receipt.
type awaited struct {
	all     *answers
	key     string
	done    chan struct{}
	receipt *plan.Receipt
	stamp   ledger.Stamp
}

func newAnswers() *answers {
	return &answers{waiting: map[string]map[*awaited]struct{}{}, ready: map[int][]*awaited{}, midway: map[int]bool{}}
}

func answerKey(scope, id string) string { return scope + "/" + id }

// expect registers somebody who waits.
func (a *answers) expect(scope, id string) *awaited {
	w := &awaited{all: a, key: answerKey(scope, id), done: make(chan struct{})}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting[w.key] == nil {
		a.waiting[w.key] = map[*awaited]struct{}{}
	}
	a.waiting[w.key][w] = struct{}{}
	return w
}

// forget ends the waiting.
func (w *awaited) forget() {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	delete(w.all.waiting[w.key], w)
	if len(w.all.waiting[w.key]) == 0 {
		delete(w.all.waiting, w.key)
	}
}

// wait returns the receipt and the position at which all of its effects are
// there.
func (w *awaited) wait(ctx context.Context) (*plan.Receipt, ledger.Stamp, error) {
	select {
	case <-w.done:
		return w.receipt, w.stamp, nil
	case <-ctx.Done():
		return nil, ledger.Stamp{}, ctx.Err()
	}
}

// found hands a receipt that is there to everybody who waits for it.
func (a *answers) found(r *plan.Receipt, at ledger.Stamp) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hold(r, at)
	if !a.midway[at.Shard] {
		a.release(at)
	}
}

// hold remembers who gets a receipt; the lock is held.
func (a *answers) hold(r *plan.Receipt, at ledger.Stamp) {
	key := answerKey(r.Fleet, r.ID)
	for w := range a.waiting[key] {
		w.receipt = r
		a.ready[at.Shard] = append(a.ready[at.Shard], w)
	}
	delete(a.waiting, key)
}

// release answers those whose transition is complete; the lock is held.
func (a *answers) release(at ledger.Stamp) {
	for _, w := range a.ready[at.Shard] {
		w.stamp = at
		close(w.done)
	}
	delete(a.ready, at.Shard)
}

// change follows the mirror.
func (a *answers) change(c ledger.Change) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r, ok := c.Record.(*plan.Receipt); ok {
		a.hold(r, c.Stamp)
	}
	a.midway[c.Stamp.Shard] = !c.Commit
	if c.Commit {
		a.release(c.Stamp)
	}
}

// keys returns what is waited for, for a look into a World that was loaded
// anew.
func (a *answers) keys() []*awaited {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.midway)
	var out []*awaited
	for _, ws := range a.waiting {
		for w := range ws {
			out = append(out, w)
			break
		}
	}
	return out
}
