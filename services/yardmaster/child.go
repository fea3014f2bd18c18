package yardmaster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/service"
	"yardmaster.dev/services/simulator"
)

const (
	childStop    = 5 * time.Second
	childRestart = time.Second
	readyPoll    = 50 * time.Millisecond
	readyTimeout = 30 * time.Second
)

// superviseSimulator keeps the simulated world running until ctx ends. The
// child ends itself when its standard input closes, so that none is left
// behind when this process is killed.
func superviseSimulator(ctx context.Context, o Options, log *slog.Logger) error {
	out, err := os.OpenFile(o.files().simulatorLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the simulator's log: %w", err)
	}
	defer func() { _ = out.Close() }()
	for {
		err := runSimulator(ctx, o, out)
		if ctx.Err() != nil {
			return nil
		}
		log.WarnContext(ctx, "the simulated world ended and is started again", service.KeyErr, fmt.Sprint(err))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(childRestart):
		}
	}
}

func runSimulator(ctx context.Context, o Options, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, "simulate", withParent,
		"--dir", o.files().simulator(), "--listen", o.VCenter, "--control", o.Control, "--esxi", strconv.FormatBool(o.ESXi))
	cmd.Stdout, cmd.Stderr = out, out
	// A Ctrl-C goes to the whole terminal group; the child must outlive the
	// services that use it, so it gets a group of its own.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = childStop
	leash, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("hold the simulator's input: %w", err)
	}
	defer func() { _ = leash.Close() }()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("simulate: %w", err)
	}
	return nil
}

// simulatorReady waits until the simulated world answers.
func simulatorReady(ctx context.Context, o Options) error {
	if err := waitHealthy(ctx, "http://"+o.Control+"/healthz"); err != nil {
		return fmt.Errorf("the simulated world does not answer, see %s: %w", o.files().simulatorLog(), err)
	}
	return nil
}

var errUnhealthy = errors.New("unhealthy")

func healthy(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %w", url, resp.Status, errUnhealthy)
	}
	return nil
}

// withParent makes the simulated world end when its standard input closes.
const withParent = "--with-parent"

// Simulate runs the simulated world by itself, as yardmaster simulate does,
// and returns the exit code.
func Simulate(args []string) int {
	run := simulator.Run
	if i := slices.Index(args, withParent); i >= 0 {
		args = slices.Delete(slices.Clone(args), i, i+1)
		run = leashed
	}
	return service.Execute("yardmaster simulate", args, service.Process{HealthListen: "off"}, simulator.DefaultConfig(), run)
}

// leashed runs the simulated world until the parent closes our input, be it
// by dying.
func leashed(ctx context.Context, cfg simulator.Config, env service.Env) error {
	ctx, cancel := context.WithCancel(ctx)
	group := new(errgroup.Group)
	group.Go(func() error {
		defer cancel()
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	})
	if err := simulator.Run(ctx, cfg, env); err != nil {
		return err // the reader above ends with the process
	}
	return nil
}
