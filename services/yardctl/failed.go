package yardctl

import (
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
	for i, f := range failed {
		g.rows = append(g.rows, []string{
			f.GetNode(), f.GetStage(), a.palette.Paint(show.Red, f.GetReason()), number(f.GetAttempts()), a.age(f.GetSince()), a.fit(f.GetMessage(), 48),
		})
		if f.GetHint() != "" {
			g.notes[i] = "try " + f.GetHint()
		}
		if a.output == outWide {
			for _, line := range f.GetLog() {
				g.notes[i] += "\n             | " + line
			}
		}
	}
	if len(failed) == 0 {
		a.say("nothing failed")
		return
	}
	a.grid(g, "")
	verb := "need"
	if len(failed) == 1 {
		verb = "needs"
	}
	a.say("%s %s a person. yardctl retry NODE..., or retry --all --cause %s", show.Count(len(failed), "node"), verb, failed[0].GetReason())
}
