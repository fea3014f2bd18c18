package guest_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"yardmaster.dev/pkg/guest"
)

const said = guest.Magic + `
boot 7d2c
machine 4ea1
os 4593.2.5
state degraded
up 63.52
stage network 4.2
stage ignition 3.1
stage units 12
failed nginx.service exit-code
log cannot bind: address in use
log 	exited
failed other.service
future thing 12
`

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := guest.Parse([]byte(said))
	want := guest.Report{
		BootID: "7d2c", MachineID: "4ea1", OSVersion: "4593.2.5", State: guest.StateDegraded, Up: 63520 * time.Millisecond,
		Stages: []guest.Stage{{Name: guest.StageIgnition, After: 3100 * time.Millisecond}, {Name: guest.StageNetwork, After: 4200 * time.Millisecond}, {Name: guest.StageUnits, After: 12 * time.Second}},
		Failed: []guest.Failed{
			{Unit: "nginx.service", Result: "exit-code", Log: []string{"cannot bind: address in use", "exited"}},
			{Unit: "other.service"},
		},
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("Parse: %v, differs (-want +got):\n%s", err, d)
	}
	again, err := guest.Parse([]byte(got.String()))
	if d := cmp.Diff(got, again); d != "" || err != nil {
		t.Errorf("what String writes is read as another: %v\n%s", err, d)
	}
}

func TestParseRefusesAndDrops(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty": "", "another form": "yardmaster-report 2\n", "JSON": "{}", "too large": said + strings.Repeat("x", guest.MaxBytes),
	} {
		if _, err := guest.Parse([]byte(text)); !errors.Is(err, guest.ErrForm) {
			t.Errorf("%s: Parse = %v; want ErrForm", name, err)
		}
	}
	for name, line := range map[string]string{
		"log of no unit": "log x", "no time": "stage network", "not a number": "stage network soon", "NaN": "stage network NaN",
		"before the kernel": "stage network -1", "for ever": "up 1e300", "no name": "stage  3",
	} {
		got, err := guest.Parse([]byte(guest.Magic + "\n" + line))
		if d := cmp.Diff(guest.Report{}, got); d != "" || err != nil {
			t.Errorf("%s: Parse: %v\n%s", name, err, d)
		}
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	a := guest.Report{State: guest.StateRunning, Up: time.Second}
	b := guest.Report{State: guest.StateRunning, Up: time.Hour}
	if !a.Same(&b) {
		t.Error("two reports that differ in their age are not the same")
	}
	if b.State = guest.StateDegraded; a.Same(&b) {
		t.Error("a degraded guest is the same as a running one")
	}
}

// Whatever a guest says is bounded and harmless to show, or refused.
func FuzzParse(f *testing.F) {
	f.Add([]byte(said))
	f.Add([]byte(guest.Magic + "\nfailed \x1b[31m \xff\nlog \x00" + strings.Repeat("é", 300)))
	f.Add([]byte(guest.Magic + "\r\nup 1e9\nstage a 1\nstage a 2\n" + strings.Repeat("failed x\nlog y\nlog z\n", 50)))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := guest.Parse(text)
		if err != nil {
			if d := cmp.Diff(guest.Report{}, got); d != "" || !errors.Is(err, guest.ErrForm) {
				t.Errorf("Parse(%q) = %v, %v; want nothing and ErrForm", text, got, err)
			}
			return
		}
		out := got.String()
		if len(out) > guest.MaxBytes || !utf8.ValidString(out) ||
			strings.ContainsFunc(out, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
			t.Errorf("Parse(%q) lets %q through", text, out)
		}
		again, err := guest.Parse([]byte(out))
		if d := cmp.Diff(got, again); d != "" || err != nil {
			t.Errorf("Parse(%q): what String writes is read as another: %v\n%s", text, err, d)
		}
	})
}

func TestConsoleLines(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"plain":    {"a\nb\n", []string{"a", "b"}},
		"no end":   {"a\nb", []string{"a", "b"}},
		"terminal": {"\x1b[2J\x1b[0;32m  OK  \x1b[0m Started x\r\n\x1bM\n\xff\x00c\n", []string{"OK   Started x", "c"}},
		"redrawn":  {"10 %\r50 %\r100 %\r\n", []string{"100 %"}},
		"nothing":  {"", nil},
		"cut":      {strings.Repeat("x", guest.MaxConsole-2) + "\nb", []string{"b"}},
	} {
		if d := cmp.Diff(c.want, guest.ConsoleLines([]byte(c.text))); d != "" {
			t.Errorf("%s: ConsoleLines differs (-want +got):\n%s", name, d)
		}
	}
	if n := len(guest.ConsoleLines([]byte(strings.Repeat("line\n", 1000)))); n != 200 {
		t.Errorf("%d lines of a thousand; want the last 200", n)
	}
}

func FuzzConsoleLines(f *testing.F) {
	f.Add([]byte("\x1b[31mred\r\n\xff\x1b[\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, line := range guest.ConsoleLines(text) {
			if line == "" || len(line) > 400 || !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("ConsoleLines(%q) lets %q through", text, line)
			}
		}
	})
}
