package simulator

import (
	"crypto/sha256"
	"encoding/hex"

	report "yardmaster.dev/pkg/guest"
)

// obey plays what the script does with an order: flatcar-reset, which takes
// all from the disk but what is kept, and a reboot. It reports whether the
// guest reboots.
func (w *World) obey(s step, g *guest, vm machine, order report.Order) bool {
	console := w.console(vm)
	if why := refusal(g, vm, order.Rerun); why != "" {
		if w.guests.refuse(s, why) {
			console("yardmaster-order: refused: %s", why)
		}
		return false
	}
	console("flatcar-reset: staged, keeps %v", order.Keep)
	console("systemd[1]: Reached target reboot.target.")
	booting := guest{Phase: PhaseBooting, Source: g.Source, Disk: onDisk{Obeyed: order.Rerun}}
	if w.keep(s, booting) {
		w.guests.reboot(s, vm.Name)
	}
	return true
}

// refusal says why an order is not obeyed.
func refusal(g *guest, vm machine, digest string) string {
	if g.Disk.Obeyed == digest {
		return "it was obeyed before"
	}
	extra := map[string]string{}
	for _, o := range vm.Extra {
		extra[o.Key] = o.Value
	}
	raw, err := decodeGuestinfo(extra[keyData], extra[keyEncoding])
	if sum := sha256.Sum256(raw); err != nil || hex.EncodeToString(sum[:]) != digest {
		return "guestinfo does not hold the config"
	}
	return ""
}

// refuse notes why a guest does not obey, and reports whether that is new. The
// rest of the guest may have gone on meanwhile.
func (g *guests) refuse(s step, why string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.state[s.ref]
	if t == nil || t.turn != s.turn || t.Refused == why {
		return false
	}
	t.Refused = why
	return true
}

// reboot begins a guest's next boot; what was planned for this one is stale.
func (g *guests) reboot(s step, name string) {
	rule := g.w.faults.strike(OnBoot, name)
	wait := g.w.pause(g.w.cfg.BootDelay, rule)
	g.mu.Lock()
	t := g.state[s.ref]
	current := t != nil && t.turn == s.turn
	if current {
		t.turn++
	}
	g.mu.Unlock()
	if current {
		g.after(wait, step{ref: s.ref, turn: s.turn + 1, deed: deedBoot, rule: rule})
	}
}
