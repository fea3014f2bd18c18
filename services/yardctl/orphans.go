package yardctl

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
	"yardmaster.dev/services/yardctl/show"
)

func (a *app) orphansCommand() *cobra.Command {
	var clean, yes bool
	cmd := &cobra.Command{
		Use: "orphans SITE", GroupID: groupYard, Short: "Find machines without a node, and nodes without their machine",
		Long: `orphans looks at every machine of a site that carries this yard's mark and says
which of them belong to no node, and the other way round.

--clean removes those whose node, incarnation or fleet is over: such a machine
can never be wanted again. A machine that the ledger does not know of is left
alone, because it may be younger than a restored backup; so is a copy, and
whatever does not carry the mark. The planner notes each removal in the audit
log, and the executor proves the mark once more before it destroys.`,
		Example: "  yardctl orphans dc1\n  yardctl orphans dc1 --clean",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			answer, err := client.ListOrphans(cmd.Context(), connect.NewRequest(&yardmasterv1.ListOrphansRequest{Site: args[0]}))
			if err != nil {
				return err
			}
			a.warn(answer.Msg.GetRead())
			if !clean {
				return a.emit(answer.Msg, func() error { a.orphanTable(args[0], answer.Msg); return nil })
			}
			return a.cleanOrphans(cmd.Context(), client, cleaning{site: args[0], found: answer.Msg, yes: yes})
		},
	}
	cmd.Flags().BoolVar(&clean, "clean", false, "remove the machines that belong to nobody")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return a.complete(cmd, siteNames)
}

func (a *app) orphanTable(site string, m *yardmasterv1.ListOrphansResponse) {
	g := grid{header: []string{"machine", "id", "on", "address", "fate", "why"}}
	removable := 0
	for _, o := range m.GetOrphans() {
		on, fate := "", "left alone"
		if o.GetOn() {
			on = "on"
		}
		if o.GetRemovable() {
			removable++
			fate = a.palette.Paint(show.Yellow, "removable")
		}
		if o.GetMachineId() == "" {
			fate = a.palette.Paint(show.Red, "missing")
		}
		g.rows = append(g.rows, []string{first(o.GetMachine(), o.GetFleet()+"-"+o.GetNode()), o.GetMachineId(), on, o.GetAddress(), fate, o.GetWords()})
	}
	if len(g.rows) == 0 {
		a.say("site %s: %s of ours, and each is its node's", site, show.Count(int(m.GetMachines()), "machine"))
		return
	}
	a.grid(g, "")
	if removable > 0 {
		a.say("yardctl orphans %s --clean removes %s", site, show.Count(removable, "machine"))
	}
}

// cleaning is what orphans --clean is about to do.
type cleaning struct {
	site  string
	found *yardmasterv1.ListOrphansResponse
	yes   bool
}

func (a *app) cleanOrphans(ctx context.Context, client yardmasterv1connect.YardServiceClient, c cleaning) error {
	site, found := c.site, c.found
	var ids []string
	for _, o := range found.GetOrphans() {
		if o.GetRemovable() {
			ids = append(ids, o.GetMachineId())
		}
	}
	if len(ids) == 0 {
		a.orphanTable(site, found)
		a.say("nothing to remove")
		return nil
	}
	if !c.yes {
		a.orphanTable(site, found)
		if err := a.agree(fmt.Sprintf("destroy %s at site %s?", show.Count(len(ids), "machine"), site)); err != nil {
			return err
		}
	}
	out := &yardmasterv1.RemoveOrphansResponse{}
	for some := range slices.Chunk(ids, cleanMost) {
		answer, err := client.RemoveOrphans(ctx, connect.NewRequest(&yardmasterv1.RemoveOrphansRequest{Site: site, MachineIds: some, CommandId: rand.Text()}))
		if err != nil {
			return err
		}
		out.Results = append(out.Results, answer.Msg.GetResults()...)
	}
	return a.emit(out, func() error { return a.removals(out.GetResults()) })
}

// cleanMost is how many machines go in one call: each takes seconds.
const cleanMost = 4

func (a *app) removals(results []*yardmasterv1.RemovedOrphan) error {
	left := 0
	for _, r := range results {
		if r.GetRemoved() {
			a.say("%s %s (%s) is removed", a.palette.Paint(show.Green, "✓"), r.GetMachine(), r.GetMachineId())
			continue
		}
		left++
		a.say("%s %s (%s): %s%s", a.palette.Paint(show.Red, "✗"), r.GetMachine(), r.GetMachineId(), r.GetWords(), prefixed("; ", r.GetHint()))
	}
	if left > 0 {
		return silent(exitFailed)
	}
	return nil
}
