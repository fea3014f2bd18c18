package yardctl

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
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
