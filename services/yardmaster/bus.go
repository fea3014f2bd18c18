package yardmaster

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/proto/subject"
)

// busOptions are the flags that the bus commands share.
type busOptions struct {
	dir      string
	server   string
	storeDir string
	topology subject.Topology
}

func busCommand() *cobra.Command {
	o := &busOptions{dir: "bus", server: "nats://127.0.0.1:4222", topology: subject.Topology{Shards: 1, Replicas: 1}}
	cmd := &cobra.Command{
		Use:   "bus",
		Short: "Set up an external NATS server: users, streams, consumers",
		Long: `Set up an external NATS server for a yard. The services never make or change
streams or users themselves; they check, and refuse to start with the
difference shown.

  1. yardmaster bus config --dir bus --sites dc1 > nats.conf
     makes a key for each service (kept in bus/users) and prints the server's
     configuration: users, permissions, the settings that the ledger needs
  2. nats-server -c nats.conf
  3. yardmaster bus init --dir bus --server nats://... --sites dc1
     makes the streams and consumers; repeat it as "upgrade" with a new release`,
	}
	f := cmd.PersistentFlags()
	f.StringVar(&o.dir, "dir", o.dir, "folder of the keys; keep it secret")
	f.IntVar(&o.topology.Shards, "shards", o.topology.Shards, "ledger shards; more may be added, none removed")
	f.StringSliceVar(&o.topology.Sites, "sites", nil, "names of the sites")
	f.IntVar(&o.topology.Replicas, "replicas", o.topology.Replicas, "copies of each stream: 1, or 3 on a cluster")
	f.Int64Var(&o.topology.ShardBytes, "shard-bytes", 0, "limit of one shard's stream in bytes (default 2 GiB)")
	cmd.AddCommand(o.configCommand(), o.initCommand("init", "Make the streams and consumers"),
		o.initCommand("upgrade", "Bring the streams and consumers to this release"), o.rotateCommand())
	return cmd
}

func (o *busOptions) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Make the users' keys and print the server's configuration",
		Example: "  yardmaster bus config --dir bus --sites dc1,dc2 > nats.conf",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			users, err := bus.MakeUsers(o.dir, o.topology)
			if err != nil {
				return err
			}
			store := o.storeDir
			if store == "" {
				store = filepath.Join(o.dir, "store")
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), bus.ServerConfig(store, users))
			return err
		},
	}
	cmd.Flags().StringVar(&o.storeDir, "store-dir", "", "where the server keeps its store (default <dir>/store)")
	return cmd
}

func (o *busOptions) initCommand(use, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Example: "  yardmaster bus " + use + " --dir bus --server nats://127.0.0.1:4222 --sites dc1",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.init(cmd.Context()); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "the bus at %s is ready: %d shard(s), sites %v\n", o.server, o.topology.Shards, o.topology.Sites)
			return err
		},
	}
	cmd.Flags().StringVar(&o.server, "server", o.server, "URL of the NATS server")
	return cmd
}

func (o *busOptions) init(ctx context.Context) error {
	if _, err := bus.MakeUsers(o.dir, o.topology); err != nil {
		return err
	}
	cfg := bus.Config{URL: o.server, SeedFile: bus.SeedFile(o.dir, subject.UserAdmin)}
	return initBus(ctx, cfg, o.topology, slog.New(slog.DiscardHandler))
}

func initBus(ctx context.Context, cfg bus.Config, t subject.Topology, log *slog.Logger) error {
	conn, err := bus.Connect(ctx, cfg, "yardmaster bus init", log)
	if err != nil {
		return err
	}
	defer conn.Close()
	return bus.Init(ctx, conn, t)
}
