// Package yardctl is the command line: it checks and renders specs on the
// spot, and asks a gateway for everything else. It decides nothing and keeps
// nothing but the plans that it showed.
package yardctl

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/services/yardctl/show"
)

// Env is what a process gives to a command.
type Env struct {
	Args []string
	In   io.Reader
	Out  io.Writer
	Err  io.Writer
	// Getenv reads the environment, Now the clock: ages and durations on the
	// screen are as old as the screen.
	Getenv func(string) string
	Now    func() time.Time
}

// app is one run of yardctl.
type app struct {
	env     Env
	palette show.Palette

	server    string
	tokenFile string
	caFile    string
	output    string
}

// Run runs a command and returns its exit code.
func Run(ctx context.Context, env Env) int {
	a := &app{env: env, palette: show.NewPalette(env.Out, env.Getenv("NO_COLOR"))}
	root := a.root()
	root.SetArgs(env.Args)
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	return a.verdict(ctx, root.ExecuteContext(ctx))
}

const rootLong = `yardctl speaks to a yard: it checks and renders fleet specs, shows what would
change, applies it, and tells how every node is and why.

The gateway is --server, YARDCTL_SERVER, or "server" in
~/.config/yardmaster/config.yaml; else http://127.0.0.1:7070. The token is in
the file --token-file, in YARDCTL_TOKEN, in the file that "tokenFile" names in
the same config.yaml, or, for a gateway on this machine, in .yard/token here or
in a folder above.

Every list and description prints -o table, wide, json or yaml. JSON and YAML
have the field names of the gateway's API (lowerCamelCase) and are stable.

Exit codes:
  0  done
  1  failed
  2  wrong input
  3  refused: a brake, a plan that no longer holds, missing rights
  4  the gateway cannot be reached
  5  timed out while waiting; the work goes on
  6  changes are pending (plan and diff with --exit-code)`

const rootExample = `  yardctl plan -f web.yaml
  yardctl apply -f web.yaml --wait
  yardctl get nodes
  yardctl describe node web-edge-0`

// outputs are the values of -o.
var outputs = []string{outTable, outWide, outJSON, outYAML}

const (
	outTable = "table"
	outWide  = "wide"
	outJSON  = "json"
	outYAML  = "yaml"
)

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "yardctl", Short: "Speak to a yard", Long: rootLong, Example: rootExample,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.checkOutput() },
		Args:              cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.server, "server", "", "URL of the gateway")
	flags.StringVar(&a.tokenFile, "token-file", "", "file with the token")
	flags.StringVar(&a.caFile, "ca-file", "", "PEM file with the CAs that sign the gateway's certificate")
	flags.StringVarP(&a.output, "output", "o", outTable, "table, wide, json or yaml")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return wrongInput(fmt.Errorf("%w; %s --help says how", err, cmd.CommandPath()))
	})
	root.AddGroup(
		&cobra.Group{ID: groupSpec, Title: "From a spec to nodes:"},
		&cobra.Group{ID: groupSee, Title: "See:"},
		&cobra.Group{ID: groupChange, Title: "Change:"},
		&cobra.Group{ID: groupYard, Title: "The yard itself:"},
	)
	root.AddCommand(
		a.validateCommand(), a.renderCommand(), a.rolesCommand(), a.explainCommand(), a.schemaCommand(), a.siteCommand(),
		a.planCommand(), a.applyCommand(),
		a.getCommand(), a.describeCommand(), a.logsCommand(), a.sshCommand(), a.watchCommand(), a.failedCommand(),
		a.historyCommand(), a.diffCommand(), a.rollbackCommand(),
		a.scaleCommand(), a.retryCommand(), a.skipCommand(), a.replaceCommand(), a.preserveCommand(),
		a.pauseCommand(), a.resumeCommand(), a.cancelCommand(), a.deleteCommand(), a.imageCommand(), a.addressCommand(),
		a.statusCommand(), a.doctorCommand(), a.orphansCommand(), a.versionCommand(), a.auditCommand(), a.debugCommand(),
	)
	root.SetHelpCommandGroupID(groupYard)
	root.SetCompletionCommandGroupID(groupYard)
	return root
}

const (
	groupSpec   = "spec"
	groupSee    = "see"
	groupChange = "change"
	groupYard   = "yard"
)

// arguments wraps cobra's checks so that a wrong number of arguments is wrong
// input and says what to write.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return wrongInput(fmt.Errorf("write %s; %s --help shows examples", cmd.UseLine(), cmd.CommandPath()))
		}
		return nil
	}
}

// parent is a command that only holds others.
func parent(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(children...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		names := make([]string, 0, len(cmd.Commands()))
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		hint := "write one of " + strings.Join(names, ", ")
		if near := fleet.Nearest(args[0], names); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return wrongInput(fmt.Errorf("%s: unknown %q; %s", cmd.CommandPath(), args[0], hint))
	}
	return cmd
}
