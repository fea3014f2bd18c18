package yardctl

import (
	"fmt"
	"log/slog"
	"path/filepath"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/ledger"
	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/yardctl/show"
)

func (a *app) auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", GroupID: groupYard, Short: "Check that the history is whole",
		Example: "  yardctl audit verify", Args: cobra.ArbitraryArgs,
	}
	var fleet string
	verify := &cobra.Command{
		Use: "verify", Short: "Walk every node's events by their hashes and end at its record",
		Long: `verify walks the chain of hashes of each node's events, from the oldest that is
kept to the newest, which must be the one that made the node's record. A break
means that something was lost, forged or restored; the exit code is then 1.`,
		Example: `  yardctl audit verify
  yardctl audit verify --fleet web`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			answer, err := client.VerifyAudit(cmd.Context(), connect.NewRequest(&yardmasterv1.VerifyAuditRequest{Fleet: fleet}))
			if err != nil {
				return err
			}
			return a.audited(answer.Msg)
		},
	}
	verify.Flags().StringVar(&fleet, "fleet", "", "only this fleet's")
	return parent(cmd, verify)
}

func (a *app) audited(m *yardmasterv1.VerifyAuditResponse) error {
	if err := a.emit(m, func() error {
		for _, b := range m.GetBreaks() {
			a.say("%s %s", a.palette.Paint(show.Red, "✗"), b)
		}
		verdict := a.palette.Paint(show.Green, "the history is whole")
		if n := len(m.GetBreaks()); n > 0 {
			verdict = a.palette.Paint(show.Red, show.Count(n, "break"))
		}
		a.say("%s of %s: %s", show.Count(int(m.GetEvents()), "event"), show.Count(int(m.GetNodes()), "node"), verdict)
		return nil
	}); err != nil {
		return err
	}
	if len(m.GetBreaks()) > 0 {
		return silent(exitFailed)
	}
	return nil
}

func (a *app) debugCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "debug", GroupID: groupYard, Short: "Look at what is stored",
		Example: "  yardctl debug ledger ym.0.st.node.web.edge-0", Args: cobra.ArbitraryArgs,
	}
	var cfg bus.Config
	stored := &cobra.Command{
		Use: "ledger SUBJECT|STREAM:SEQUENCE", Short: "Print a stored message as JSON, straight from NATS",
		Long: `ledger reads a subject's last message, or the message at a sequence of a stream,
from NATS itself and prints it decoded. It needs a user that may read: the seed
of "watcher", which is found in .yard/users/watcher.nk here or in a folder above.`,
		Example: `  yardctl debug ledger ym.0.st.node.web.edge-0
  yardctl debug ledger YM_0:4711 --nats nats://nats.example:4222 --seed-file watcher.nk`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cfg.SeedFile == "" {
				cfg.SeedFile = nearby(filepath.Join(".yard", "users", "watcher.nk"))
			}
			conn, err := bus.Connect(cmd.Context(), cfg, "yardctl", slog.New(slog.DiscardHandler))
			if err != nil {
				return fmt.Errorf("connect to NATS: %w", err)
			}
			defer conn.Close()
			out, err := ledger.Debug(cmd.Context(), conn, args[0])
			if err != nil {
				return err
			}
			_, err = a.env.Out.Write(out)
			return err
		},
	}
	flags := stored.Flags()
	flags.StringVar(&cfg.URL, "nats", "nats://127.0.0.1:4222", "URL of NATS")
	flags.StringVar(&cfg.SeedFile, "seed-file", "", "file with the user's nkey seed")
	flags.StringVar(&cfg.CAFile, "nats-ca-file", "", "PEM file with the CAs that sign the NATS servers' certificates")
	return parent(cmd, stored)
}
