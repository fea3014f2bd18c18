package vcenter

import (
	"context"
	"errors"
	"fmt"
	"time"

	vfault "github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// connection is one vCenter as a Site describes it: one session, the names
// resolved there, the tasks under way, and the limits, which outlive it.
type connection struct {
	vim    *vim25.Client
	login  *login
	rest   *restSession
	names  *names
	tasks  *tasks
	limits *limits
	berths *berths
	recall recall
	// host means that it is a lone host and no vCenter; its VMs are made of
	// the images in stock.
	host    bool
	stock   *stock
	uploads *uploads
	// sightings say who else has an address.
	sightings *sightings
	// shutdownFor is how long a guest may take to shut down.
	shutdownFor time.Duration
	// turnWait is how long a job waits for its turn to upload.
	turnWait time.Duration
}

func connect(ctx context.Context, site *fleet.SiteVSphere, o access) (*connection, error) {
	vim, login, err := dial(ctx, site, o)
	if err != nil {
		return nil, err
	}
	o.limits.set(limitsOf(site, vim))
	return &connection{
		vim: vim, login: login, rest: &restSession{login: login},
		names:  newNames(vim, site.Datacenter),
		tasks:  newTasks(vim, o.metrics),
		limits: o.limits, sightings: o.seen,
		host: isHost(vim), stock: o.stock, uploads: o.uploads,
		berths: o.berths,

		shutdownFor: shutdownFor, turnWait: turnWait,
	}, nil
}

func (c *connection) close(ctx context.Context) error {
	c.tasks.close()
	return errors.Join(c.rest.close(ctx), c.login.close(ctx))
}

// rounds is how often an operation is begun again in one go: after a cut
// line, after names were resolved anew, after the VM changed meanwhile.
const rounds = 4

// errAgain means that what was seen no longer holds.
var errAgain = errors.New("the VM changed while it was worked on")

// repeat runs a whole operation, which begins with a look, until it ends in
// something that another look cannot change.
func (c *connection) repeat(ctx context.Context, operation func() error) error {
	var err error
	resolved := false
	for range rounds {
		err = operation()
		switch {
		case err == nil:
			return nil
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			// A slow vCenter is no failure; the next try finds what this one
			// began.
			return fault.Newf(fault.Transient, fault.Timeout, "the job's time was up: %w", err)
		case ctx.Err() != nil:
			return fault.New(fault.Cancelled, fault.Stopped, errors.Join(ctx.Err(), err))
		case c.stale(err) && resolved:
			return vanished(err)
		case c.stale(err):
			resolved = true
			c.names.forget()
		case gone(err), errors.Is(err, errAgain), unknownOutcome(err):
		default:
			return classify(err)
		}
	}
	return classify(err)
}

// stale reports whether a cached reference is no longer good.
func (c *connection) stale(err error) bool {
	if is[*types.NotFound](err) {
		return true
	}
	var missing *types.ManagedObjectNotFound
	if _, ok := vfault.As(err, &missing); !ok {
		return false
	}
	return missing.Obj.Type != "VirtualMachine" && missing.Obj.Type != "Task" || c.names.isTemplate(missing.Obj)
}

// vanished is about an object that vCenter lists under the name in the pool
// and says is not there, also after the name was looked up anew.
func vanished(err error) error {
	var missing *types.ManagedObjectNotFound
	if _, ok := vfault.As(err, &missing); !ok {
		return classify(err)
	}
	f, ok := fieldOf(missing.Obj.Type)
	if !ok {
		return classify(err)
	}
	return fault.WithHint(fault.Newf(fault.Permanent, fault.NotFound, "vCenter lists the %s of the pool and does not know it when it is used (%s): %w", f.what, missing.Obj.Value, told(err)),
		fmt.Sprintf("see in vCenter whether it is usable, or name another in vsphere.%s of the pool; then yardctl retry", f.field))
}

// do carries out one task of vCenter for a job.
func (c *connection) do(ctx context.Context, t *executor.Task, operation string, call func(context.Context) (*object.Task, error), gates ...*gate) (types.AnyType, error) {
	return c.carryOut(ctx, work{operation: operation, name: name(t), permit: t.Permit}, call, gates...)
}

// perform carries out one task of vCenter whose result nobody needs.
func (c *connection) perform(ctx context.Context, w work, call func(context.Context) (*object.Task, error)) error {
	_, err := c.carryOut(ctx, w, call)
	return err
}

// work is what a task does to what, and who must permit it.
type work struct {
	operation string
	name      string
	permit    func(context.Context) error
}

// carryOut waits for a turn, asks whether the task is still permitted, calls,
// and waits for the end. The turn is over when the task is, whoever waits.
func (c *connection) carryOut(ctx context.Context, w work, call func(context.Context) (*object.Task, error), gates ...*gate) (types.AnyType, error) {
	leave, err := c.turn(ctx, gates...)
	if err != nil {
		return nil, err
	}
	if err := w.permit(ctx); err != nil {
		leave()
		return nil, err
	}
	task, err := c.begin(ctx, call)
	if err != nil {
		if unknownOutcome(err) {
			c.recall.forget()
		}
		leave()
		return nil, fmt.Errorf("%s %s: %w", w.operation, w.name, err)
	}
	result, err := c.tasks.wait(ctx, task.Reference(), w, leave)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", w.operation, w.name, err)
	}
	return result, nil
}

// answerWithin is how long a call that begins a task is waited for after its
// caller was told to stop: what is on its way to vCenter cannot be called
// back, and who comes next must be able to see it there.
const answerWithin = 5 * time.Second

func (c *connection) begin(ctx context.Context, call func(context.Context) (*object.Task, error)) (*object.Task, error) {
	calling, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	late := make(chan *time.Timer, 1)
	stop := context.AfterFunc(ctx, func() { late <- time.AfterFunc(answerWithin, cancel) })
	defer func() {
		if !stop() {
			(<-late).Stop()
		}
	}()
	return call(calling)
}
