//go:build e2e

package system

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"yardmaster.dev/e2e/harness"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

func countReady(nodes []*ymv1.NodeView) int {
	n := 0
	for _, v := range nodes {
		if v.GetState() == "ready" {
			n++
		}
	}
	return n
}

// exactly checks that vCenter holds just the fleet's machines, each with the
// name, owner, address and config that it should have, and nothing else of
// ours.
func (y *yard) exactly(t *testing.T, fleet string, want int, spec string, w *witness) {
	t.Helper()
	nodes, err := y.Nodes(fleet)
	if err != nil {
		t.Fatal(err)
	}
	// The last chore blanks guestinfo a moment after a node is ready.
	var vms []harness.VM
	harness.Wait(t, "blank guestinfo", time.Minute, func() error {
		if vms, err = y.VCenter.VMs(t.Context()); err != nil {
			return err
		}
		for i := range vms {
			b, err := vms[i].Ignition()
			if err != nil {
				return err
			}
			if len(b) > 4 {
				return fmt.Errorf("%s still holds a config of %d bytes", vms[i].Name, len(b))
			}
		}
		return nil
	})
	if len(vms) != want {
		t.Errorf("vCenter holds %d VMs; want %d", len(vms), want)
	}
	byName := map[string]harness.VM{}
	for _, vm := range vms {
		if other, ok := byName[vm.Name]; ok {
			t.Errorf("two VMs are called %s: %s and %s", vm.Name, other.UUID, vm.UUID)
		}
		byName[vm.Name] = vm
	}
	seen := map[string]string{}
	for _, n := range nodes {
		vm, ok := byName[n.GetName()]
		if !ok {
			t.Errorf("%s has no VM", n.GetName())
			continue
		}
		y.matches(t, fleet, n, vm)
		if other, ok := seen[vm.Address]; ok {
			t.Errorf("%s and %s both have address %s", other, vm.Name, vm.Address)
		}
		seen[vm.Address] = vm.Name
	}
	y.configs(t, spec, nodes, w)
}

func (y *yard) matches(t *testing.T, fleet string, n *ymv1.NodeView, vm harness.VM) {
	t.Helper()
	if vm.UUID != n.GetMachineUuid() {
		t.Errorf("%s is machine %s; the record says %s", vm.Name, vm.UUID, n.GetMachineUuid())
	}
	if vm.Folder != fleet || vm.Power != "poweredOn" {
		t.Errorf("%s is %s in folder %s", vm.Name, vm.Power, vm.Folder)
	}
	if len(n.GetAddresses()) != 1 || vm.Address != strings.Split(n.GetAddresses()[0], "/")[0] || n.GetGuestAddress() != "" && n.GetGuestAddress() != vm.Address {
		t.Errorf("%s has address %s; the record says %v, the guest %s", vm.Name, vm.Address, n.GetAddresses(), n.GetGuestAddress())
	}
	if !strings.Contains(vm.Owner(), "/"+strings.TrimPrefix(n.GetName(), fleet+"-")+"/") {
		t.Errorf("%s is owned by %q", vm.Name, vm.Owner())
	}
	if vm.Extra["disk.EnableUUID"] != "TRUE" {
		t.Errorf("%s: disk.EnableUUID is %q", vm.Name, vm.Extra["disk.EnableUUID"])
	}
}

// configs compares what waited in guestinfo with what yardctl renders
// offline for the same node.
func (y *yard) configs(t *testing.T, spec string, nodes []*ymv1.NodeView, w *witness) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, n := range nodes {
		vm, ok := w.seen[n.GetMachineUuid()]
		if !ok {
			t.Errorf("%s: nobody saw its config in guestinfo", n.GetName())
			continue
		}
		got, err := vm.Ignition()
		if err != nil {
			t.Error(err)
			continue
		}
		if who := fmt.Sprintf("%s%%20%s%%20%s%%20hello", n.GetName(), n.GetName(), strings.Join(n.GetAddresses(), " ")); !strings.Contains(string(got), who) {
			t.Errorf("%s: its config does not say %s", n.GetName(), who)
		}
		if i%10 != 0 {
			continue // rendering offline takes a process each
		}
		r := y.Ctl("render", "-f", spec, "--node", n.GetName(), "--ignition")
		if r.Code != 0 {
			t.Errorf("render %s: exit %d: %s", n.GetName(), r.Code, r.Err)
			continue
		}
		if d := cmp.Diff(plain(t, []byte(r.Out), n), plain(t, got, n)); d != "" {
			t.Errorf("%s: the VM's config differs from yardctl render (-render +VM):\n%s", n.GetName(), d)
		}
	}
}

var hardware = regexp.MustCompile(`02(:|%3A)[0-9a-f]{2}((:|%3A)[0-9a-f]{2}){4}`)

// addresses matches whatever begins like the Network's range.
func addresses(t *testing.T) *regexp.Regexp {
	t.Helper()
	part := strings.SplitN(harness.TheTarget(t).Range, ".", 4)
	return regexp.MustCompile(part[0] + `\.` + part[1] + `\.[0-9]+\.[0-9]+`)
}

// plain takes out what offline rendering cannot know: the base role's files
// with token and gateway, the hardware address that hangs on the yard's own
// identity, and which address was free.
func plain(t *testing.T, config []byte, n *ymv1.NodeView) any {
	t.Helper()
	text := hardware.ReplaceAllString(string(config), "MAC")
	text = addresses(t).ReplaceAllString(text, "ADDRESS")
	text = strings.ReplaceAll(text, n.GetMachineUuid(), "UUID")
	var doc map[string]any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("%s: config is not JSON: %v", n.GetName(), err)
	}
	storage, ok := doc["storage"].(map[string]any)
	if !ok {
		return doc
	}
	files, ok := storage["files"].([]any)
	if !ok {
		return doc
	}
	kept := []any{}
	for _, f := range files {
		m, _ := f.(map[string]any)
		if path, _ := m["path"].(string); !strings.HasPrefix(path, "/etc/yardmaster/") {
			kept = append(kept, f)
		}
	}
	storage["files"] = kept
	return doc
}
