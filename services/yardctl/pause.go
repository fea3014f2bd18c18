package yardctl

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/yardctl/show"
)

const pauseLong = `pause holds a fleet, or with --all the whole yard: no node is created, replaced
or removed, and no job is begun but the blanking of used configs. Jobs that are
open and machines that boot go on to their end; what follows them waits.
Changes are accepted and wait too; deletions are refused. Everything that a
person would wonder about says so, until yardctl resume.`

func (a *app) pauseCommand() *cobra.Command {
	return a.holdCommand("pause", true, "Begin nothing for a fleet, or for the whole yard", pauseLong)
}

func (a *app) resumeCommand() *cobra.Command {
	return a.holdCommand("resume", false, "Let a paused fleet, or the whole yard, go on",
		`resume lets a fleet go on that was paused or cancelled. With --all it ends the
pause of the whole yard; fleets that were paused by themselves stay so.`)
}

func (a *app) holdCommand(verb string, paused bool, short, long string) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: verb + " FLEET... | " + verb + " --all", GroupID: groupChange, Short: short, Long: long,
		Example: "  yardctl " + verb + " web\n  yardctl " + verb + " --all",
		RunE: func(cmd *cobra.Command, fleets []string) error {
			if all == (len(fleets) > 0) {
				return wrongInput(fmt.Errorf("write yardctl %s FLEET... or yardctl %s --all", verb, verb))
			}
			if all {
				fleets = []string{""}
			}
			return a.hold(cmd.Context(), fleets, paused, false)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "the whole yard")
	return a.complete(cmd, fleetNames)
}

func (a *app) hold(ctx context.Context, fleets []string, paused, callBack bool) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	out := &yardmasterv1.ApplyResponse{}
	for _, name := range fleets {
		answer, err := client.Pause(ctx, connect.NewRequest(&yardmasterv1.PauseRequest{
			Fleet: name, Paused: paused, CallBack: callBack, CommandId: rand.Text(),
		}))
		if err != nil {
			return err
		}
		out.Results = append(out.Results, answer.Msg)
	}
	return a.results(out)
}

func (a *app) cancelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cancel FLEET | cancel NODE...", GroupID: groupChange, Short: "Call back what is under way, and say what stays",
		Long: `cancel FLEET pauses the fleet and withdraws the jobs that make something: a
rollout stops where it is. What is ready stays, machines that boot or are being
removed go on to their end, and the answer counts all of it. yardctl resume
FLEET goes on from there; another apply changes where it goes.

cancel NODE withdraws the node's job and leaves the node failed, with the cause
called_back: yardctl retry, skip, replace or preserve decides on it. A machine
that was begun is not destroyed by it; yardctl describe node says whether there
is one.`,
		Example: "  yardctl cancel web\n  yardctl cancel web-edge-2",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.cancel(cmd.Context(), args) },
	}
	return a.complete(cmd, nodeNames)
}

var errWhat = errors.New("write yardctl cancel FLEET, or yardctl cancel NODE and more of them")

func (a *app) cancel(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return wrongInput(errWhat)
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	answer, err := client.ListFleets(ctx, connect.NewRequest(&yardmasterv1.ListFleetsRequest{}))
	if err != nil {
		return err
	}
	if len(args) == 1 && slices.Contains(namesIn(answer.Msg.GetFleets(), (*yardmasterv1.FleetView).GetName), args[0]) {
		return a.hold(ctx, args, true, true)
	}
	return a.mend(ctx, mending{verb: "cancel", which: anyNode, send: decide("cancel")(&mendFlags{})}, args)
}

// paused says in a line that a fleet or the yard is paused.
func (a *app) paused(p *yardmasterv1.PausedView) string {
	text := fmt.Sprintf("paused by %s %s ago", p.GetBy(), a.age(p.GetSince()))
	if p.GetYard() {
		text = "whole yard " + text
	}
	return a.palette.Paint(show.Yellow, text)
}
