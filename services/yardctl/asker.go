package yardctl

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// asker asks a person on stderr, so that stdout stays a document.
type asker struct {
	in  *bufio.Reader
	out io.Writer
	// screen is the terminal that answers come from, nil if it is none.
	screen *os.File
}

func newAsker(env Env) *asker {
	a := &asker{in: bufio.NewReader(env.In), out: env.Err}
	if f, ok := env.In.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		a.screen = f
	}
	return a
}

// line asks for a line.
func (a *asker) line(question string) (string, error) {
	_, _ = fmt.Fprint(a.out, question)
	text, err := a.in.ReadString('\n')
	if a.screen == nil {
		_, _ = fmt.Fprintln(a.out)
	}
	if err != nil && text == "" {
		return "", err
	}
	return strings.TrimSpace(text), nil
}

// hidden asks for a line that no terminal shows.
func (a *asker) hidden(question string) (string, error) {
	if a.screen == nil {
		return a.line(question)
	}
	_, _ = fmt.Fprint(a.out, question)
	text, err := term.ReadPassword(int(a.screen.Fd()))
	_, _ = fmt.Fprintln(a.out)
	return string(text), err
}
