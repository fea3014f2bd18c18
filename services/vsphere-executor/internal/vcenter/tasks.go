package vcenter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	// The pause between two looks is a fifth of what tasks usually take,
	// within these bounds: a real clone takes many seconds, a simulated one
	// some milliseconds.
	pollShare = 5
	pollLeast = 10 * time.Millisecond
	pollMost  = 500 * time.Millisecond
	// blindFor is how long vCenter may be away before those who wait are
	// told; their tasks go on without us.
	blindFor = time.Minute
)

// opClone is the operation that makes a VM.
const opClone = "clone"

// errTaskGone means that vCenter forgot a task, as it does when it restarts:
// what came of it must be looked up.
var errTaskGone = errors.New("vCenter no longer knows the task")

// tasks waits for all open tasks with one call per look. A collector per
// task, as govmomi does it, costs vCenter twice the CPU and dies with its
// session.
type tasks struct {
	vim     *vim25.Client
	metrics *Metrics

	mu   sync.Mutex
	open map[types.ManagedObjectReference]*openTask
	// ours are the tasks that were begun here and are waited for by who
	// began them.
	ours    map[types.ManagedObjectReference]bool
	polling bool
	usual   time.Duration // smoothed duration of tasks
	stop    context.CancelFunc
	pollers sync.WaitGroup
}

type openTask struct {
	operation string
	// subject is the name of what it makes or changes; empty if somebody else
	// began it.
	subject string
	state   types.TaskInfoState
	begun   time.Time
	waiting []chan taskEnd
	// hold is what to call when the task has ended, whether anybody waits for
	// it or not; nil is nothing.
	hold func()
}

type taskEnd struct {
	result types.AnyType
	err    error
}

func newTasks(vim *vim25.Client, m *Metrics) *tasks {
	return &tasks{
		vim: vim, metrics: m, usual: 100 * time.Millisecond,
		open: map[types.ManagedObjectReference]*openTask{}, ours: map[types.ManagedObjectReference]bool{},
	}
}

// wait returns the result of a task that was just begun when it ends; ctx ends
// the waiting, not the task. From then on it is one that nobody here waits
// for, and may yet make a VM: see clonesOfOthers. Once the task has ended, hold
// is called.
func (t *tasks) wait(ctx context.Context, ref types.ManagedObjectReference, w work, hold func()) (types.AnyType, error) {
	t.own(ref)
	defer t.disown(ref)
	t.hold(ctx, ref, w.operation, hold)
	t.about(ref, w.name)
	return t.join(ctx, ref, w.operation)
}

func (t *tasks) about(ref types.ManagedObjectReference, subject string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o := t.open[ref]; o != nil {
		o.subject = subject
	}
}

// cloning returns the clone under way that makes the VM of a name and that
// nobody waits for any more: the time of the job that began it was up.
func (t *tasks) cloning(subject string) []types.ManagedObjectReference {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ref, o := range t.open {
		if o.operation == opClone && o.subject == subject && !t.ours[ref] {
			return []types.ManagedObjectReference{ref}
		}
	}
	return nil
}

// hold has the task polled until it has ended, and then calls what it is
// given. It reports whether it will; else somebody does so already.
func (t *tasks) hold(ctx context.Context, ref types.ManagedObjectReference, operation string, end func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.poll(ctx, ref, operation)
	if o.hold != nil {
		return false
	}
	o.hold = end
	return true
}

func (t *tasks) own(ref types.ManagedObjectReference) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ours[ref] = true
}

func (t *tasks) disown(ref types.ManagedObjectReference) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.ours, ref)
}

// join waits for a task whoever began it, beside others who do.
func (t *tasks) join(ctx context.Context, ref types.ManagedObjectReference, operation string) (types.AnyType, error) {
	done := t.add(ctx, ref, operation)
	select {
	case end := <-done:
		return end.result, end.err
	case <-ctx.Done():
		t.leave(ref, done)
		return nil, fmt.Errorf("wait for task %s: %w", ref.Value, ctx.Err())
	}
}

// leave ends the polling of a task that nobody waits for any more and that
// holds nothing.
func (t *tasks) leave(ref types.ManagedObjectReference, done chan taskEnd) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.open[ref]
	if o == nil {
		return
	}
	o.waiting = slices.DeleteFunc(o.waiting, func(c chan taskEnd) bool { return c == done })
	if len(o.waiting) == 0 && o.hold == nil {
		t.end(ref, taskEnd{})
	}
}

func (t *tasks) add(ctx context.Context, ref types.ManagedObjectReference, operation string) chan taskEnd {
	done := make(chan taskEnd, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.poll(ctx, ref, operation)
	o.waiting = append(o.waiting, done)
	return done
}

// poll has the task looked at until it has ended; the poller lives as long as
// a task is open. The caller holds the lock.
func (t *tasks) poll(ctx context.Context, ref types.ManagedObjectReference, operation string) *openTask {
	if o := t.open[ref]; o != nil {
		return o
	}
	o := &openTask{operation: operation, state: types.TaskInfoStateQueued, begun: time.Now()}
	t.open[ref] = o
	t.metrics.tasks.WithLabelValues(operation, string(o.state)).Inc()
	if !t.polling {
		t.polling = true
		// One caller's end must not end the polling for the others.
		ctx, t.stop = context.WithCancel(context.WithoutCancel(ctx))
		t.pollers.Go(func() { t.run(ctx) })
	}
	return o
}

// knows reports whether the task is ours and waited for by who began it.
func (t *tasks) knows(ref types.ManagedObjectReference) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ours[ref]
}

// held reports whether somebody here counts on the task's end.
func (t *tasks) held(ref types.ManagedObjectReference) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.open[ref]
	return o != nil && o.hold != nil
}

// close gives up on every open task and waits for the poller.
func (t *tasks) close() {
	t.mu.Lock()
	for ref := range t.open {
		t.end(ref, taskEnd{err: fmt.Errorf("task %s: %w", ref.Value, context.Canceled)})
	}
	if t.stop != nil {
		t.stop()
	}
	t.mu.Unlock()
	t.pollers.Wait()
}

func (t *tasks) run(ctx context.Context) {
	seen := time.Now()
	for {
		time.Sleep(t.pause())
		refs := t.refs()
		if len(refs) == 0 {
			return
		}
		states, err := t.look(ctx, refs)
		if err == nil {
			seen = time.Now()
			t.take(refs, states)
			continue
		}
		if time.Since(seen) > blindFor {
			t.mu.Lock()
			for _, ref := range refs {
				t.end(ref, taskEnd{err: fmt.Errorf("wait for task %s: %w", ref.Value, err)})
			}
			t.mu.Unlock()
		}
	}
}

// refs returns the open tasks; when there are none the poller must end.
func (t *tasks) refs() []types.ManagedObjectReference {
	t.mu.Lock()
	defer t.mu.Unlock()
	refs := make([]types.ManagedObjectReference, 0, len(t.open))
	for ref := range t.open {
		refs = append(refs, ref)
	}
	if len(refs) == 0 {
		t.polling = false
		t.stop()
	}
	return refs
}

func (t *tasks) pause() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return min(max(t.usual/pollShare, pollLeast), pollMost)
}

type taskState struct {
	state  types.TaskInfoState
	result types.AnyType
	fault  *types.LocalizedMethodFault
}

func (s taskState) failure() error {
	if s.fault == nil {
		return errors.New("the task failed, vCenter does not say why")
	}
	return task.Error{LocalizedMethodFault: s.fault}
}

// look reads the states of the tasks; those that vCenter forgot are missing.
func (t *tasks) look(ctx context.Context, refs []types.ManagedObjectReference) (map[types.ManagedObjectReference]taskState, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	objects, err := retrieve(ctx, t.vim, refs, "info.state", "info.result", "info.error")
	if err != nil {
		return nil, err
	}
	states := make(map[types.ManagedObjectReference]taskState, len(objects))
	for _, o := range objects {
		s := taskState{state: value[types.TaskInfoState](o, "info.state"), result: value[types.AnyType](o, "info.result")}
		if f, ok := value[types.AnyType](o, "info.error").(types.LocalizedMethodFault); ok {
			s.fault = &f
		}
		states[o.Obj] = s
	}
	return states, nil
}

func (t *tasks) take(refs []types.ManagedObjectReference, states map[types.ManagedObjectReference]taskState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ref := range refs {
		o, s := t.open[ref], states[ref]
		if o == nil {
			continue
		}
		switch s.state {
		case types.TaskInfoStateSuccess:
			t.usual += (time.Since(o.begun) - t.usual) / 8
			t.end(ref, taskEnd{result: s.result})
		case types.TaskInfoStateError:
			t.end(ref, taskEnd{err: s.failure()})
		case types.TaskInfoStateQueued, types.TaskInfoStateRunning:
			t.metrics.tasks.WithLabelValues(o.operation, string(o.state)).Dec()
			o.state = s.state
			t.metrics.tasks.WithLabelValues(o.operation, string(o.state)).Inc()
		default:
			t.end(ref, taskEnd{err: fmt.Errorf("task %s: %w", ref.Value, errTaskGone)})
		}
	}
}

// end tells who waits; the caller holds the lock.
func (t *tasks) end(ref types.ManagedObjectReference, e taskEnd) {
	o := t.open[ref]
	if o == nil {
		return
	}
	delete(t.open, ref)
	t.metrics.tasks.WithLabelValues(o.operation, string(o.state)).Dec()
	for _, done := range o.waiting {
		done <- e
	}
	if o.hold != nil {
		o.hold()
	}
}
