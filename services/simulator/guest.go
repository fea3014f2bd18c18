package simulator

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"
	"golang.org/x/sync/errgroup"

	report "yardmaster.dev/pkg/guest"
)

// Phase says how far a guest is.
type Phase string

// The phases.
const (
	PhaseOff     Phase = "off"
	PhaseBooting Phase = "booting"
	// PhaseHung never comes up because a fault says so.
	PhaseHung Phase = "hung"
	// PhaseRefused stands in the emergency shell: Ignition refused its
	// config.
	PhaseRefused Phase = "refused"
	PhaseUp      Phase = "up"
)

// guest is how a machine's guest stands, and what is on its disk.
type guest struct {
	Phase  Phase  `json:"phase"`
	Reason string `json:"reason,omitempty"`
	// Source is the template, which names the Flatcar release.
	Source string `json:"source,omitempty"`
	BootID string `json:"bootId,omitempty"`
	// Address is the one that the guest tells first, Cards has all.
	Address  string `json:"address,omitempty"`
	Cards    []card `json:"cards,omitempty"`
	Hostname string `json:"hostname,omitempty"`
	// Booted is when the kernel began, Stages what of the boot is done,
	// Failed the units that failed.
	Booted time.Time      `json:"booted,omitzero"`
	Stages []report.Stage `json:"stages,omitempty"`
	Failed []string       `json:"failed,omitempty"`
	// Refused says why it did not obey its newest order.
	Refused string `json:"refused,omitempty"`
	Disk    onDisk `json:"disk,omitzero"`
}

// card is what a network card has while the guest is up.
type card struct {
	Key       int32    `json:"key"`
	Addresses []string `json:"addresses"`
}

// onDisk is what the first boot wrote; later boots only read it.
type onDisk struct {
	// Ignited means that Ignition is done with this disk.
	Ignited bool `json:"ignited,omitempty"`
	// CloudInit means that it found no config of its own, and that
	// coreos-cloudinit runs at every boot.
	CloudInit bool              `json:"cloudInit,omitempty"`
	Hostname  string            `json:"hostname,omitempty"`
	Networks  map[string]string `json:"networks,omitempty"`
	// PhoneHome is the unit until it succeeded, Reported whether it did.
	PhoneHome *phoneHome `json:"phoneHome,omitempty"`
	Reported  bool       `json:"reported,omitempty"`
	// Reporter is the unit that tells how the guest is, Units are the names
	// of all that are enabled.
	Reporter *reporter `json:"reporter,omitempty"`
	Units    []string  `json:"units,omitempty"`
	// Obeyed is the config that it ran by order, which is kept.
	Obeyed string `json:"obeyed,omitempty"`
}

// deed is what a guest does next.
type deed uint8

const (
	deedBoot deed = iota
	deedReport
	deedTell
	deedDown
)

// step is a deed at a time; it is stale when the guest was switched since.
type step struct {
	at   time.Time
	ref  string
	turn int
	deed deed
	rule Rule
}

// guests runs all guests with few goroutines. Reports have a queue of their
// own: when nobody answers them, boots go on.
type guests struct {
	w       *World
	machine queue
	reports queue

	mu    sync.Mutex
	state map[string]*tracked
}

// queue is steps in the order of their time: one goroutine keeps the time, a
// bounded number does what is due.
type queue struct {
	wake chan struct{}

	mu  sync.Mutex
	due steps
}

// tracked is a guest and how often it was switched on or off.
type tracked struct {
	guest
	turn int
}

func newGuests(w *World) *guests {
	return &guests{
		w:       w,
		machine: queue{wake: make(chan struct{}, 1)},
		reports: queue{wake: make(chan struct{}, 1)},
		state:   map[string]*tracked{},
	}
}

func (g *guests) run(ctx context.Context, workers int) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, q := range []*queue{&g.machine, &g.reports} {
		todo := make(chan step)
		group.Go(func() error {
			defer close(todo)
			q.keepTime(ctx, todo)
			return nil
		})
		for range workers {
			group.Go(func() error {
				for s := range todo {
					g.w.live(ctx, s)
				}
				return nil
			})
		}
	}
	return group.Wait()
}

func (q *queue) keepTime(ctx context.Context, todo chan<- step) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, wait := q.next()
		if wait <= 0 {
			select {
			case todo <- next:
				q.pop(next)
				continue
			case <-ctx.Done():
				return
			}
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-q.wake:
		case <-ctx.Done():
			return
		}
	}
}

// idle is how long the time keeper sleeps when nothing is due.
const idle = time.Hour

// next looks at the first step. It stays in the heap until it was handed
// over; an earlier one that comes meanwhile is only handed over after it.
func (q *queue) next() (step, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.due) == 0 {
		return step{}, idle
	}
	return q.due[0], time.Until(q.due[0].at)
}

func (q *queue) pop(s step) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.due {
		if q.due[i].ref == s.ref && q.due[i].turn == s.turn && q.due[i].deed == s.deed {
			heap.Remove(&q.due, i)
			return
		}
	}
}

func (q *queue) add(s step) {
	q.mu.Lock()
	heap.Push(&q.due, s)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (g *guests) plan(s step) {
	if s.deed == deedReport || s.deed == deedTell {
		g.reports.add(s)
		return
	}
	g.machine.add(s)
}

// after plans a deed of a guest that is still in its turn.
func (g *guests) after(d time.Duration, s step) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.state[s.ref]; t != nil && t.turn == s.turn {
		s.at = time.Now().Add(d)
		g.plan(s)
	}
}

// work plans what the units of a guest that is up do.
func (g *guests) work(s step, now guest) {
	if now.Disk.PhoneHome != nil {
		g.after(0, step{ref: s.ref, turn: s.turn, deed: deedReport})
	}
	if now.Disk.Reporter != nil {
		g.after(0, step{ref: s.ref, turn: s.turn, deed: deedTell})
	}
}

// made says that a clone has a fresh disk.
func (g *guests) made(ref types.ManagedObjectReference, template string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.state[ref.Value]
	if t == nil {
		t = &tracked{guest: guest{Phase: PhaseOff}}
		g.state[ref.Value] = t
	}
	t.Source = template
}

// powered switches a guest on or off and returns how it stands then.
func (g *guests) powered(ref, name string, state types.VirtualMachinePowerState) {
	on := state == types.VirtualMachinePowerStatePoweredOn
	s := step{ref: ref, deed: deedDown, at: time.Now()}
	if on {
		s.deed = deedBoot
		s.rule = g.w.faults.strike(OnBoot, name)
		s.at = s.at.Add(g.w.pause(g.w.cfg.BootDelay, s.rule))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.state[ref]
	if t == nil {
		t = &tracked{}
		g.state[ref] = t
	}
	t.turn++
	s.turn = t.turn
	t.guest = guest{Phase: PhaseOff, Source: t.Source, Disk: t.Disk}
	if on {
		t.Phase = PhaseBooting
	}
	g.plan(s)
}

// resume takes a guest out of the journal and goes on where it was.
func (g *guests) resume(m machine) {
	t := &tracked{guest: m.Guest}
	if types.VirtualMachinePowerState(m.Power) != types.VirtualMachinePowerStatePoweredOn {
		t.Phase = PhaseOff
	}
	g.mu.Lock()
	g.state[m.Ref] = t
	phase := t.Phase
	g.mu.Unlock()
	switch phase { //nolint:exhaustive // in the other phases nothing goes on
	case PhaseUp:
		g.work(step{ref: m.Ref}, m.Guest)
	case PhaseBooting:
		g.after(g.w.jitter(g.w.cfg.BootDelay.Duration), step{ref: m.Ref, deed: deedBoot})
	}
}

func (g *guests) gone(ref string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.state, ref)
}

// of returns how a guest stands.
func (g *guests) of(ref string) guest {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.state[ref]; t != nil {
		return t.guest
	}
	return guest{Phase: PhaseOff}
}

// current returns how the guest of a step stands, and whether the step is
// still of its turn.
func (g *guests) current(s step) (guest, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.state[s.ref]
	if t == nil || t.turn != s.turn {
		return guest{}, false
	}
	return t.guest, true
}

// set stores how a guest stands, if the step is still of its turn.
func (g *guests) set(s step, now guest) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.state[s.ref]
	if t == nil || t.turn != s.turn {
		return false
	}
	t.guest = now
	return true
}

// steps is a heap by time.
type steps []step

// Len is for container/heap.
func (s steps) Len() int { return len(s) }

// Less is for container/heap.
func (s steps) Less(i, j int) bool { return s[i].at.Before(s[j].at) }

// Swap is for container/heap.
func (s steps) Swap(i, j int) { s[i], s[j] = s[j], s[i] }

// Push is for container/heap.
func (s *steps) Push(x any) { *s = append(*s, x.(step)) } //nolint:errcheck // only plan pushes

// Pop is for container/heap.
func (s *steps) Pop() any {
	old := *s
	out := old[len(old)-1]
	*s = old[:len(old)-1]
	return out
}
