package yardctl

import (
	"crypto/rand"
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
)

func (a *app) getAddresses() *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use: "addresses NETWORK", Aliases: []string{"address"}, Short: "Addresses of a Network: free, held by which node, set aside and why",
		Long: `addresses lists the range of a Network. Addresses in a row that are free are one
line, and so are those that spec.exclude or the gateway takes. One that is set
aside was found in use by somebody else when a node was to get it: it is not
given for 24 hours, or until yardctl address release.`,
		Example: "  yardctl get addresses dmz\n  yardctl get addresses dmz --state aside\n  yardctl get addresses dmz -o json",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			answer, err := client.ListAddresses(cmd.Context(), connect.NewRequest(&yardmasterv1.ListAddressesRequest{Network: args[0], State: state}))
			if err != nil {
				return err
			}
			m := answer.Msg
			a.warn(m.GetRead())
			return a.emit(m, func() error { return a.addressTable(m) })
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "only these: free, held, aside, excluded")
	return a.complete(cmd, networkNames)
}

func (a *app) addressTable(m *yardmasterv1.ListAddressesResponse) error {
	g := grid{header: []string{"address", "count", "state", "for", "what"}, right: []string{"count"}}
	for _, v := range m.GetAddresses() {
		addr := v.GetFirst()
		if v.GetLast() != v.GetFirst() {
			addr += "-" + v.GetLast()
		}
		what := first(v.GetNode(), v.GetWhy())
		if v.GetOutside() {
			what += " (not in the range)"
		}
		g.rows = append(g.rows, []string{addr, number(v.GetCount()), v.GetState(), a.age(v.GetSince()), what})
	}
	a.grid(g, "no such address")
	_, err := fmt.Fprintf(a.env.Out, "\n%d free, %d held by nodes, %d set aside, %d excluded\n", m.GetFree(), m.GetHeld(), m.GetAside(), m.GetExcluded())
	return err
}

func (a *app) addressCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "address", GroupID: groupChange, Short: "Give an address back that was set aside",
		Long: `address release gives an address back that was set aside because somebody else
used it. A node may get it at once; if it is still in use it is set aside again.`,
		Example: "  yardctl get addresses dmz --state aside\n  yardctl address release dmz 10.0.0.17",
	}
	release := &cobra.Command{
		Use: "release NETWORK ADDRESS", Short: "Give an address back that was set aside",
		Example: "  yardctl address release dmz 10.0.0.17",
		Args:    arguments(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			answer, err := client.ReleaseAddress(cmd.Context(), connect.NewRequest(&yardmasterv1.ReleaseAddressRequest{
				Network: args[0], Address: args[1], CommandId: rand.Text(),
			}))
			if err != nil {
				return err
			}
			return a.results(&yardmasterv1.ApplyResponse{Results: []*yardmasterv1.CommandResponse{answer.Msg}})
		},
	}
	return parent(cmd, a.complete(release, networkNames))
}
