package yardctl

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
)

// selection is what a get asks for.
type selection struct {
	names   []string
	fleet   string
	pool    string
	state   string
	site    string
	deleted bool
	limit   int32
}

func (a *app) getCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get", GroupID: groupSee, Short: "List fleets, pools, nodes, jobs, events, networks, addresses, sites, images",
		Long: `get lists what there is. With names it lists those only. One fleet, network or
site with -o yaml is a document that applies.`,
		Example: `  yardctl get nodes
  yardctl get nodes --fleet web --state failed -o wide
  yardctl get node web-edge-0 -o json
  yardctl get fleet web -o yaml > web.yaml`,
		Args: cobra.ArbitraryArgs,
	}
	return parent(cmd, a.getFleets(), a.getPools(), a.getNodes(), a.getJobs(), a.getEvents(), a.getNetworks(), a.getAddresses(), a.getSites(), a.getImages())
}

// getter makes a get command: list asks the gateway, draws the table and
// returns the answer.
func (a *app) getter(use, alias, short string, run func(cmd *cobra.Command, s selection) error) (*cobra.Command, *selection) {
	s := &selection{}
	cmd := &cobra.Command{
		Use: use + " [NAME...]", Aliases: []string{alias}, Short: short,
		Example: "  yardctl get " + use + "\n  yardctl get " + alias + " NAME -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			s.names = args
			return run(cmd, *s)
		},
	}
	return cmd, s
}

// view is an item of an answer.
type view interface {
	proto.Message
	GetName() string
}

// pick leaves the items that were asked for by name; a name that is not
// there is an error.
func pick[V any](items []V, names []string, nameOf func(V) string, kind string) ([]V, error) {
	if len(names) == 0 {
		return items, nil
	}
	var out []V
	for _, name := range names {
		i := slices.IndexFunc(items, func(v V) bool { return nameOf(v) == name })
		if i < 0 {
			return nil, &exit{code: exitFailed, err: fmt.Errorf("%s %q: not found; yardctl get %ss shows what there is", kind, name, kind)}
		}
		out = append(out, items[i])
	}
	return out, nil
}

func nameOf[V view](v V) string { return v.GetName() }

// one is the item that a single name asked for, else the whole answer.
func one[V proto.Message](items []V, names []string, all proto.Message) proto.Message {
	if len(names) == 1 && len(items) == 1 {
		return items[0]
	}
	return all
}

// document prints a document as YAML that applies.
func (a *app) document(cmd *cobra.Command, kind, name string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	answer, err := client.GetDocument(cmd.Context(), connect.NewRequest(&yardmasterv1.GetDocumentRequest{Kind: kind, Name: name}))
	if err != nil {
		return err
	}
	_, _ = fmt.Fprint(a.env.Out, answer.Msg.GetYaml())
	a.warn(answer.Msg.GetRead())
	return nil
}

// documents prints documents if that is what was asked for.
func (a *app) documents(cmd *cobra.Command, kind string, names []string) (done bool, err error) {
	if a.output != outYAML || len(names) == 0 {
		return false, nil
	}
	for i, name := range names {
		if i > 0 {
			_, _ = fmt.Fprintln(a.env.Out, "---")
		}
		if err := a.document(cmd, kind, name); err != nil {
			return true, err
		}
	}
	return true, nil
}

func (a *app) getFleets() *cobra.Command {
	cmd, _ := a.getter("fleets", "fleet", "Fleets and how many of their nodes are ready", func(cmd *cobra.Command, s selection) error {
		if done, err := a.documents(cmd, kindFleet, s.names); done {
			return err
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		answer, err := client.ListFleets(cmd.Context(), connect.NewRequest(&yardmasterv1.ListFleetsRequest{}))
		if err != nil {
			return err
		}
		m := answer.Msg
		if m.Fleets, err = pick(m.GetFleets(), s.names, nameOf[*yardmasterv1.FleetView], "fleet"); err != nil {
			return err
		}
		a.warn(m.GetRead())
		return a.emit(one(m.GetFleets(), s.names, m), func() error { a.fleetTable(m.GetFleets()); return nil })
	})
	return a.complete(cmd, fleetNames)
}

func (a *app) getPools() *cobra.Command {
	cmd, sel := a.getter("pools", "pool", "Pools: targets, states, budgets in use", func(cmd *cobra.Command, s selection) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		answer, err := client.ListPools(cmd.Context(), connect.NewRequest(&yardmasterv1.ListPoolsRequest{Fleet: s.fleet}))
		if err != nil {
			return err
		}
		m := answer.Msg
		m.Pools, err = pick(m.GetPools(), s.names, poolName, "pool")
		if err != nil {
			return err
		}
		a.warn(m.GetRead())
		return a.emit(one(m.GetPools(), s.names, m), func() error { a.poolTable(m.GetPools()); return nil })
	})
	cmd.Use = "pools [FLEET/POOL...]"
	cmd.Example = "  yardctl get pools --fleet web\n  yardctl get pool web/edge -o json"
	cmd.Flags().StringVar(&sel.fleet, "fleet", "", "only this fleet's")
	return a.complete(cmd, poolNames)
}

func (a *app) getNodes() *cobra.Command {
	cmd, sel := a.getter("nodes", "node", "Nodes: state, address, what they wait for", func(cmd *cobra.Command, s selection) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		answer, err := client.ListNodes(cmd.Context(), connect.NewRequest(&yardmasterv1.ListNodesRequest{
			Fleet: s.fleet, Pool: s.pool, State: s.state, Deleted: s.deleted || len(s.names) > 0,
		}))
		if err != nil {
			return err
		}
		m := answer.Msg
		if m.Nodes, err = pick(m.GetNodes(), s.names, nameOf[*yardmasterv1.NodeView], "node"); err != nil {
			return err
		}
		a.warn(m.GetRead())
		return a.emit(one(m.GetNodes(), s.names, m), func() error { a.nodeTable(m.GetNodes()); return nil })
	})
	flags := cmd.Flags()
	flags.StringVar(&sel.fleet, "fleet", "", "only this fleet's")
	flags.StringVar(&sel.pool, "pool", "", "only pools of this name")
	flags.StringVar(&sel.state, "state", "", "only nodes in this state")
	flags.BoolVar(&sel.deleted, "deleted", false, "deleted nodes, too")
	return a.complete(cmd, nodeNames)
}

func (a *app) getJobs() *cobra.Command {
	cmd, sel := a.getter("jobs", "job", "Jobs that have no result yet", func(cmd *cobra.Command, s selection) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		answer, err := client.ListJobs(cmd.Context(), connect.NewRequest(&yardmasterv1.ListJobsRequest{Fleet: s.fleet}))
		if err != nil {
			return err
		}
		m := answer.Msg
		if m.Jobs, err = pick(m.GetJobs(), s.names, (*yardmasterv1.JobView).GetNode, "job"); err != nil {
			return err
		}
		a.warn(m.GetRead())
		return a.emit(one(m.GetJobs(), s.names, m), func() error { a.jobTable(m.GetJobs()); return nil })
	})
	cmd.Use = "jobs [NODE...]"
	cmd.Flags().StringVar(&sel.fleet, "fleet", "", "only this fleet's")
	return a.complete(cmd, nodeNames)
}

var errOneNode = errors.New("events are listed of one node, of --fleet, or of all")

func (a *app) getEvents() *cobra.Command {
	cmd, sel := a.getter("events", "event", "The newest events of a node, a fleet or the yard", func(cmd *cobra.Command, s selection) error {
		if len(s.names) > 1 {
			return wrongInput(errOneNode)
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		answer, err := client.ListEvents(cmd.Context(), connect.NewRequest(&yardmasterv1.ListEventsRequest{
			Fleet: s.fleet, Node: strings.Join(s.names, ""), Limit: s.limit,
		}))
		if err != nil {
			return err
		}
		a.warn(answer.Msg.GetRead())
		return a.emit(answer.Msg, func() error { a.eventTable(answer.Msg.GetEvents()); return nil })
	})
	cmd.Use = "events [NODE]"
	cmd.Example = "  yardctl get events web-edge-0\n  yardctl get events --fleet web --limit 20"
	cmd.Flags().StringVar(&sel.fleet, "fleet", "", "only this fleet's")
	cmd.Flags().Int32Var(&sel.limit, "limit", 100, "how many, at most 1000")
	return a.complete(cmd, nodeNames)
}

func (a *app) getNetworks() *cobra.Command {
	cmd, _ := a.getter("networks", "network", "Networks and how many addresses are left", func(cmd *cobra.Command, s selection) error {
		if done, err := a.documents(cmd, kindNetwork, s.names); done {
			return err
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		answer, err := client.ListNetworks(cmd.Context(), connect.NewRequest(&yardmasterv1.ListNetworksRequest{}))
		if err != nil {
			return err
		}
		m := answer.Msg
		if m.Networks, err = pick(m.GetNetworks(), s.names, nameOf[*yardmasterv1.NetworkView], "network"); err != nil {
			return err
		}
		a.warn(m.GetRead())
		return a.emit(one(m.GetNetworks(), s.names, m), func() error { a.networkTable(m.GetNetworks()); return nil })
	})
	return a.complete(cmd, networkNames)
}

func (a *app) getSites() *cobra.Command {
	cmd, _ := a.getter("sites", "site", "Sites: who holds the seat, how its vCenter is", func(cmd *cobra.Command, s selection) error {
		if done, err := a.documents(cmd, kindSite, s.names); done {
			return err
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		answer, err := client.ListSites(cmd.Context(), connect.NewRequest(&yardmasterv1.ListSitesRequest{}))
		if err != nil {
			return err
		}
		m := answer.Msg
		if m.Sites, err = pick(m.GetSites(), s.names, nameOf[*yardmasterv1.SiteView], "site"); err != nil {
			return err
		}
		a.warn(m.GetRead())
		return a.emit(one(m.GetSites(), s.names, m), func() error { a.siteTable(m.GetSites()); return nil })
	})
	return a.complete(cmd, siteNames)
}
