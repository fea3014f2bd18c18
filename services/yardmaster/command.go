package yardmaster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"yardmaster.dev/pkg/service"
)

// Execute runs the command line and returns the exit code.
func Execute(args []string) int {
	// The simulated world has the services' own flags, from file,
	// environment and command line.
	if len(args) > 0 && args[0] == "simulate" {
		return Simulate(args[1:])
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM) //nolint:forbidigo // this is the process's root
	defer stop()
	root := New()
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil && !errors.Is(err, context.Canceled) {
		_, _ = fmt.Fprintf(os.Stderr, "yardmaster: %v\n", err)
		return 1
	}
	return 0
}

// New returns the command tree.
func New() *cobra.Command {
	root := &cobra.Command{
		Use:           "yardmaster",
		Short:         "Turn fleet specs into running Flatcar nodes",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       service.Build().Version,
	}
	root.AddCommand(upCommand(), resetCommand(), busCommand(), &cobra.Command{
		Use:   "simulate",
		Short: "Run the simulated world: a vCenter whose guests boot and phone home",
		Long:  "Run the simulated world as a process of its own.\nyardmaster simulate --help lists its flags.",
	})
	return root
}

func upCommand() *cobra.Command {
	o := DefaultOptions()
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a whole yard on this machine, with a simulated vCenter",
		Long: `Run a whole yard on this machine: an embedded NATS server, every service, and
govmomi's vCenter simulator as a child process. Everything listens on loopback
and is kept in the data folder; the next "up" goes on from there.

With --esxi the site is a lone ESXi, which has no templates: say with
--images-key and --images-from where its images come from.`,
		Example: "  yardmaster up\n  yardmaster up --dir /tmp/yard --gateway 127.0.0.1:8080",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return Up(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Dir, "dir", o.Dir, "data folder")
	f.StringVar(&o.Gateway, "gateway", o.Gateway, "address of the gateway")
	f.StringVar(&o.NATS, "nats", o.NATS, "address of the embedded NATS server")
	f.StringVar(&o.VCenter, "vcenter", o.VCenter, "address of the simulated vCenter")
	f.StringVar(&o.Control, "control", o.Control, "address of the simulator's health and faults")
	f.IntVar(&o.Shards, "shards", o.Shards, "ledger shards of a new yard")
	f.StringVar(&o.Example, "example", o.Example, "documents to apply to a new yard; empty for none")
	f.BoolVar(&o.ESXi, "esxi", false, "simulate a lone ESXi instead of a vCenter; it needs images, see below")
	f.StringVar(&o.Images.KeyFile, "images-key", "", "file with the OpenPGP key whose images the simulated site takes")
	f.StringVar(&o.Images.Fingerprint, "images-fingerprint", "", "fingerprint of that key (default Flatcar's)")
	f.StringVar(&o.Images.From, "images-from", "", "URL or folder that they come from (default Flatcar's release server)")
	return cmd
}

func resetCommand() *cobra.Command {
	dir := DefaultOptions().Dir
	cmd := &cobra.Command{
		Use:   "reset",
		Short: "Forget a yard of this machine: its state, machines and logs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := Reset(dir); err != nil {
				return err
			}
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "forgot the yard in %s\n", dir)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", dir, "data folder")
	return cmd
}
