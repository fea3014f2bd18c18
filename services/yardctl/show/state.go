package show

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// state is how a state of a node looks: a sign besides the colour, and how
// far on its way to ready it is.
type state struct {
	sign   string
	colour Colour
	step   int
}

// Steps is how many steps lead a node to ready.
const Steps = 5

var states = map[string]state{
	"pending":      {"○", Grey, 0},
	"rendering":    {"◌", Blue, 1},
	"provisioning": {"◔", Blue, 2},
	"booting":      {"◐", Blue, 3},
	"joining":      {"◕", Blue, 4},
	"ready":        {"●", Green, 5},
	"restarting":   {"◓", Blue, 4},
	"rerunning":    {"◓", Blue, 4},
	"draining":     {"◑", Yellow, 0},
	"deleting":     {"◒", Yellow, 0},
	"deleted":      {"·", Grey, 0},
	"failed":       {"✗", Red, 0},
	"preserved":    {"■", Yellow, 0},
}

// Sign is a state's sign; an unknown state, of a newer yard, has one too.
func Sign(name string) string {
	if s, ok := states[name]; ok {
		return s.sign
	}
	return "?"
}

// Step is how many steps to ready a state has behind it.
func Step(name string) int { return states[name].step }

// Waiting says what a node waits for: what somebody does already (cloning
// flatcar-4593.2.5) as it is, anything else as "waiting for its first
// phone-home".
func Waiting(what string) string {
	word, _, _ := strings.Cut(what, " ")
	if what == "" || strings.HasSuffix(word, "ing") {
		return what
	}
	return "waiting for " + what
}

// Colour is a terminal's colour.
type Colour string

// The colours, as SGR parameters (ECMA-48).
const (
	Plain  Colour = ""
	Bold   Colour = "1"
	Red    Colour = "31"
	Green  Colour = "32"
	Yellow Colour = "33"
	Blue   Colour = "34"
	Grey   Colour = "90"
)

// Palette colours text, or leaves it alone.
type Palette struct{ on bool }

// NewPalette returns colours for out: only on a terminal, and only if nobody
// asked for none (https://no-color.org).
func NewPalette(out io.Writer, noColour string) Palette {
	return Palette{on: noColour == "" && Terminal(out)}
}

// Paint colours text.
func (p Palette) Paint(c Colour, text string) string {
	if !p.on || c == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// State colours text as a state is coloured.
func (p Palette) State(name, text string) string { return p.Paint(states[name].colour, text) }

// Terminal reports whether out is a person's screen.
func Terminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
