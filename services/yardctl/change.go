package yardctl

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
	"yardmaster.dev/services/yardctl/show"
)

func (a *app) scaleCommand() *cobra.Command {
	var w waitFlags
	var b brakes
	cmd := &cobra.Command{
		Use: "scale FLEET/POOL N", GroupID: groupChange, Short: "Set how many nodes a pool has",
		Long: `scale sets a pool's live target. It is kept apart from the spec: applying the
same spec again does not undo it; changing replicas in the spec does. The brakes
of the fleet's spec.protect hold here too.`,
		Example: `  yardctl scale web/edge 5
  yardctl scale web/edge 500 --max-create 495
  yardctl scale web/edge 5 --wait`,
		Args: arguments(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			fleet, pool, ok := strings.Cut(args[0], "/")
			target, err := strconv.ParseInt(args[1], 10, 32)
			if !ok || fleet == "" || pool == "" || err != nil || target < 0 {
				return wrongInput(errors.New("write yardctl scale FLEET/POOL N, such as yardctl scale web/edge 5"))
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			b.read(cmd)
			answer, err := client.Scale(cmd.Context(), connect.NewRequest(&yardmasterv1.ScaleRequest{
				Fleet: fleet, Pool: pool, Target: int32(target), CommandId: rand.Text(),
				MaxDestroyPercent: b.destroy, MaxCreate: b.create,
			}))
			if err != nil {
				return err
			}
			return a.done(cmd.Context(), client, answer.Msg, w)
		},
	}
	w.add(cmd)
	b.add(cmd)
	return a.complete(cmd, poolNames)
}

// done prints a command's answer and waits for its effects if asked to.
func (a *app) done(ctx context.Context, client yardmasterv1connect.YardServiceClient, r *yardmasterv1.CommandResponse, w waitFlags) error {
	if err := a.emit(r, func() error { a.result(r); return nil }); err != nil {
		return err
	}
	if err := refusal(r); err != nil || !w.wait || r.GetKind() != kindFleet {
		return err
	}
	return a.await(ctx, client, []string{r.GetName()}, w.timeout)
}

func (a *app) deleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete", GroupID: groupChange, Short: "Remove a fleet with its nodes, a Network or a Site",
		Example: `  yardctl delete fleet web
  yardctl delete network dmz --yes`,
		Args: cobra.ArbitraryArgs,
	}
	return parent(cmd, a.complete(a.deleteKind(kindFleet), fleetNames),
		a.complete(a.deleteKind(kindNetwork), networkNames), a.complete(a.deleteKind(kindSite), siteNames))
}

func (a *app) deleteKind(kind string) *cobra.Command {
	var w waitFlags
	var yes bool
	name := strings.ToLower(kind)
	cmd := &cobra.Command{
		Use: name + " NAME", Short: "Remove a " + name, Example: "  yardctl delete " + name + " NAME",
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if !yes {
				question, err := a.deleteQuestion(cmd.Context(), client, name, args[0])
				if err != nil {
					return err
				}
				if err := a.agree(question); err != nil {
					return err
				}
			}
			answer, err := client.Delete(cmd.Context(), connect.NewRequest(&yardmasterv1.DeleteRequest{Kind: kind, Name: args[0], CommandId: rand.Text()}))
			if err != nil {
				return err
			}
			return a.done(cmd.Context(), client, answer.Msg, w)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	if kind == kindFleet {
		w.add(cmd)
	}
	return cmd
}

// deleteQuestion says what a deletion would destroy.
func (a *app) deleteQuestion(ctx context.Context, client yardmasterv1connect.YardServiceClient, kind, name string) (string, error) {
	question := "delete " + kind + " " + name + "?"
	if kind != "fleet" {
		return question, nil
	}
	answer, err := client.ListFleets(ctx, connect.NewRequest(&yardmasterv1.ListFleetsRequest{}))
	if err != nil {
		return "", err
	}
	for _, f := range answer.Msg.GetFleets() {
		if f.GetName() == name {
			return fmt.Sprintf("delete fleet %s and destroy its %s?", name, show.Count(int(f.GetNodes()), "node")), nil
		}
	}
	return "", &exit{code: exitFailed, err: fmt.Errorf("fleet %q: not found; yardctl get fleets shows what there is", name)}
}

// retryFlags are the flags of retry.
type retryFlags struct {
	fleet string
	cause string
	all   bool
	brakes
}

func (a *app) retryCommand() *cobra.Command {
	var f retryFlags
	cmd := &cobra.Command{
		Use: "retry NODE... | retry --all", GroupID: groupChange, Short: "Try failed nodes again",
		Long: `retry takes failed nodes out of the list that yardctl failed shows and starts
them anew, with all attempts before them. A machine that was made and failed is
destroyed for the sake of a new one, so spec.protect.maxDestroyPercent holds.`,
		Example: `  yardctl retry web-edge-7
  yardctl retry --all --cause no_space
  yardctl retry --all --fleet web`,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.read(cmd)
			return a.retry(cmd.Context(), f, args)
		},
	}
	f.addDestroy(cmd)
	cmd.Flags().StringVar(&f.fleet, "fleet", "", "only nodes of this fleet")
	cmd.Flags().StringVar(&f.cause, "cause", "", "only nodes that failed for this cause")
	cmd.Flags().BoolVar(&f.all, "all", false, "every failed node")
	return a.complete(cmd, failedNames)
}

// retryMost is how many nodes are named in one command: the planner writes a
// command's effects in one batch and takes no more than that batch holds.
const retryMost = 50

func (a *app) retry(ctx context.Context, f retryFlags, nodes []string) error {
	if f.all == (len(nodes) > 0) {
		return wrongInput(errors.New("write yardctl retry NODE... or yardctl retry --all"))
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	answer, err := client.ListFailed(ctx, connect.NewRequest(&yardmasterv1.ListFailedRequest{Fleet: f.fleet}))
	if err != nil {
		return err
	}
	byFleet, err := chosen(answer.Msg.GetFailed(), f, nodes)
	if err != nil {
		return &exit{code: exitFailed, err: err}
	}
	fleets := make([]string, 0, len(byFleet))
	for name := range byFleet {
		fleets = append(fleets, name)
	}
	slices.Sort(fleets)
	out := &yardmasterv1.ApplyResponse{}
	for _, name := range fleets {
		for some := range slices.Chunk(byFleet[name], retryMost) {
			result, err := client.Retry(ctx, connect.NewRequest(&yardmasterv1.RetryRequest{
				Fleet: name, Nodes: some, Reason: f.cause, CommandId: rand.Text(),
				Altogether: int32(len(byFleet[name])), MaxDestroyPercent: f.destroy,
			}))
			if err != nil {
				return err
			}
			out.Results = append(out.Results, result.Msg)
			if result.Msg.GetCode() == codeBrake {
				break // the rest would hear the same
			}
		}
	}
	if len(out.GetResults()) == 0 {
		a.say("no node failed%s; nothing to retry", prefixed(" with cause ", f.cause))
		return nil
	}
	return a.results(out)
}

// chosen picks the failed nodes that are meant, by fleet. Inputs that no
// planner could decide on are no nodes and cannot be retried.
func chosen(failed []*yardmasterv1.FailedView, f retryFlags, nodes []string) (map[string][]string, error) {
	out := map[string][]string{}
	found := map[string]bool{}
	for _, v := range failed {
		if (f.all || slices.Contains(nodes, v.GetNode())) && (f.cause == "" || f.cause == v.GetReason()) && !poisonous(v) {
			out[v.GetFleet()] = append(out[v.GetFleet()], v.GetNode())
			found[v.GetNode()] = true
		}
	}
	for _, n := range nodes {
		if !found[n] {
			return nil, fmt.Errorf("node %q is not among the failed ones; yardctl failed lists them", n)
		}
	}
	return out, nil
}

// poisonous reports whether a dead letter is an input, not a node.
func poisonous(v *yardmasterv1.FailedView) bool {
	return strings.HasPrefix(strings.TrimPrefix(v.GetNode(), v.GetFleet()+"-"), "_in-")
}
