// Package simulate runs whole fleets in memory against the plan core: a
// planner that crashes, workers that fail, hang and die half-way, machines
// that vanish or never boot, and messages that come twice, late, in another
// order or only when they are sent again. After every step it checks what
// must always hold. A run is a function of its seed.
//
// It never sleeps and never looks at a clock: hours of a fleet's life take
// milliseconds.
package simulate

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"yardmaster.dev/pkg/plan"
)

// Options say what to run.
type Options struct {
	Seed uint64
	// Story keeps what happened, line by line.
	Story bool
	// Tamper plants a bug in what the planner decides, to show that the
	// checks see it; Careless one in the workers: they make a machine without
	// looking for an earlier one.
	Tamper   func(*plan.Outcome)
	Careless bool
	// Idle workers say that they have changed a machine's size and have not.
	Idle bool
}

// Report is how a run ended.
type Report struct {
	Seed      uint64
	Decisions int
	Effects   int
	Crashes   int
	Lasted    time.Duration
	Story     []string
	// Err is the first thing that must never be; nil if all was well.
	Err error
}

// run is one simulated yard.
type run struct {
	opt Options
	rng *rand.Rand
	// strangers draws what others do, so that the rest of a seed stays.
	strangers *rand.Rand
	now       time.Time
	begun     time.Time
	agenda    agenda
	seq       int

	ledger *ledger
	world  *plan.World // the planner's memory; nil while it is down
	check  *checker
	site   *datacenter
	script *script
	faults faults
	report Report
}

// faults are the odds, drawn per run, of what goes wrong.
type faults struct {
	crash     float64 // the planner, at one of several points of a decision
	undone    float64 // a batch, by a power cut, after its jobs were delivered
	lost      float64 // a message, until it is sent again
	twice     float64 // a message comes again
	transient float64 // a job
	busy      float64
	permanent float64
	dies      float64 // a worker, half-way
	stuck     float64 // a job takes far too long
	noBoot    float64
	vanish    float64 // a machine, per survey
	expired   float64 // a sealed config
	taken     float64 // an address, by a stranger, until nothing goes wrong any more
}

const (
	ackWait = 10 * time.Second
	quiet   = 3 * time.Hour // from then on nothing goes wrong any more
	tooLong = 72 * time.Hour
)

// Run runs one seed to its end.
func Run(o Options) Report {
	r := &run{opt: o, rng: rand.New(rand.NewPCG(o.Seed, 1)), begun: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
	r.now = r.begun
	r.report.Seed = o.Seed
	r.faults = r.drawFaults()
	r.strangers = rand.New(rand.NewPCG(o.Seed, 2))
	if r.strangers.IntN(2) == 0 {
		r.faults.taken = 0.1 * r.strangers.Float64()
	}
	r.ledger = newLedger()
	r.check = newChecker(r)
	r.site = newDatacenter(r)
	r.script = newScript(r)
	r.world = r.ledger.load(r.rng)
	r.script.begin()
	r.site.survey()
	for r.report.Err == nil && r.turn() {
	}
	if r.report.Err == nil {
		r.check.end()
	}
	r.report.Lasted = r.now.Sub(r.begun)
	return r.report
}

func (r *run) drawFaults() faults {
	odds := func(most float64) float64 {
		if r.rng.IntN(3) == 0 {
			return 0
		}
		return most * r.rng.Float64()
	}
	return faults{
		crash: odds(0.05), undone: odds(0.05), lost: odds(0.2), twice: odds(0.2), transient: odds(0.3), busy: odds(0.2),
		permanent: odds(0.03), dies: odds(0.1), stuck: odds(0.03), noBoot: odds(0.1), vanish: odds(0.01),
		expired: odds(0.05),
	}
}

// chance is true with the given odds while things still go wrong.
func (r *run) chance(odds float64) bool {
	return odds > 0 && r.now.Sub(r.begun) < quiet && r.rng.Float64() < odds
}

func (r *run) between(least, most time.Duration) time.Duration {
	return least + time.Duration(r.rng.Int64N(int64(most-least)+1))
}

// turn does what comes next: an appointment, or a deadline of the planner's.
// It returns false when nothing is left to come.
func (r *run) turn() bool {
	if r.now.Sub(r.begun) > tooLong {
		return r.fail("the yard does not come to rest within %s", tooLong)
	}
	if r.world != nil {
		due, ok := r.world.NextDue()
		if ok && (len(r.agenda) == 0 || !due.After(r.agenda[0].at)) {
			r.overdue(due)
			return true
		}
	}
	if len(r.agenda) == 0 {
		return false
	}
	a, _ := heap.Pop(&r.agenda).(appointment)
	r.now = later(r.now, a.at)
	a.do()
	return true
}

// overdue lets the planner act on what is due.
func (r *run) overdue(due time.Time) {
	r.now = later(r.now, due)
	inputs := r.world.Overdue(r.now, 16)
	if len(inputs) == 0 {
		r.fail("NextDue says %s, Overdue at %s returns nothing", due, r.now)
	}
	for i, in := range inputs {
		if r.world == nil || r.report.Err != nil {
			return
		}
		r.decide(in)
		if i == 0 && r.world != nil && !r.ledger.changed {
			r.fail("the due input %s changes nothing and would come for ever", in.ID)
		}
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// fail notes the first thing that must not be.
func (r *run) fail(format string, args ...any) bool {
	if r.report.Err == nil {
		r.report.Err = fmt.Errorf("seed %d, %s: %w", r.opt.Seed, r.clock(), fmt.Errorf(format, args...))
		r.tell("VIOLATED: "+format, args...)
	}
	return false
}

// tell adds a line to the story.
func (r *run) tell(format string, args ...any) {
	if r.opt.Story {
		r.report.Story = append(r.report.Story, r.clock()+"  "+fmt.Sprintf(format, args...))
	}
}

func (r *run) clock() string {
	d := r.now.Sub(r.begun).Round(time.Millisecond)
	return fmt.Sprintf("%02d:%02d:%06.3f", int(d.Hours()), int(d.Minutes())%60, (d % time.Minute).Seconds())
}

// appointment is something that will happen.
type appointment struct {
	at  time.Time
	seq int
	do  func()
}

type agenda []appointment

func (a agenda) Len() int { return len(a) }

func (a agenda) Less(i, j int) bool {
	if a[i].at.Equal(a[j].at) {
		return a[i].seq < a[j].seq
	}
	return a[i].at.Before(a[j].at)
}

func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push is for container/heap.
func (a *agenda) Push(x any) { *a = append(*a, x.(appointment)) } //nolint:errcheck // only in calls it

// Pop is for container/heap.
func (a *agenda) Pop() any {
	old := *a
	last := old[len(old)-1]
	*a = old[:len(old)-1]
	return last
}

// in makes an appointment.
func (r *run) in(d time.Duration, do func()) {
	r.seq++
	heap.Push(&r.agenda, appointment{at: r.now.Add(d), seq: r.seq, do: do})
}
