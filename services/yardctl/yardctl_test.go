package yardctl_test

import (
	"context"
	"errors"
	"flag"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
	"yardmaster.dev/services/vsphere-executor/discover/discovertest"
	"yardmaster.dev/services/yardctl"
)

var update = flag.Bool("update", false, "rewrite the wanted screens in testdata/script")

// now is the time at which the screens of the tests are seen.
var now = time.Date(2026, 3, 4, 10, 31, 0, 0, time.UTC)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"yardctl": func() {
		os.Exit(yardctl.Run(context.Background(), yardctl.Env{
			Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
			Getenv: os.Getenv, Now: func() time.Time { return now },
		}))
	}})
}

// TestScreens runs yardctl from outside, against a gateway that answers what
// a yard with one of everything would.
func TestScreens(t *testing.T) {
	t.Parallel()
	hall := discovertest.NewVCenter(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update, RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(env *testscript.Env) error {
			path, handler := yardmasterv1connect.NewYardServiceHandler(&gateway{})
			server := httptest.NewServer(mux(path, handler))
			env.Defer(server.Close)
			env.Setenv("YARDCTL_SERVER", server.URL)
			env.Setenv("YARDCTL_TOKEN", goodToken)
			env.Setenv("HOME", env.WorkDir+"/home")
			env.Setenv("TZ", "UTC")
			env.Setenv("VCENTER", hall.Host)
			env.Setenv("VCENTER_PRINT", hall.Fingerprint)
			return nil
		},
	})
}

// exits runs a command and wants its exit code: exits 3 yardctl ...
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = strconv.Itoa(e.ExitCode())
	}
	if code != args[0] {
		ts.Fatalf("%s ended with %s; want %s", strings.Join(args[1:], " "), code, args[0])
	}
}
