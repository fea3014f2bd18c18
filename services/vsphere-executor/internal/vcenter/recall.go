package vcenter

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/vmware/govmomi/vim25/types"
)

// recall is whether we know of all tasks of ours that are under way. At first
// nobody does: a predecessor may have died, or been stopped, in the middle of
// its work. And a call whose answer was lost may have begun one.
type recall struct {
	mu sync.Mutex // held while looking
	// done counts looks, lost calls whose outcome is unknown.
	done, lost int
	state      sync.Mutex
}

// forget says that there may be a task that we do not know of.
func (r *recall) forget() {
	r.state.Lock()
	defer r.state.Unlock()
	r.lost++
}

func (r *recall) complete() bool {
	r.state.Lock()
	defer r.state.Unlock()
	return r.done > r.lost
}

// turn waits for a place at each gate and at that of all operations. All that
// is under way is counted by then.
func (c *connection) turn(ctx context.Context, gates ...*gate) (leave func(), err error) {
	for {
		leave, err := enter(ctx, append(gates, c.limits.operations)...)
		if err != nil || c.recall.complete() {
			return leave, err
		}
		leave()
		if err := c.recollect(ctx); err != nil {
			return nil, err
		}
	}
}

// recollect takes places for our tasks under way that nobody here waits for,
// until they end.
func (c *connection) recollect(ctx context.Context) error {
	c.recall.mu.Lock()
	defer c.recall.mu.Unlock()
	if c.recall.complete() {
		return nil
	}
	c.recall.state.Lock()
	lost := c.recall.lost
	c.recall.state.Unlock()
	running, err := c.underWay(ctx)
	if err != nil {
		return err
	}
	me, err := c.login.manager.UserSession(ctx)
	if err != nil {
		return fmt.Errorf("read the session: %w", err)
	}
	for _, t := range running {
		if me == nil || !sameUser(t.user, me.UserName) || c.tasks.held(t.ref) || c.host && t.clone {
			continue // of an upload that nobody does any more the line is free
		}
		operation, template := "other", (*ref)(nil)
		if t.clone {
			operation, template = opClone, &t.entity
		}
		leave := c.limits.stranger(template)
		if !c.tasks.hold(ctx, t.ref, operation, leave) {
			leave()
		}
	}
	c.recall.state.Lock()
	defer c.recall.state.Unlock()
	c.recall.done = lost + 1
	return nil
}

// sameUser compares names of accounts, which vCenter writes with their domain
// before or after, or without it.
func sameUser(a, b string) bool {
	bare := func(s string) string {
		s = s[strings.LastIndexByte(s, '\\')+1:]
		name, _, _ := strings.Cut(s, "@")
		return name
	}
	return strings.EqualFold(bare(a), bare(b))
}

// activeTask is one that vCenter has not ended.
type activeTask struct {
	ref    ref
	entity ref
	user   string
	clone  bool
}

// underWay lists vCenter's recent tasks that have not ended.
func (c *connection) underWay(ctx context.Context) ([]activeTask, error) {
	manager := *c.vim.ServiceContent.TaskManager
	objects, err := retrieve(ctx, c.vim, []ref{manager}, "recentTask")
	if err != nil {
		return nil, fmt.Errorf("list the recent tasks: %w", err)
	}
	var recent []ref
	for _, o := range objects {
		recent = value[types.ArrayOfManagedObjectReference](o, "recentTask").ManagedObjectReference
	}
	if len(recent) == 0 {
		return nil, nil
	}
	infos, err := retrieve(ctx, c.vim, recent, "info.state", "info.descriptionId", "info.entity", "info.reason")
	if err != nil {
		return nil, fmt.Errorf("read the recent tasks: %w", err)
	}
	var running []activeTask
	for _, o := range infos {
		state := value[types.TaskInfoState](o, "info.state")
		if state != types.TaskInfoStateQueued && state != types.TaskInfoStateRunning {
			continue
		}
		t := activeTask{
			ref: o.Obj, entity: value[ref](o, "info.entity"),
			user:  value[types.TaskReasonUser](o, "info.reason").UserName,
			clone: c.makes(value[string](o, "info.descriptionId")),
		}
		running = append(running, t)
	}
	return running, nil
}
