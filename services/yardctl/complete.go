package yardctl

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
)

// completeTimeout bounds what a shell waits for after the tab key.
const completeTimeout = 2 * time.Second

// namer lists names that can stand at an argument.
type namer func(context.Context, yardmasterv1connect.YardServiceClient) ([]string, error)

// complete makes a command complete its arguments with the names of what
// there is; a gateway that is away completes nothing.
func (a *app) complete(cmd *cobra.Command, names namer) *cobra.Command {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		client, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		out, err := names(ctx, client)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

func namesIn[V any](items []V, name func(V) string) []string {
	out := make([]string, 0, len(items))
	for _, v := range items {
		out = append(out, name(v))
	}
	return out
}

func fleetNames(ctx context.Context, c yardmasterv1connect.YardServiceClient) ([]string, error) {
	answer, err := c.ListFleets(ctx, connect.NewRequest(&yardmasterv1.ListFleetsRequest{}))
	if err != nil {
		return nil, err
	}
	return namesIn(answer.Msg.GetFleets(), (*yardmasterv1.FleetView).GetName), nil
}

func poolNames(ctx context.Context, c yardmasterv1connect.YardServiceClient) ([]string, error) {
	answer, err := c.ListPools(ctx, connect.NewRequest(&yardmasterv1.ListPoolsRequest{}))
	if err != nil {
		return nil, err
	}
	return namesIn(answer.Msg.GetPools(), poolName), nil
}

func poolName(p *yardmasterv1.PoolView) string { return p.GetFleet() + "/" + p.GetName() }

func nodeNames(ctx context.Context, c yardmasterv1connect.YardServiceClient) ([]string, error) {
	answer, err := c.ListNodes(ctx, connect.NewRequest(&yardmasterv1.ListNodesRequest{}))
	if err != nil {
		return nil, err
	}
	return namesIn(answer.Msg.GetNodes(), (*yardmasterv1.NodeView).GetName), nil
}

func failedNames(ctx context.Context, c yardmasterv1connect.YardServiceClient) ([]string, error) {
	answer, err := c.ListFailed(ctx, connect.NewRequest(&yardmasterv1.ListFailedRequest{}))
	if err != nil {
		return nil, err
	}
	return namesIn(answer.Msg.GetFailed(), (*yardmasterv1.FailedView).GetNode), nil
}

func networkNames(ctx context.Context, c yardmasterv1connect.YardServiceClient) ([]string, error) {
	answer, err := c.ListNetworks(ctx, connect.NewRequest(&yardmasterv1.ListNetworksRequest{}))
	if err != nil {
		return nil, err
	}
	return namesIn(answer.Msg.GetNetworks(), (*yardmasterv1.NetworkView).GetName), nil
}

func siteNames(ctx context.Context, c yardmasterv1connect.YardServiceClient) ([]string, error) {
	answer, err := c.ListSites(ctx, connect.NewRequest(&yardmasterv1.ListSitesRequest{}))
	if err != nil {
		return nil, err
	}
	return namesIn(answer.Msg.GetSites(), (*yardmasterv1.SiteView).GetName), nil
}
