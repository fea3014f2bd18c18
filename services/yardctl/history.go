package yardctl

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/yardctl/show"
)

func (a *app) historyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "history FLEET", GroupID: groupSee, Short: "Tell a fleet's revisions: when, by whom, what changed, how it ended",
		Example: `  yardctl history web
  yardctl diff web --from 3 --to 5
  yardctl rollback web --to 3`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			answer, err := client.History(cmd.Context(), connect.NewRequest(&yardmasterv1.HistoryRequest{Fleet: args[0]}))
			if err != nil {
				return err
			}
			a.warn(answer.Msg.GetRead())
			return a.emit(answer.Msg, func() error {
				for _, r := range answer.Msg.GetRevisions() {
					a.revision(args[0], r)
				}
				return nil
			})
		},
	}
	return a.complete(cmd, fleetNames)
}

// revisionFields is how many fields of a revision history shows.
const revisionFields = 5

func (a *app) revision(fleet string, r *yardmasterv1.RevisionView) {
	at := r.GetAt().AsTime().Local()
	a.say("revision %-4d %s  %s old  by %s", r.GetNumber(), at.Format("2006-01-02 15:04:05"), a.age(r.GetAt()), first(r.GetBy(), "nobody known"))
	a.say("  %s%s%s", a.outcome(r.GetOutcome()), prefixed(" ", a.took(r)), prefixed(": ", r.GetStanding()))
	if r.GetSummary() != "" {
		a.say("  did          %s", r.GetSummary())
	}
	if r.GetSameAs() > 0 {
		a.say("  back to      revision %d", r.GetSameAs())
	}
	for i, f := range r.GetFields() {
		if i == revisionFields && len(r.GetFields()) > i+1 {
			a.say("               and %d more: yardctl diff %s --to %d", len(r.GetFields())-i, fleet, r.GetNumber())
			break
		}
		label := ""
		if i == 0 {
			label = "changed"
		}
		a.say("  %-12s %s", label, fieldWords(f))
	}
}

// took says how long a revision took, or how long it was the newest.
func (a *app) took(r *yardmasterv1.RevisionView) string {
	if r.GetEnded() == nil {
		return ""
	}
	return "after " + show.Duration(r.GetEnded().AsTime().Sub(r.GetAt().AsTime()))
}

func (a *app) outcome(word string) string {
	colours := map[string]show.Colour{"settled": show.Green, "failed": show.Red, "superseded": show.Grey, "under way": show.Blue}
	return a.palette.Paint(colours[word], word)
}

// fieldWords is a difference in a line; of long texts it only says that they
// changed.
func fieldWords(f *yardmasterv1.FieldDiff) string {
	switch was, now := f.GetWas(), f.GetNow(); {
	case was == "":
		return f.GetPath() + " is new"
	case now == "":
		return f.GetPath() + " is gone"
	case len(was)+len(now) > 60 || multiline(f):
		return f.GetPath() + " changes"
	default:
		return f.GetPath() + " " + was + " -> " + now
	}
}

func (a *app) rollbackCommand() *cobra.Command {
	var f applyFlags
	var to int32
	cmd := &cobra.Command{
		Use: "rollback FLEET --to N", GroupID: groupSpec, Short: "Go back to an earlier revision of a fleet",
		Long: `rollback applies the spec of an earlier revision as a new one: it shows the
plan, asks, and the planner refuses when something moved in between. Live
targets stay as they are. Without --to it goes back to the revision before the
newest.`,
		Example: `  yardctl history web
  yardctl rollback web --to 3
  yardctl rollback web --to 3 --yes --wait`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.read(cmd)
			return a.rollback(cmd.Context(), args[0], to, f)
		},
	}
	cmd.Flags().Int32Var(&to, "to", 0, "the revision to go back to")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	f.waitFlags.add(cmd)
	f.brakes.add(cmd)
	return a.complete(cmd, fleetNames)
}

var errNoEarlier = errors.New("there is no earlier revision to go back to")

func (a *app) rollback(ctx context.Context, fleet string, to int32, f applyFlags) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	if to == 0 {
		answer, err := client.History(ctx, connect.NewRequest(&yardmasterv1.HistoryRequest{Fleet: fleet}))
		if err != nil {
			return err
		}
		if len(answer.Msg.GetRevisions()) < 2 {
			return &exit{code: exitFailed, err: fmt.Errorf("fleet %s: %w", fleet, errNoEarlier)}
		}
		to = answer.Msg.GetRevisions()[1].GetNumber()
	}
	document, err := client.GetDocument(ctx, connect.NewRequest(&yardmasterv1.GetDocumentRequest{Kind: kindFleet, Name: fleet, Revision: to}))
	if err != nil {
		return err
	}
	p := &shownPlan{brakes: f.brakes, keep: true, sources: []*yardmasterv1.Source{{
		Filename: fmt.Sprintf("revision %d of fleet %s", to, fleet), Content: []byte(document.Msg.GetYaml()),
	}}}
	if err := a.ask(ctx, p); err != nil {
		return err
	}
	if !a.machine() {
		a.say("back to revision %d, as a new revision; live targets stay\n", to)
	}
	req, err := a.agreed(p, f)
	if err != nil || req == nil {
		return err
	}
	return a.submit(ctx, f, req)
}
