package yardctl

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"connectrpc.com/connect"
)

// The exit codes; rootLong documents them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitWrongInput  = 2
	exitRefused     = 3
	exitUnreachable = 4
	exitTimedOut    = 5
	exitPending     = 6
)

// exit is an error with an exit code. A nil Err means that everything was
// said already.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

func wrongInput(err error) error { return &exit{code: exitWrongInput, err: err} }
func refused(err error) error    { return &exit{code: exitRefused, err: err} }

// silent ends with a code after the screen said why.
func silent(code int) error { return &exit{code: code} }

// codes says how a gateway's refusal ends.
var codes = map[connect.Code]int{
	connect.CodeInvalidArgument:    exitWrongInput,
	connect.CodePermissionDenied:   exitRefused,
	connect.CodeUnauthenticated:    exitRefused,
	connect.CodeFailedPrecondition: exitRefused,
	connect.CodeUnavailable:        exitUnreachable,
	connect.CodeDeadlineExceeded:   exitTimedOut,
}

// verdict prints what went wrong and returns the exit code.
func (a *app) verdict(ctx context.Context, err error) int {
	if err == nil {
		return exitDone
	}
	if e, ok := errors.AsType[*exit](err); ok {
		if e.err != nil {
			a.complain(e.err.Error())
		}
		return e.code
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		a.complain("stopped; what was sent goes on")
		return exitFailed
	}
	if e, ok := errors.AsType[*connect.Error](err); ok {
		return a.gatewayVerdict(e)
	}
	if strings.HasPrefix(err.Error(), "unknown command") {
		text, _, _ := strings.Cut(err.Error(), "\n")
		a.complain(text + "; yardctl --help lists the commands")
		return exitWrongInput
	}
	a.complain(err.Error())
	return exitFailed
}

// gatewayVerdict is verdict for the answer, or the silence, of the gateway.
func (a *app) gatewayVerdict(e *connect.Error) int {
	if connect.IsWireError(e) {
		text := e.Message()
		if e.Code() == connect.CodeUnauthenticated {
			text += "\nthe token is --token-file, YARDCTL_TOKEN, or .yard/token in this folder or above"
		}
		a.complain(text)
		if code, ok := codes[e.Code()]; ok {
			return code
		}
		return exitFailed
	}
	switch e.Code() { //nolint:exhaustive // the client itself makes only these
	case connect.CodeUnavailable, connect.CodeUnknown:
		a.complain(fmt.Sprintf("gateway %s does not answer (%s)\n"+
			"is the yard up? make up, or point to another: --server, YARDCTL_SERVER,\n"+
			"~/.config/yardmaster/config.yaml", a.server, cause(e)))
		return exitUnreachable
	case connect.CodeDeadlineExceeded:
		a.complain("gateway " + a.server + " did not answer in time; what was sent may go on")
		return exitTimedOut
	}
	a.complain(fmt.Sprintf("gateway %s: %s", a.server, e.Message()))
	return exitFailed
}

// cause is the innermost reason why a gateway cannot be reached.
func cause(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i+2:]
	}
	return text
}

// complain prints an error; its further lines are indented below the first.
func (a *app) complain(text string) {
	_, _ = fmt.Fprintf(a.env.Err, "yardctl: %s\n", strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n         "))
}
