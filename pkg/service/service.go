// Package service is main's helper: it reads the configuration, handles the
// signals, serves health and metrics, and stops things in order. It is the
// only package besides main that reads the process's flags and environment.
package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// Env is what a process gives to a service that runs in it.
type Env struct {
	// Name is the kind of service, Instance this replica's own name.
	Name     string
	Instance string
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	Health   *Health
}

// Process is the configuration that every service's process has besides the
// service's own; it stands at the top level of the same file.
type Process struct {
	// Instance names this replica; default is the host's name and the
	// process id.
	Instance string `json:"instance,omitempty"`
	// HealthListen serves /healthz, /readyz and /metrics; "off" serves none.
	HealthListen string `json:"healthListen,omitempty"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `json:"logLevel,omitempty"`
}

// stopGrace bounds a clean stop; after it the process ends anyway.
const stopGrace = 20 * time.Second

// Exit codes of a service's process.
const (
	exitFailed = 1
	exitConfig = 2
)

// Main is a service's whole main: it loads cfg (defaults, then file, then
// environment, then flags), runs run until a signal or an error, and exits
// the process.
func Main[C any](name string, process Process, cfg C, run func(context.Context, C, Env) error) {
	os.Exit(Execute(name, os.Args[1:], process, cfg, run))
}

// Execute is Main without the exit: it returns the exit code.
func Execute[C any](name string, args []string, process Process, cfg C, run func(context.Context, C, Env) error) int {
	all := struct {
		Process
		Service *C
	}{process, &cfg}
	if err := Load(name, args, &all.Process, all.Service); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return exitConfig
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log := NewLogger(os.Stderr, all.LogLevel).With(KeyService, name)
	if err := runProcess(ctx, name, all.Process, log, func(ctx context.Context, env Env) error {
		return run(ctx, cfg, env)
	}); err != nil {
		log.ErrorContext(ctx, "service failed", KeyErr, err.Error())
		return exitFailed
	}
	return 0
}

func runProcess(ctx context.Context, name string, p Process, log *slog.Logger, run func(context.Context, Env) error) error {
	registry := NewRegistry()
	env := Env{Name: name, Instance: p.Instance, Log: log, Metrics: registry, Health: NewHealth()}
	if env.Instance == "" {
		env.Instance = DefaultInstance()
	}
	group, ctx := errgroup.WithContext(ctx)
	done := make(chan struct{})
	if p.HealthListen != "off" && p.HealthListen != "" {
		group.Go(func() error {
			return ServeHTTP(ctx, p.HealthListen, ObserveHandler(env.Health, registry), log)
		})
	}
	group.Go(func() error {
		defer close(done)
		err := run(ctx, env)
		if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return errStopped
		}
		return err
	})
	group.Go(func() error { return enforceStop(ctx, done, log) })
	if err := group.Wait(); err != nil && !errors.Is(err, errStopped) {
		return err
	}
	return nil
}

// errStopped ends the group when the service returned without an error.
var errStopped = errors.New("stopped")

// enforceStop ends the process when a clean stop takes too long: a hung
// service must not keep its replacement from starting.
func enforceStop(ctx context.Context, done <-chan struct{}, log *slog.Logger) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-done:
		return nil
	case <-time.After(stopGrace):
		log.ErrorContext(ctx, "clean stop took too long", "grace", stopGrace.String())
		os.Exit(exitFailed)
		return nil
	}
}

// DefaultInstance names this replica by host and process.
func DefaultInstance() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}
