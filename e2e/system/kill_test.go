//go:build e2e

// Package system kills every part of a whole yard and looks at what is left
// in vCenter.
package system

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/e2e/realyard"
)

// yard is a whole yard with this suite's questions to it.
type yard struct{ *realyard.Yard }

// newYard starts one whose machines take about as long as they need to be
// killed on the way.
func newYard(t *testing.T) *yard {
	t.Helper()
	return &yard{realyard.New(t, realyard.Options{Simulator: []string{
		"--clone-delay", "800ms", "--power-delay", "100ms", "--boot-delay", "1500ms", "--phone-home-retry", "1s",
	}})}
}

// Fifty nodes are made while every part of the yard is killed at random
// moments: at the end there are fifty VMs, each the right one, and nothing
// else.
func TestFiftyNodesUnderKills(t *testing.T) {
	harness.NeedSimulator(t, "it makes fifty VMs again and again, and reads all of them ten times a second")
	y := newYard(t)
	rounds := 5
	if s := os.Getenv("YARD_E2E_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		rounds = n
	}
	storm := harness.NewStorm(t,
		harness.Killing("planner", 3, y.Planners...),
		harness.Killing("executor", 4, y.Executors...),
		harness.Killing("renderer", 2, y.Renderers...),
		harness.Killing("gateway", 2, y.Gateway),
		harness.Killing("nats", 2, y.Bus.Servers...),
	)
	storm.With(harness.Fault{Name: "kill all", Weight: 1, Do: func(*rand.Rand) error {
		all := append(y.Services(), y.Bus.Servers...)
		for _, p := range all {
			p.Kill()
		}
		for _, p := range all {
			p.Start()
		}
		return nil
	}})
	for round := range rounds {
		y.round(t, storm, fmt.Sprintf("round%d", round), 50)
	}
	y.Settled(time.Minute)
	if r := y.Ctl("audit", "verify"); r.Code != 0 {
		t.Errorf("audit verify: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	for _, p := range append(y.Services(), y.Bus.Servers...) {
		for _, d := range p.Deaths() {
			t.Errorf("ended by itself: %s\n%s", d, p.Tail(5))
		}
	}
	t.Log(storm)
}

// round makes a fleet under kills, checks it, and removes it under kills.
func (y *yard) round(t *testing.T, storm *harness.Storm, name string, nodes int) {
	t.Helper()
	start := time.Now()
	w := y.watch(name)
	spec := y.File(name+".yaml", realyard.Network(t)+realyard.FleetOf(t, name, nodes, ""))
	y.Persist("apply", "-f", spec, "--yes")
	y.while(storm, func() bool {
		ns, err := y.Nodes(name)
		return err == nil && countReady(ns) == nodes
	})
	y.Ready(name, nodes, 3*time.Minute)
	made := time.Since(start)
	w.stop()
	y.exactly(t, name, nodes, spec, w)

	y.Persist("delete", "fleet", name, "--yes")
	y.while(storm, func() bool { return y.left(name) == 0 })
	harness.Wait(t, "the fleet's end", 3*time.Minute, func() error {
		if n := y.left(name); n > 0 {
			return fmt.Errorf("%d VMs are left", n)
		}
		return nil
	})
	t.Logf("%s: %d nodes made in %.0f s and removed in %.0f s", name, nodes, made.Seconds(), time.Since(start).Seconds()-made.Seconds())
}

// while rages until done, but at least once.
func (y *yard) while(storm *harness.Storm, done func() bool) {
	y.TB.Helper()
	end := time.Now().Add(40 * time.Second)
	for {
		storm.Rage(100*time.Millisecond, 1200*time.Millisecond)
		if done() || time.Now().After(end) {
			return
		}
	}
}

// left counts the VMs of a fleet.
func (y *yard) left(fleet string) int {
	n := 0
	for _, p := range y.Sites {
		vms, err := p.VCenter.VMs(y.TB.Context())
		if err != nil {
			return -1
		}
		for _, vm := range vms {
			if vm.Folder == fleet {
				n++
			}
		}
	}
	return n
}

// witness keeps the last config that waited in each VM's guestinfo: it is
// blanked once the node has reported.
type witness struct {
	stop func()
	mu   sync.Mutex
	seen map[string]harness.VM
}

func (y *yard) watch(fleet string) *witness {
	ctx, cancel := context.WithCancel(y.TB.Context())
	w := &witness{seen: map[string]harness.VM{}}
	var group sync.WaitGroup
	w.stop = func() { cancel(); group.Wait() }
	y.TB.Cleanup(w.stop)
	group.Go(func() {
		for ctx.Err() == nil {
			// A VM that vanishes between list and read fails the read: the
			// next one is soon.
			if vms, err := y.VCenter.VMs(ctx); err == nil {
				w.note(vms, fleet)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	return w
}

func (w *witness) note(vms []harness.VM, fleet string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, vm := range vms {
		if b, err := vm.Ignition(); vm.Folder == fleet && err == nil && len(b) > 4 {
			w.seen[vm.UUID] = vm
		}
	}
}
