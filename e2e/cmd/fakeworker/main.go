// Command fakeworker does the renderer's and the vSphere executor's jobs
// without their effects: a machine is a file. So the ledger is tried alone,
// at its own speed, with the very work loop that the real workers use.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"yardmaster.dev/e2e/machines"
	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "fakeworker:", err)
		os.Exit(1) //nolint:forbidigo // a program of the tests
	}
}

type config struct {
	url, users, machines, site, name, kinds string
	slots                                   int
	trouble                                 float64
}

func run(args []string) error {
	var c config
	flags := flag.NewFlagSet("fakeworker", flag.ContinueOnError)
	flags.StringVar(&c.url, "url", "nats://127.0.0.1:4222", "servers, with commas")
	flags.StringVar(&c.users, "users", "", "folder of the users' seeds")
	flags.StringVar(&c.machines, "machines", "", "folder of the machines")
	flags.StringVar(&c.site, "site", "dc1", "site of the vsphere jobs")
	flags.StringVar(&c.name, "name", "fake", "instance name")
	flags.StringVar(&c.kinds, "kinds", "render,vsphere", "kinds of jobs to take")
	flags.IntVar(&c.slots, "slots", 16, "jobs at once, per kind")
	flags.Float64Var(&c.trouble, "trouble", 0, "share of first attempts that fail")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT) //nolint:forbidigo // main
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	for kind := range strings.SplitSeq(c.kinds, ",") {
		group.Go(func() error { return c.work(ctx, plan.Worker(kind), log) })
	}
	return group.Wait()
}

func (c config) work(ctx context.Context, kind plan.Worker, log *slog.Logger) error {
	user, site := "renderer", ""
	handler := machines.Render
	if kind == plan.WorkerVSphere {
		user, site = "vsphere-"+c.site, c.site
		handler = machines.Folder(c.machines).Do
	}
	conn, err := bus.Connect(ctx, bus.Config{URL: c.url, SeedFile: filepath.Join(c.users, user+".nk")}, c.name, log)
	if err != nil {
		return err
	}
	defer conn.Close()
	w := &executor.Work{Conn: conn, Worker: kind, Site: site, Slots: c.slots, By: c.name + "-" + string(kind), Log: log}
	return w.Run(ctx, func(ctx context.Context, job *plan.Job) *plan.Result {
		if job.Action == plan.ActionCreate || job.Action == plan.ActionDelete {
			// As the real executor does before it makes or destroys.
			wanted, err := w.Wanted(ctx, job)
			if err != nil {
				return nil // handed back
			}
			if !wanted {
				return &plan.Result{Failure: &plan.Failure{Kind: fault.Cancelled, Reason: fault.Stopped, Message: "no longer wanted"}}
			}
		}
		return handler(machines.Trouble(job, c.trouble))
	})
}
