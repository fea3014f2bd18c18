package guest

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// What is shown of a machine's console.
const (
	// MaxConsole is how much of its end is read.
	MaxConsole = 64 << 10
	maxLines   = 200
	maxLine    = 400
)

// escapes are the sequences with which a console is coloured and cleared.
var escapes = regexp.MustCompile("\x1b(\\[[0-9;?]*[ -/]*[@-~]|[@-Z\\\\-_])")

// ConsoleLines returns the last lines of a console as they can be shown: it
// holds whatever a machine, or anybody on it, chose to write there. Lines
// begin anew after a carriage return; the first one, of which the beginning
// may be missing, is left out when the text is the end of a longer one.
func ConsoleLines(text []byte) []string {
	all := strings.Split(string(text), "\n")
	if len(text) >= MaxConsole {
		all = all[1:]
	}
	var out []string
	for _, line := range all {
		line = strings.TrimRight(line, "\r")
		if i := strings.LastIndexByte(line, '\r'); i >= 0 {
			line = line[i+1:]
		}
		if !utf8.ValidString(line) {
			line = strings.ToValidUTF8(line, "")
		}
		if line = plain(escapes.ReplaceAllString(line, ""), maxLine); line != "" {
			out = append(out, line)
		}
	}
	return out[max(0, len(out)-maxLines):]
}
