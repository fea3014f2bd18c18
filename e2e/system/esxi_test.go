//go:build e2e

package system

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/e2e/realyard"
)

// hostFolder is the one folder of a lone host's VMs.
const hostFolder = "vm"

// newHost starts a yard whose site is a lone ESXi, and gives it its image.
func newHost(t *testing.T, o realyard.Options) *yard {
	t.Helper()
	harness.NeedSimulator(t, "it is about a lone ESXi")
	o.ESXi = true
	y := &yard{realyard.New(t, o)}
	image := ova(2 << 20)
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(image) }))
	t.Cleanup(mirror.Close)
	y.Persist("image", "import", "--site", realyard.Site, "--version", "4593.2.5", "--wait",
		"--from", mirror.URL+"/image.ova", "--unsigned", "--sha256", fmt.Sprintf("%x", sha256.Sum256(image)))
	return y
}

// onHost takes out of a fleet what needs a vCenter.
func onHost(fleet string) string {
	return strings.NewReplacer(" cluster: c1,", "", ", clone: linked", "", " folder: up,", "").Replace(fleet)
}

// The example of a lone ESXi applies; what waited in guestinfo is to the byte
// what yardctl renders.
func TestESXiExampleApplies(t *testing.T) {
	y := newHost(t, realyard.Options{Planners: 1, Executors: 1, Simulator: []string{"--boot-delay", "1500ms", "--upload-delay", "500ms"}})
	file := filepath.Join(harness.Root(t), "examples", "esxi.yaml")
	f := exampleFleet(t, file)
	seen := y.watch(hostFolder)
	y.Persist("apply", "-f", file, "--yes")
	nodes := f.Spec.Pools[0].Replicas
	y.Ready(f.Metadata.Name, nodes, 2*time.Minute)
	seen.stop()
	for _, n := range y.mustNodes(t, f.Metadata.Name) {
		vm, ok := seen.seen[n.GetMachineUuid()]
		if !ok {
			t.Errorf("%s: nobody saw its config in guestinfo", n.GetName())
			continue
		}
		y.sameAsRendered(t, file, n, &vm)
	}
	y.noneFailed(t)
	refused := y.File("refused.yaml", strings.Replace(string(read(t, file)), "datastore: ds1", "datastore: ds1, cluster: c1", 1))
	if r := y.Ctl("plan", "-f", refused); r.Code != 2 || !strings.Contains(r.Err, "vsphere.cluster: needs a vCenter") {
		t.Errorf("plan with a cluster: exit %d, %s%s", r.Code, r.Out, r.Err)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Executors are killed in the middle of uploads, again and again: at the end
// there is one VM for each node, whole, and none when the fleet is gone.
func TestUploadsUnderKills(t *testing.T) {
	const nodes, kills = 6, 4
	y := newHost(t, realyard.Options{Simulator: []string{"--boot-delay", "500ms", "--phone-home-retry", "1s", "--upload-delay", "2s"}})
	seen := y.watch(hostFolder)
	spec := onHost(realyard.FleetOf(t, "up", nodes, ""))
	y.Persist("apply", "-f", y.File("up.yaml", spec), "--yes")
	broken := map[string]bool{}
	for range kills {
		for _, vm := range y.halfMade(t, broken) {
			broken[vm] = true
		}
		y.killExecutors()
	}
	y.Ready("up", nodes, 4*time.Minute)
	seen.stop()
	y.exactlyOnHost(t, nodes)
	y.configs(t, y.File("whole.yaml", realyard.Network(t)+spec), y.mustNodes(t, "up"), seen)
	y.noneFailed(t)
	y.Settled(time.Minute)
	t.Logf("killed in the middle of %d uploads", len(broken))
	y.Remove("up")
	y.exactlyOnHost(t, 0)
}

// halfMade waits until there are VMs of ours whose disks are on their way, and
// returns those that were not seen before.
func (y *yard) halfMade(t *testing.T, seen map[string]bool) (out []string) {
	t.Helper()
	harness.Wait(t, "an upload under way", time.Minute, func() error {
		vms, err := y.VCenter.VMs(t.Context())
		if err != nil {
			return err
		}
		out = nil
		for _, vm := range vms {
			if vm.Owner() != "" && vm.Extra["yardmaster.config"] == "" && !seen[vm.Ref.Value] {
				out = append(out, vm.Ref.Value)
			}
		}
		if len(out) == 0 {
			return fmt.Errorf("of %d VMs none is", len(vms))
		}
		return nil
	})
	return out
}

// exactlyOnHost wants just so many VMs, each its node's, whole and on.
func (y *yard) exactlyOnHost(t *testing.T, want int) {
	t.Helper()
	vms, err := y.VCenter.VMs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byUUID := map[string]string{}
	if want > 0 {
		for _, n := range y.mustNodes(t, "up") {
			byUUID[n.GetMachineUuid()] = n.GetName()
		}
	}
	if len(vms) != want || len(byUUID) != want {
		t.Errorf("the host holds %d VMs and the yard %d nodes; want %d", len(vms), len(byUUID), want)
	}
	for _, vm := range vms {
		if byUUID[vm.UUID] != vm.Name || vm.Power != "poweredOn" || vm.Extra["yardmaster.config"] == "" || vm.CPUs != 2 {
			t.Errorf("%s (%s) is %s with %d CPUs and the config %q", vm.Name, vm.UUID, vm.Power, vm.CPUs, vm.Extra["yardmaster.config"])
		}
	}
}
