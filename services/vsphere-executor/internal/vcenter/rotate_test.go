package vcenter

import (
	"context"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fleet"
)

// passwords is the one that the simulated vCenter takes and the one that the
// executor's file holds.
type passwords struct {
	good, file atomic.Value
	// refused counts logins that were refused.
	refused atomic.Int64
}

func (p *passwords) read(s fleet.Secret) (string, error) {
	if s.Env != "pass" {
		return s.Env, nil
	}
	password, _ := p.file.Load().(string)
	return password, nil
}

// guard has the simulator check passwords.
func (p *passwords) guard(w *world) {
	strict := *w.server.URL
	strict.User = url.User("anybody")
	w.model.Service.Listen = &strict
	w.model.Service.Context.Map.SessionManager().ValidLogin = func(r *types.Login) bool {
		if r.Password == p.good.Load() {
			return true
		}
		p.refused.Add(1)
		return false
	}
}

// watched is a backend whose watching goes on until the test ends.
func (p *passwords) watched(t *testing.T, w *world) *Backend {
	t.Helper()
	p.guard(w)
	b := w.backend(t)
	b.options.Secret, b.credentialsEvery = p.read, time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { _ = b.Watch(ctx, testYard, func(executor.Sighting) {}) })
	t.Cleanup(func() { stop(); watching.Wait() })
	return b
}

func (b *Backend) keyInUse() (key [32]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil {
		return key
	}
	return b.current.login.inUse()
}

func TestPasswordChangesDuringARollout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &passwords{}
	p.good.Store("one")
	p.file.Store("one")
	b := p.watched(t, w)
	waitFor(t, func() bool { return b.keyInUse() != [32]byte{} })
	before := b.keyInUse()
	hold := make(chan struct{})
	w.tasks.add(&rule{operation: "cloneVm", hold: hold})
	var jobs sync.WaitGroup
	create := func(from, to int) {
		for i := from; i < to; i++ {
			jobs.Go(func() {
				if _, err := b.Create(t.Context(), jobOf(i, 1)); err != nil {
					t.Errorf("Create %d: %v", i, err)
				}
			})
		}
	}
	create(0, 10)
	waitFor(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.current.users >= 10 })
	p.good.Store("two")
	p.file.Store("two")
	waitFor(t, func() bool { return b.keyInUse() != before })
	if n := len(w.sessions(t)); n != 2 {
		t.Errorf("%d sessions while old work goes on; want the old one and the other", n)
	}
	create(10, 20)
	close(hold)
	jobs.Wait()
	if n := len(w.all(t)); n != 20 {
		t.Errorf("%d VMs; want 20", n)
	}
	waitFor(t, func() bool { return len(w.sessions(t)) == 1 })
	if n := p.refused.Load(); n != 0 {
		t.Errorf("%d logins were refused; want none", n)
	}
}

func TestWrongPasswordIsTriedOncePerChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &passwords{}
	p.good.Store("one")
	p.file.Store("one")
	b := p.watched(t, w)
	waitFor(t, func() bool { return b.keyInUse() != [32]byte{} })
	for i, wrong := range []string{"wrong", "wronger"} {
		p.file.Store(wrong)
		waitFor(t, func() bool { return p.refused.Load() == int64(i+1) && b.Trouble() != "" })
		if _, err := b.Create(t.Context(), jobOf(i, 1)); err != nil {
			t.Errorf("Create on the session of the old password: %v", err)
		}
	}
	w.killSessions(t)
	for range 3 {
		if _, err := b.Create(t.Context(), jobOf(5, 1)); err == nil {
			t.Error("Create without a session worked with a password that was refused")
		}
	}
	if n := p.refused.Load(); n != 2 {
		t.Errorf("%d logins with two wrong passwords; want one each", n)
	}
	p.file.Store("one")
	waitFor(t, func() bool {
		_, err := b.Create(t.Context(), jobOf(6, 1))
		return err == nil
	})
	waitFor(t, func() bool { return b.Trouble() == "" })
	if n := p.refused.Load(); n != 2 {
		t.Errorf("%d logins were refused; want no more than the two", n)
	}
}
