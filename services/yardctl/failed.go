package yardctl

import (
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/yardctl/show"
)

func (a *app) failedCommand() *cobra.Command {
	var fleet string
	cmd := &cobra.Command{
		Use: "failed", GroupID: groupSee, Short: "List what needs a person, with the cause and what to try",
		Example: `  yardctl failed
  yardctl failed --fleet web -o json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			answer, err := client.ListFailed(cmd.Context(), connect.NewRequest(&yardmasterv1.ListFailedRequest{Fleet: fleet}))
			if err != nil {
				return err
			}
			a.warn(answer.Msg.GetRead())
			return a.emit(answer.Msg, func() error { a.failedTable(answer.Msg.GetFailed()); return nil })
		},
	}
	cmd.Flags().StringVar(&fleet, "fleet", "", "only this fleet's")
	return cmd
}

func (a *app) failedTable(failed []*yardmasterv1.FailedView) {
	g := grid{header: []string{"node", "stage", "cause", "tries", "since", "last words"}, right: []string{"tries"}, notes: map[int]string{}}
	open := 0
	for i, f := range failed {
		name := f.GetNode()
		if f.GetSkipped() {
			name += " (skipped)"
		} else {
			open++
		}
		g.rows = append(g.rows, []string{
			name, f.GetStage(), a.palette.Paint(show.Red, f.GetReason()), number(f.GetAttempts()), a.age(f.GetSince()), a.fit(f.GetMessage(), 48),
		})
		if f.GetHint() != "" {
			g.notes[i] = "try " + f.GetHint()
		}
		for _, line := range a.lastLines(f.GetLog()) {
			g.notes[i] = strings.TrimLeft(g.notes[i]+"\n             | "+line, "\n ")
		}
	}
	if len(failed) == 0 {
		a.say("nothing failed")
		return
	}
	a.grid(g, "")
	if open == 0 {
		a.say("nobody waits for a person: all of them are skipped")
		return
	}
	verb := "need"
	if open == 1 {
		verb = "needs"
	}
	i := slices.IndexFunc(failed, func(f *yardmasterv1.FailedView) bool { return !f.GetSkipped() })
	a.say("%s %s a person. yardctl retry|skip|replace|preserve NODE..., or --all --cause %s", show.Count(open, "node"), verb, failed[i].GetReason())
}

// logLines is how much of a log a table shows of each node; -o wide shows all.
const logLines = 3

func (a *app) lastLines(log []string) []string {
	if a.output == outWide {
		return log
	}
	return log[max(0, len(log)-logLines):]
}
