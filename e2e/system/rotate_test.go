//go:build e2e

package system

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/e2e/realyard"
)

// Every key of the bus and the seal key are changed by the steps of
// docs/operate.md while a fleet grows: no process ends, nothing is lost.
func TestKeysAreRotated(t *testing.T) {
	y := newYard(t)
	y.Apply(realyard.FleetOf(t, "turn", 20, ""))
	y.rotate(t)
	y.Bus.Reload(t)
	for _, p := range y.Services() {
		y.logs(t, p, "bus key taken up")
	}
	harness.Wait(t, "the announced seal key", 30*time.Second, func() error {
		for _, p := range y.Executors {
			if logged(p, "seal key announced") {
				return nil
			}
		}
		return fmt.Errorf("no executor announced it")
	})
	y.Persist("scale", "turn/w", "30")
	y.rotate(t, "--finish")
	y.Bus.Reload(t)
	y.Persist("scale", "turn/w", "40")
	y.Ready("turn", 40, 3*time.Minute)
	y.Settled(time.Minute)
	y.noneFailed(t)
	for _, p := range y.Services() {
		if p.Lives() != 1 || !p.Running() {
			t.Errorf("%s had %d lives, running %v; want no stop: %v", p.Name(), p.Lives(), p.Running(), p.Deaths())
		}
	}
}

// rotate runs yardmaster bus rotate on every key.
func (y *yard) rotate(t *testing.T, args ...string) {
	t.Helper()
	args = slices.Concat([]string{"bus", "rotate", "--dir", y.Bus.Dir, "--all"}, args)
	out, err := exec.CommandContext(t.Context(), harness.Binary(t, "yardmaster"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("yardmaster %v: %v\n%s", args, err, out)
	}
	if seed := strings.Contains(string(out), "SU"); seed {
		t.Error("yardmaster bus rotate prints a seed")
	}
}

// logs waits until a process has logged a message.
func (y *yard) logs(t *testing.T, p *harness.Proc, message string) {
	t.Helper()
	harness.Wait(t, p.Name()+" logging "+message, time.Minute, func() error {
		if !logged(p, message) {
			return fmt.Errorf("%s has not logged %q", p.Name(), message)
		}
		return nil
	})
}

func logged(p *harness.Proc, message string) bool {
	b, err := os.ReadFile(p.Log())
	return err == nil && strings.Contains(string(b), message)
}
