//go:build e2e

package system

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"yardmaster.dev/e2e/harness"
)

// The first minute of a newcomer: `yardmaster up`, Ctrl-C, kill -9, and
// everything is there again.
func TestUp(t *testing.T) {
	ports := harness.Ports(t, 4)
	dir := filepath.Join(harness.Dir(t), "yard")
	vcenter := harness.Addr(ports[2])
	args := []string{
		"up", "--dir", dir, "--gateway", harness.Addr(ports[0]), "--nats", harness.Addr(ports[1]),
		"--vcenter", vcenter, "--control", harness.Addr(ports[3]),
		"--example", filepath.Join(harness.Root(t), "examples", "first.yaml"),
	}
	began := time.Now()
	up := harness.Start(t, harness.Spec{Name: "up", Path: harness.Binary(t, "yardmaster"), Args: args})
	harness.Wait(t, "first node ready", 30*time.Second, says(up, `first node ready after`))
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the first node was ready after %s; want 15 s", took)
	}
	vms := machines(t, vcenter, 3)
	t.Logf("up printed:\n%s", up.Tail(60))

	// A second one on the same ports says who has them.
	second := harness.Start(t, harness.Spec{Name: "second", Path: harness.Binary(t, "yardmaster"), Args: append([]string{}, args...)})
	harness.Wait(t, "refusal of the second", 10*time.Second, func() error {
		if second.Running() {
			return fmt.Errorf("it runs")
		}
		return nil
	})
	if said := second.Tail(20); !strings.Contains(said, fmt.Sprint(ports[0])) || !strings.Contains(said, fmt.Sprint(up.PID())) {
		t.Errorf("the second one does not name the port's owner (pid %d):\n%s", up.PID(), said)
	}

	if err := up.Interrupt(20 * time.Second); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
	closed(t, vcenter)
	same(t, "Ctrl-C", vms, restart(t, up, vcenter))

	up.Kill()
	closed(t, vcenter) // the simulator must not outlive its parent
	same(t, "kill -9", vms, restart(t, up, vcenter))
}

func says(p *harness.Proc, pattern string) func() error {
	re := regexp.MustCompile(pattern)
	return func() error {
		b, err := os.ReadFile(p.Log())
		if err != nil {
			return err
		}
		if !re.Match(b) {
			return fmt.Errorf("it says:\n%s", p.Tail(30))
		}
		return nil
	}
}

func restart(t *testing.T, up *harness.Proc, vcenter string) []harness.VM {
	t.Helper()
	up.Start()
	harness.Wait(t, "the simulated vCenter", 30*time.Second, func() error {
		if harness.Answers(vcenter) {
			return nil
		}
		return fmt.Errorf("%s does not answer:\n%s", vcenter, up.Tail(20))
	})
	return machines(t, vcenter, 3)
}

// machines waits until so many VMs are on and reads them.
func machines(t *testing.T, vcenter string, want int) []harness.VM {
	t.Helper()
	u := url.URL{Scheme: "https", Host: vcenter, Path: "/sdk", User: url.UserPassword(harness.SimulatorUser, harness.SimulatorSecret)}
	v := harness.NewVCenter(t, u.String())
	var vms []harness.VM
	harness.Wait(t, fmt.Sprintf("%d VMs", want), 30*time.Second, func() (err error) {
		if vms, err = v.VMs(t.Context()); err != nil {
			return err
		}
		on := 0
		for _, vm := range vms {
			if vm.Power == "poweredOn" && vm.Address != "" {
				on++
			}
		}
		if on != want || len(vms) != want {
			return fmt.Errorf("%d of %d VMs are up", on, len(vms))
		}
		return nil
	})
	return vms
}

func same(t *testing.T, after string, was, is []harness.VM) {
	t.Helper()
	uuids := map[string]string{}
	for _, vm := range was {
		uuids[vm.Name] = vm.UUID
	}
	for _, vm := range is {
		if uuids[vm.Name] != vm.UUID {
			t.Errorf("after %s %s is machine %s; it was %s", after, vm.Name, vm.UUID, uuids[vm.Name])
		}
	}
}

func closed(t *testing.T, addr string) {
	t.Helper()
	harness.Wait(t, addr+" to be closed", 10*time.Second, func() error {
		if harness.Answers(addr) {
			return fmt.Errorf("it is open")
		}
		return nil
	})
}
