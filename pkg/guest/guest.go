// Package guest is what a machine says of itself once it runs: how far its
// first boot came, whether its units work, and that it still lives.
//
// A report is text, a word and its values on each line, because a shell can
// write that without escaping anything. The base role's script writes it, the
// gateway and the executors read it. It is the claim of a guest: it is
// bounded, made harmless to show, and decides nothing.
package guest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Magic is the first line of a report: the name and version of its form.
const Magic = "yardmaster-report 1"

// What is read of a report; the rest is dropped.
const (
	MaxBytes  = 16 << 10
	maxWord   = 128
	maxLog    = 200
	maxLogs   = 5
	maxFailed = 8
	maxStages = 16
	// maxUp is ten years: a counter beyond is nonsense.
	maxUp = 10 * 365 * 24 * time.Hour
)

// Report is what a guest said last.
type Report struct {
	BootID    string
	MachineID string
	OSVersion string
	// State is systemd's word for the whole system: starting, running,
	// degraded, maintenance, stopping.
	State string
	// Up is how long the kernel ran when the guest spoke. A guest's clock may
	// be wrong, so that nothing here is a time of day.
	Up     time.Duration
	Stages []Stage
	Failed []Failed
}

// Stage is a part of the boot that is done.
type Stage struct {
	Name string
	// After is how long the kernel had run then.
	After time.Duration
}

// Failed is a unit that failed and the last that it said.
type Failed struct {
	Unit   string
	Result string
	Log    []string
}

// The stages that the base role reports, in their usual order.
const (
	StageIgnition  = "ignition"
	StageSystem    = "system" // instead of ignition: a later boot
	StageNetwork   = "network"
	StagePhoneHome = "phone-home"
	StageUnits     = "units"
)

// The states that mean something to us.
const (
	StateStarting = "starting"
	StateRunning  = "running"
	StateDegraded = "degraded"
)

// ErrForm means that a text is no report.
var ErrForm = errors.New("the report is not understood")

// Parse reads a report. Lines that it does not know are left out, because a
// guest of tomorrow may say more.
func Parse(text []byte) (Report, error) {
	if len(text) > MaxBytes {
		return Report{}, fmt.Errorf("%w: it has more than %d bytes", ErrForm, MaxBytes)
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	if strings.TrimSpace(first) != Magic {
		return Report{}, fmt.Errorf("%w: its first line is not %q", ErrForm, Magic)
	}
	var r Report
	for line := range strings.Lines(rest) {
		word, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		r.take(word, value)
	}
	slices.SortStableFunc(r.Stages, func(a, b Stage) int { return int(a.After - b.After) })
	return r, nil
}

func (r *Report) take(word, value string) {
	switch word {
	case "boot":
		r.BootID = plain(value, maxWord)
	case "machine":
		r.MachineID = plain(value, maxWord)
	case "os":
		r.OSVersion = plain(value, maxWord)
	case "state":
		r.State = plain(value, maxWord)
	case "up":
		r.Up, _ = seconds(value) // what cannot be read was not said
	case "stage":
		r.stage(value)
	case "failed":
		unit, result, _ := strings.Cut(plain(value, 2*maxWord), " ")
		if unit = plain(unit, maxWord); unit != "" && len(r.Failed) < maxFailed {
			r.Failed = append(r.Failed, Failed{Unit: unit, Result: plain(result, maxWord)})
		}
	case "log":
		r.log(plain(value, maxLog))
	}
}

func (r *Report) stage(value string) {
	name, after, _ := strings.Cut(plain(value, 2*maxWord), " ")
	d, ok := seconds(after)
	name = plain(name, maxWord)
	known := slices.ContainsFunc(r.Stages, func(s Stage) bool { return s.Name == name })
	if ok && name != "" && !known && len(r.Stages) < maxStages {
		r.Stages = append(r.Stages, Stage{Name: name, After: d})
	}
}

// log takes a line of the unit that was named last.
func (r *Report) log(line string) {
	if len(r.Failed) == 0 || line == "" {
		return
	}
	f := &r.Failed[len(r.Failed)-1]
	if len(f.Log) < maxLogs {
		f.Log = append(f.Log, line)
	}
}

// seconds reads a number of seconds such as 12.34.
func seconds(s string) (time.Duration, bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > maxUp.Seconds() {
		return 0, false
	}
	return time.Duration(math.Round(f*1000)) * time.Millisecond, true
}

// plain keeps of a guest's word what can be shown on a terminal and in a log
// without doing harm.
func plain(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return strings.TrimSpace(s)
}

// String writes the report as Parse reads it.
func (r *Report) String() string {
	var b strings.Builder
	line := func(words ...string) {
		b.WriteString(strings.TrimRight(strings.Join(words, " "), " "))
		b.WriteByte('\n')
	}
	line(Magic)
	line("boot", r.BootID)
	line("machine", r.MachineID)
	line("os", r.OSVersion)
	line("state", r.State)
	line("up", decimal(r.Up))
	for _, s := range r.Stages {
		line("stage", s.Name, decimal(s.After))
	}
	for _, f := range r.Failed {
		line("failed", f.Unit, f.Result)
		for _, l := range f.Log {
			line("log", l)
		}
	}
	return b.String()
}

func decimal(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

// Same reports whether two reports say the same but for how long the guest
// ran.
func (r *Report) Same(other *Report) bool {
	a, b := *r, *other
	a.Up, b.Up = 0, 0
	return a.String() == b.String()
}
