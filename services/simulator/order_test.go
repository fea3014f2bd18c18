package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fleet"
	report "yardmaster.dev/pkg/guest"
)

func (g *gateway) orders(digest string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.order = report.Order{Rerun: digest, Keep: []string{"/var/lib/data"}}.String()
}

// refusal waits until the guest says why it does not obey.
func (g *gateway) refusal(t *testing.T, boot, why string) {
	t.Helper()
	g.said(t, func(r report.Report) bool {
		return r.BootID == boot && len(r.Failed) == 1 && r.Failed[0].Unit == report.UnitOrder && strings.Join(r.Failed[0].Log, "") == why
	})
}

// A guest obeys an order as the base role's script does: it lets Ignition run
// the config that the order names, once.
func TestObeysAnOrder(t *testing.T) {
	t.Parallel()
	r, g := bootRendered(t, often())
	before := r.machine(t, node, reported)
	first := g.said(t, func(r report.Report) bool { return len(r.Stages) == 4 })
	vm := r.vm(reference("VirtualMachine", before.Ref))
	config := rendered(t, g.URL, fleet.Layer{Role: "docker"})
	raw, err := decodeGuestinfo(config[keyData], config[keyEncoding])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	digest := hex.EncodeToString(sum[:])
	g.orders(digest)
	g.refusal(t, first.BootID, "guestinfo does not hold the config")
	spec := types.VirtualMachineConfigSpec{}
	for k, v := range config {
		spec.ExtraConfig = append(spec.ExtraConfig, &types.OptionValue{Key: k, Value: v})
	}
	task, err := vm.Reconfigure(t.Context(), spec)
	if err == nil {
		err = task.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	again := g.said(t, func(r report.Report) bool { return r.BootID != first.BootID && len(r.Stages) == 4 })
	if stages(again) != "ignition network units phone-home" || again.MachineID != first.MachineID {
		t.Errorf("after the order the guest says %+v; want a first boot of the same machine", again)
	}
	if n := len(g.of(node)); n != 2 {
		t.Errorf("%d phone-home calls; want one of each config", n)
	}
	g.refusal(t, again.BootID, "it was obeyed before")
	after := r.machine(t, node, reported)
	if extra := extraConfig(r.properties(t, vm)); extra[keyData] != deletedData || after != before {
		t.Errorf("machine %+v, guestinfo %q; want %+v, deleted", after, extra[keyData], before)
	}
}
