package yardctl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/yardctl/show"
)

func (a *app) logsCommand() *cobra.Command {
	follow, console := false, false
	cmd := &cobra.Command{
		Use: "logs NODE", GroupID: groupSee, Short: "Show what a node's guest said on its way, newest last",
		Long: `logs shows what the machine itself says: how far its boot came, which units
failed and the last that they said. It is the claim of a guest, told by the unit
of the base role; yardctl describe node has what the yard knows. Of a machine
that never reported it shows the end of its console: of the file that the VM's
serial port writes, else of the hypervisor's log; --console shows that always.

With --follow it goes on until Ctrl-C. With -o json it prints the answer, with
--follow one line of JSON for each line.`,
		Example: "  yardctl logs web-edge-0\n  yardctl logs web-edge-0 --follow\n  yardctl logs web-edge-0 --console",
		Args:    arguments(oneNode),
		RunE: func(cmd *cobra.Command, args []string) error {
			wanted := &yardmasterv1.NodeLogRequest{Node: args[len(args)-1], Console: console}
			if follow {
				return a.followLog(cmd.Context(), wanted)
			}
			return a.log(cmd.Context(), wanted)
		},
	}
	cmd.Flags().BoolVar(&console, "console", false, "the end of the machine's console, too")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until Ctrl-C")
	return a.complete(cmd, nodeNames)
}

// oneNode takes NODE, or "node NODE" as people write it after "describe".
func oneNode(cmd *cobra.Command, args []string) error {
	if len(args) == 2 && args[0] == "node" {
		args = args[1:]
	}
	return cobra.ExactArgs(1)(cmd, args)
}

func (a *app) log(ctx context.Context, wanted *yardmasterv1.NodeLogRequest) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	answer, err := client.NodeLog(ctx, connect.NewRequest(wanted))
	if err != nil {
		return err
	}
	a.warn(answer.Msg.GetRead())
	return a.emit(answer.Msg, func() error {
		for _, l := range answer.Msg.GetLines() {
			a.logLine(l)
		}
		a.note(answer.Msg.GetNote())
		return nil
	})
}

// note tells on stderr what a log does not hold, and why.
func (a *app) note(text string) {
	if text != "" {
		_, _ = fmt.Fprintln(a.env.Err, a.palette.Paint(show.Yellow, text))
	}
}

func (a *app) logLine(l *yardmasterv1.LogLine) {
	at := ""
	if l.GetAt() != nil {
		at = a.when(l.GetAt().AsTime())
	}
	a.say("%s  %s %s %s", pad(at, 8), pad(l.GetSource(), 7), pad(l.GetName(), 20), l.GetText())
}

// again is how often a log that is followed is asked for.
const again = 2 * time.Second

// followLog prints every line once, until Ctrl-C.
func (a *app) followLog(ctx context.Context, wanted *yardmasterv1.NodeLogRequest) error {
	if a.output == outYAML {
		return wrongInput(errors.New("logs --follow prints lines or -o json"))
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	f := follower{app: a}
	for {
		answer, err := client.NodeLog(ctx, connect.NewRequest(wanted))
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // Ctrl-C is how following ends
		case err == nil:
			err = f.print(answer.Msg)
		case f.seen != nil && connect.CodeOf(err) == connect.CodeUnavailable:
			err = nil // it was there and will be again
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(again):
		}
	}
}

// follower prints what is new in a log.
type follower struct {
	*app
	boot, note string
	seen       map[said]bool
}

// said is a line without its time, which is told anew with each report.
type said struct{ source, name, text string }

func (f *follower) print(m *yardmasterv1.NodeLogResponse) error {
	if f.seen == nil || m.GetBoot() != f.boot {
		f.boot, f.seen = m.GetBoot(), map[said]bool{}
	}
	present := map[said]bool{}
	for _, l := range m.GetLines() {
		k := said{l.GetSource(), l.GetName(), l.GetText()}
		present[k] = true
		if f.seen[k] {
			continue
		}
		if err := f.line(l); err != nil {
			return err
		}
	}
	f.seen = present
	if m.GetNote() != f.note {
		f.note = m.GetNote()
		f.app.note(f.note)
	}
	return nil
}

func (f *follower) line(l *yardmasterv1.LogLine) error {
	if f.output != outJSON {
		f.logLine(l)
		return nil
	}
	body, err := marshal(l)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f.env.Out, "%s\n", body)
	return err
}
