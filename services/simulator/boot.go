package simulator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/coreos/ignition/v2/config/v3_5/types"
	"github.com/google/uuid"

	report "yardmaster.dev/pkg/guest"
	"yardmaster.dev/pkg/service"
)

// live does one step of one guest.
func (w *World) live(ctx context.Context, s step) {
	g, ok := w.guests.current(s)
	if !ok {
		return
	}
	switch s.deed {
	case deedBoot:
		w.boot(s, g)
	case deedReport:
		w.report(ctx, s, g)
	case deedTell:
		w.tell(ctx, s, g)
	case deedDown:
		w.showDown(s)
	}
}

// boot is from the firmware to multi-user.target.
func (w *World) boot(s step, g guest) {
	vm, ok := w.look(s.ref)
	if !ok {
		return
	}
	g.BootID = uuid.NewString()
	console := w.console(vm)
	console("Booting Flatcar Container Linux %s", release(g.Source))
	if s.rule.Never {
		g.Phase, g.Reason = PhaseHung, "a fault keeps this guest from booting"
		console("SeaBIOS: no bootable device (simulated)")
		w.keep(s, g)
		return
	}
	began := report.StageSystem
	if !g.Disk.Ignited {
		began = report.StageIgnition
	}
	if err := w.ignite(&g, vm, console); err != nil {
		g.Phase, g.Reason = PhaseRefused, err.Error()
		console("ignition[741]: CRITICAL : %v", err)
		console("systemd[1]: Reached target emergency.target. You are in emergency mode.")
		w.log.WarnContext(w.ctx, "guest refused its config", service.KeyNode, vm.Name, service.KeyErr, err.Error())
		w.keep(s, g)
		return
	}
	g.Cards = plugIn(s.ref, g.Disk.Networks, vm.NICs, console)
	g.Phase, g.Address, g.Hostname = PhaseUp, lease(s.ref, 0), g.Disk.Hostname
	if len(g.Cards) > 0 {
		g.Address = g.Cards[0].Addresses[0]
	}
	if s.rule.Address != "" {
		g.Address = s.rule.Address
	}
	g.started(began, w.cfg.BootDelay.Duration, s.rule)
	for _, unit := range g.Failed {
		console("systemd[1]: Failed to start %s (simulated).", unit)
	}
	console("systemd[1]: Reached target multi-user.target.")
	if w.keep(s, g) {
		w.guests.work(s, g)
	}
}

// plugIn is what networkd makes of a machine's cards.
func plugIn(ref string, files map[string]string, nics []nic, console func(string, ...any)) []card {
	var out []card
	for i, n := range nics {
		addresses, err := staticAddresses(files, i, n.MAC)
		if err != nil {
			console("systemd-networkd: %v; using DHCP", err)
		}
		if len(addresses) == 0 {
			addresses = []string{lease(ref, i)}
		}
		console("systemd-networkd: %s: %s", kernelNIC(i), strings.Join(addresses, " "))
		out = append(out, card{Key: n.Key, Addresses: addresses})
	}
	return out
}

// ignite is the first boot of a disk: it runs Ignition. What it read is
// blanked by keep.
func (w *World) ignite(g *guest, vm machine, console func(string, ...any)) error {
	if g.Disk.Ignited && !g.Disk.CloudInit {
		return nil
	}
	extra := map[string]string{}
	for _, o := range vm.Extra {
		extra[o.Key] = o.Value
	}
	if err := checkKargs(extra[keyKargs]); err != nil {
		return err
	}
	cfg, err := readConfig(extra)
	if errors.Is(err, errNoConfig) {
		console("ignition[741]: INFO : %v", err)
		console("coreos-cloudinit[812]: read the variables of guestinfo")
		g.Disk = cloudInit(extra)
		return nil
	}
	if err != nil {
		return err
	}
	written, err := install(cfg, release(g.Source), console)
	if err != nil {
		return err
	}
	written.Obeyed = g.Disk.Obeyed
	g.Disk = written
	console("ignition[741]: INFO : files: op(1): wrote %d files, %d units", len(cfg.Storage.Files), len(cfg.Systemd.Units))
	return nil
}

// install is what Ignition leaves on the disk, as far as the guest needs it.
func install(cfg *types.Config, version string, console func(string, ...any)) (onDisk, error) {
	written, err := files(cfg)
	if err != nil {
		return onDisk{}, err
	}
	d := onDisk{Ignited: true, Hostname: "localhost", Networks: map[string]string{}}
	if h := strings.TrimSpace(written["/etc/hostname"]); h != "" {
		d.Hostname = h
	}
	for name, body := range written {
		if strings.HasPrefix(name, networkDir) {
			d.Networks[name] = body
		}
	}
	units := enabledUnits(cfg)
	d.Units = sortedKeys(units)
	// The boot goes on without a broken unit; only its console knows.
	if d.PhoneHome, err = findPhoneHome(units, written, version); err != nil {
		console("systemd[1]: %v", err)
	}
	if d.Reporter, err = findReporter(units, written, version); err != nil {
		console("systemd[1]: %v", err)
	}
	return d, nil
}

// replyLimit bounds what is read of an answer.
const replyLimit = 4 << 10

// report runs the phone-home unit once; it is planned again until it
// succeeds.
func (w *World) report(ctx context.Context, s step, g guest) {
	vm, ok := w.look(s.ref)
	if !ok || g.Disk.PhoneHome == nil {
		return
	}
	unit := *g.Disk.PhoneHome
	console := w.console(vm)
	rule := w.faults.strike(OnPhoneHome, vm.Name)
	if !w.sleep(rule.Delay.Duration) {
		return
	}
	err := errors.New("curl: (7) could not connect (simulated)")
	if !rule.Never {
		err = w.phone(ctx, &unit, g, vm)
	}
	g.passed(report.StageUnits, time.Since(g.Booted))
	if err == nil {
		console("%s: Finished.", unit.Unit)
		g.passed(report.StagePhoneHome, time.Since(g.Booted))
		g.Disk.PhoneHome, g.Disk.Reported = nil, true
		w.keep(s, g)
		return
	}
	unit.Tries++
	console("%s: %v", unit.Unit, err)
	g.Disk.PhoneHome, g.Reason = &unit, err.Error()
	if !w.guests.set(s, g) {
		return
	}
	retry := unit.Retry
	if d := w.cfg.PhoneHomeRetry.Duration; d > 0 {
		retry = d
	}
	w.guests.after(w.jitter(retry), s)
}

func (w *World) phone(ctx context.Context, unit *phoneHome, g guest, vm machine) error {
	argv, err := command(unit.Exec, specifiers{machineID(vm), strings.ReplaceAll(g.BootID, "-", ""), g.Hostname}, unit.Env)
	if err != nil {
		return err
	}
	c, err := parseCurl(argv, unit.Files)
	if err != nil {
		return err
	}
	_, err = w.curl(ctx, c)
	return err
}

// machineID is /etc/machine-id: it stays with the disk.
func machineID(vm machine) string {
	sum := sha256.Sum256([]byte(vm.Ref + vm.UUID + vm.InstanceUUID))
	return hex.EncodeToString(sum[:16])
}

// release is the Flatcar version that a template's name tells.
func release(template string) string {
	if v, ok := strings.CutPrefix(template, "flatcar-"); ok {
		return v
	}
	return "4593.2.5"
}
