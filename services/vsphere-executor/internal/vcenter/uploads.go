package vcenter

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"yardmaster.dev/pkg/wire"
)

// uploads are the machines whose disks are on their way to a lone host.
type uploads struct {
	mu      sync.Mutex
	running map[string]*wire.Upload
}

func newUploads() *uploads { return &uploads{running: map[string]*wire.Upload{}} }

// begin notes an upload, until done is called.
func (u *uploads) begin(machine, image string) (progress func(done, total int64), done func()) {
	up := &wire.Upload{Machine: machine, Image: image, Since: time.Now()}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.running[machine] = up
	progress = func(done, total int64) {
		u.mu.Lock()
		defer u.mu.Unlock()
		up.Done, up.Total = done, total
	}
	return progress, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.running, machine)
	}
}

func (u *uploads) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.running)
}

// list are all of them, by machine.
func (u *uploads) list() []wire.Upload {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := make([]wire.Upload, 0, len(u.running))
	for _, up := range u.running {
		out = append(out, *up)
	}
	slices.SortFunc(out, func(a, b wire.Upload) int { return cmp.Compare(a.Machine, b.Machine) })
	return out
}

// patience is how long it takes until the first of them ends, about.
func (u *uploads) patience(now time.Time) time.Duration {
	least := patienceMost
	for _, up := range u.list() {
		least = min(least, patience(wire.ImageState{Done: up.Done, Total: up.Total, Since: up.Since}, now))
	}
	return least
}
