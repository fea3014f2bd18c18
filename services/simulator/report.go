package simulator

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	report "yardmaster.dev/pkg/guest"
)

// keyReport is where a guest without a route to the gateway leaves its word.
const keyReport = "guestinfo.yardmaster.report"

// reporter is a unit that tells for ever how the guest is, as the guest's
// disk keeps it. What its script does is played, not run: a config must not
// be able to run anything on the machine that simulates.
type reporter struct {
	Unit  string            `json:"unit"`
	URL   string            `json:"url"`
	Every time.Duration     `json:"every"`
	Files map[string]string `json:"files,omitempty"`
	// Obeys means that the script takes orders.
	Obeys bool `json:"obeys,omitempty"`
}

// bootPause is what the script waits between two reports while the machine
// starts.
const bootPause = 5 * time.Second

// findReporter looks for the enabled unit that runs a script of the config
// with the address to report to.
func findReporter(units, files map[string]string, version string) (*reporter, error) {
	for _, name := range sortedKeys(units) {
		body := units[name]
		argv, err := splitWords(last(section(body, "Service", "ExecStart")))
		script := slices.IndexFunc(argv, func(word string) bool { _, ok := files[word]; return ok })
		if err != nil || script < 0 {
			continue
		}
		env, err := environment(name, body, files, version)
		if err != nil || env["REPORT_URL"] == "" {
			continue // it cannot be ours
		}
		seconds, err := strconv.Atoi(env["REPORT_EVERY"])
		if err != nil || seconds <= 0 {
			return nil, fmt.Errorf("%s: REPORT_EVERY %q is not a number of seconds", name, env["REPORT_EVERY"])
		}
		return &reporter{
			Unit: name, URL: env["REPORT_URL"], Every: time.Duration(seconds) * time.Second,
			Files: mentioned(files[argv[script]], files), Obeys: strings.Contains(files[argv[script]], report.OrderMagic),
		}, nil
	}
	return nil, nil //nolint:nilnil // a config without the unit is none's fault
}

// tell is one round of the script: it reports to the gateway, or leaves its
// word in guestinfo when there is no way.
func (w *World) tell(ctx context.Context, s step, g guest) {
	vm, ok := w.look(s.ref)
	if !ok || g.Disk.Reporter == nil {
		return
	}
	said := g.says(machineID(vm))
	answer, err := w.deliver(ctx, g.Disk.Reporter, vm.Name, said.String())
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		w.console(vm)("%s: %v", g.Disk.Reporter.Unit, err)
		w.leaveWord(s, said.String())
	} else if slices.ContainsFunc(vm.Extra, func(o option) bool { return o.Key == keyReport }) {
		w.leaveWord(s, "")
	}
	if order, ok := report.ParseOrder(answer); ok && err == nil && g.Disk.Reporter.Obeys && w.obey(s, &g, vm, order) {
		return
	}
	pause := g.Disk.Reporter.Every
	if said.State == report.StateStarting {
		pause = bootPause
	}
	if d := w.cfg.ReportEvery.Duration; d > 0 {
		pause = d
	}
	w.guests.after(w.jitter(pause), s)
}

// says is the report of a guest.
func (g *guest) says(machine string) report.Report {
	r := report.Report{
		BootID: g.BootID, MachineID: machine, OSVersion: release(g.Source), Stages: g.Stages,
		State: report.StateRunning, Up: time.Since(g.Booted).Round(time.Millisecond),
	}
	switch {
	case !slices.ContainsFunc(g.Stages, func(s report.Stage) bool { return s.Name == report.StageUnits }):
		r.State = report.StateStarting
	case len(g.Failed) > 0:
		r.State = report.StateDegraded
	}
	if g.Refused != "" {
		r.Failed = append(r.Failed, report.Failed{Unit: report.UnitOrder, Result: "refused", Log: []string{g.Refused}})
	}
	for _, unit := range g.Failed {
		r.Failed = append(r.Failed, report.Failed{Unit: unit, Result: "exit-code", Log: []string{
			"simulated: this unit fails",
			unit + ": Main process exited, code=exited, status=1/FAILURE",
			unit + ": Failed with result 'exit-code'.",
		}})
	}
	return r
}

// passed notes that the guest has done a stage of its boot.
func (g *guest) passed(stage string, after time.Duration) {
	if !slices.ContainsFunc(g.Stages, func(s report.Stage) bool { return s.Name == stage }) {
		g.Stages = append(slices.Clone(g.Stages), report.Stage{Name: stage, After: after})
	}
}

// started fills in the boot of a guest that has come up, which began with the
// stage: the times are about where they would be on a real machine.
func (g *guest) started(stage string, took time.Duration, rule Rule) {
	g.Booted = time.Now().Add(-took)
	g.Stages, g.Failed = nil, nil
	g.passed(stage, took/2)
	g.passed(report.StageNetwork, took*4/5)
	if slices.Contains(g.Disk.Units, rule.Unit) {
		g.Failed = []string{rule.Unit}
	}
	if g.Disk.PhoneHome == nil {
		g.passed(report.StageUnits, took)
	}
}

// deliver sends a report as curl does.
func (w *World) deliver(ctx context.Context, r *reporter, vm, text string) (answer string, _ error) {
	rule := w.faults.strike(OnReport, vm)
	if !w.sleep(rule.Delay.Duration) {
		return "", context.Canceled
	}
	if rule.Never {
		return "", errors.New("curl: (7) could not connect (simulated)")
	}
	c := call{method: http.MethodPost, url: r.URL, body: text, header: http.Header{"Content-Type": {"text/plain"}}, timeout: curlTimeout, files: r.Files}
	for _, name := range sortedKeys(r.Files) {
		if err := c.headers("@" + name); err != nil {
			return "", err
		}
	}
	return w.curl(ctx, c)
}

// curl makes a call and returns its answer; its errors are those of curl
// --fail.
func (w *World) curl(ctx context.Context, c call) (answer string, _ error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, c.method, c.url, bytes.NewReader([]byte(c.body)))
	if err != nil {
		return "", fmt.Errorf("curl: (3) %w", err)
	}
	req.Header = c.header
	res, err := w.http.Do(req)
	if err != nil {
		return "", fmt.Errorf("curl: (7) %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, replyLimit))
	if res.StatusCode >= http.StatusMultipleChoices {
		return "", fmt.Errorf("curl: (22) the requested URL returned error: %d", res.StatusCode)
	}
	if err != nil {
		return "", fmt.Errorf("curl: (56) %w", err)
	}
	return string(body), nil
}

// leaveWord sets guestinfo from within the guest; an empty word removes it.
func (w *World) leaveWord(s step, word string) {
	w.change(s.ref, func(ctx *simulator.Context, vm *mo.VirtualMachine) {
		if _, ok := w.guests.current(s); !ok {
			return
		}
		ctx.Update(vm, []types.PropertyChange{{Name: "config.extraConfig", Val: withWord(vm, word)}})
		w.save(vm)
	})
}

func withWord(vm *mo.VirtualMachine, word string) []types.BaseOptionValue {
	options := slices.DeleteFunc(slices.Clone(vm.Config.ExtraConfig), func(o types.BaseOptionValue) bool {
		return o.GetOptionValue().Key == keyReport
	})
	if word != "" {
		options = append(options, &types.OptionValue{Key: keyReport, Value: base64.StdEncoding.EncodeToString([]byte(strings.TrimRight(word, "\n") + "\n"))})
	}
	return options
}
