package executor

import (
	"context"

	"yardmaster.dev/pkg/guest"
	"yardmaster.dev/pkg/plan"
)

// Backend makes, blanks and removes the machines of one site. Every method
// may be called again for the same node, by this process or by its successor
// after a crash at any point in between, and at most once at a time per node.
// Errors are classified by package fault.
type Backend interface {
	// Create makes the node's machine and switches it on. The second call
	// finds the first one's machine by its identity, finishes what is
	// missing and reports it as adopted; it never makes a second machine.
	Create(ctx context.Context, t *Task) (Machine, error)
	// Blank removes the config from a machine that has booted. The second
	// call changes nothing.
	Blank(ctx context.Context, t *Task) error
	// Resize gives the machine the size that its pool wants. What a running
	// machine does not take is refused as hot_refused, unless the job allows
	// a restart: then the machine is on when it returns. The second call
	// finishes what the first one began.
	Resize(ctx context.Context, t *Task) (Machine, error)
	// Offer puts the task's config where the guest of the machine finds it,
	// in place of the former one, and leaves the machine as it is. The second
	// call changes nothing.
	Offer(ctx context.Context, t *Task) error
	// Delete removes the machine if it is provably the job's. The second
	// call finds nothing and succeeds.
	Delete(ctx context.Context, t *Task) error
	// Watch reports what it sees of this yard's machines until ctx ends. The
	// second call starts afresh: it may repeat what was reported before.
	Watch(ctx context.Context, yard string, see func(Sighting)) error
}

// Task is a job with all that a backend needs to carry it out.
type Task struct {
	Job   *plan.Job
	Owner Owner
	// Epoch is the seat's: a machine that bears a higher one was touched by
	// our successor, and is left alone.
	Epoch int64
	// Config is the opened config; only Create and Offer have one.
	Config *Config
	// Permit reads the job and the seat anew. It is called right before
	// each step that makes or destroys something; its error ends the task.
	Permit func(ctx context.Context) error
}

// Config is what the guest finds when it boots, in clear text: never log it.
type Config struct {
	Digest string
	// GuestInfo holds the keys of the guest's configuration channel.
	GuestInfo map[string]string
}

// Machine is what Create made or found.
type Machine struct {
	// ID is the backend's reference, UUID the machine's identity.
	ID      string
	UUID    string
	Adopted bool
	// Hot is what it takes while it runs.
	Hot plan.Hot
}

// Sighting is something new about a machine.
type Sighting struct {
	Fleet string
	// Node is the node's key within the fleet.
	Node        string
	Incarnation int
	// Address is the guest's address; empty if there is none (any more).
	Address string
	// Lost means that the machine is gone and that we did not remove it.
	Lost   bool
	Detail string
	// Said, if set, is what the guest left in the backend's own channel to
	// it; then the sighting is of nothing else.
	Said *guest.Report
}
