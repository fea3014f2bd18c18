package harness

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Fault is one way to hurt the system under test. Do returns when the harm
// is done; what it started is up again or will be by itself.
type Fault struct {
	Name   string
	Weight int
	Do     func(r *rand.Rand) error
}

// Storm draws faults at random moments. The seed is printed, and taken from
// YARD_E2E_SEED if that is set; it repeats the order of faults, though not
// what the processes were doing just then.
type Storm struct {
	tb     testing.TB
	rand   *rand.Rand
	faults []Fault
	counts map[string]int
	thaws  sync.WaitGroup
}

// NewStorm makes a storm of faults.
func NewStorm(tb testing.TB, faults ...Fault) *Storm {
	tb.Helper()
	seed := uint64(time.Now().UnixNano())         //nolint:gosec // any bits will do
	if s := os.Getenv("YARD_E2E_SEED"); s != "" { //nolint:forbidigo // a test's setting
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		seed = n
	}
	tb.Logf("storm: YARD_E2E_SEED=%d", seed)
	s := &Storm{
		tb: tb, faults: faults, counts: map[string]int{},
		rand: rand.New(rand.NewPCG(seed, seed)), //nolint:gosec // not a secret
	}
	tb.Cleanup(s.thaws.Wait)
	return s
}

// Rage does one fault after a pause of at least least and at most most.
func (s *Storm) Rage(least, most time.Duration) {
	s.tb.Helper()
	time.Sleep(least + time.Duration(s.rand.Int64N(int64(most-least)+1)))
	f := s.pick()
	if err := f.Do(s.rand); err != nil {
		s.tb.Fatalf("fault %s: %v", f.Name, err)
	}
	s.counts[f.Name]++
}

func (s *Storm) pick() Fault {
	total := 0
	for _, f := range s.faults {
		total += f.Weight
	}
	n := s.rand.IntN(total)
	for _, f := range s.faults {
		if n -= f.Weight; n < 0 {
			return f
		}
	}
	panic("weights do not add up")
}

// Add counts a fault that was done outside Rage.
func (s *Storm) Add(name string) { s.counts[name]++ }

// Total is the number of faults so far.
func (s *Storm) Total() int {
	n := 0
	for _, c := range s.counts {
		n += c
	}
	return n
}

// String lists what was done how often.
func (s *Storm) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(s.counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, s.counts[name]))
	}
	return fmt.Sprintf("%d faults (%s)", s.Total(), strings.Join(parts, ", "))
}

// Killing kills one of procs with -9 and starts it again after up to a
// second.
func Killing(name string, weight int, procs ...*Proc) Fault {
	return Fault{Name: "kill " + name, Weight: weight, Do: func(r *rand.Rand) error {
		p := procs[r.IntN(len(procs))]
		p.Kill()
		time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
		return p.start()
	}}
}

// Freezing stops one of procs for a time between least and most; meanwhile
// the storm goes on.
func (s *Storm) Freezing(name string, weight int, least, most time.Duration, procs ...*Proc) Fault {
	return Fault{Name: "freeze " + name, Weight: weight, Do: func(r *rand.Rand) error {
		p := procs[r.IntN(len(procs))]
		d := least + time.Duration(r.Int64N(int64(most-least)+1))
		p.Freeze()
		s.thaws.Go(func() {
			time.Sleep(d)
			p.Thaw()
		})
		return nil
	}}
}

// With adds a fault to those that are drawn from.
func (s *Storm) With(f ...Fault) { s.faults = append(s.faults, f...) }

// CuttingPower takes the power from a volume and the process that writes
// there, and gives it back.
func CuttingPower(weight int, v *Volume, p *Proc) Fault {
	return Fault{Name: "power cut", Weight: weight, Do: func(r *rand.Rand) error {
		if err := v.Cut(); err != nil {
			return err
		}
		p.Kill()
		if err := v.Restore(); err != nil {
			return err
		}
		time.Sleep(time.Duration(r.IntN(500)) * time.Millisecond)
		return p.start()
	}}
}

// Wait waits until what was frozen goes on.
func (s *Storm) Wait() { s.thaws.Wait() }

// Faults is how many faults a suite does: YARD_E2E_FAULTS, or usual.
func Faults(usual int) int {
	if n, err := strconv.Atoi(os.Getenv("YARD_E2E_FAULTS")); err == nil { //nolint:forbidigo // a test's setting
		return n
	}
	return usual
}
