package yardctl

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
)

// mendFlags pick failed nodes.
type mendFlags struct {
	fleet string
	cause string
	all   bool
	brakes
}

func (f *mendFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.fleet, "fleet", "", "only nodes of this fleet")
	cmd.Flags().StringVar(&f.cause, "cause", "", "only nodes that failed for this cause")
	cmd.Flags().BoolVar(&f.all, "all", false, "every failed node")
}

// mender sends a decision on nodes of one fleet.
type mender func(ctx context.Context, client yardmasterv1connect.YardServiceClient, batch batch) (*connect.Response[yardmasterv1.CommandResponse], error)

// batch is nodes of one fleet that go into one command, of so many altogether.
type batch struct {
	fleet      string
	nodes      []string
	altogether int
}

// mendMost is how many nodes are named in one command: the planner writes a
// command's effects in one batch and takes no more than that batch holds.
const mendMost = 50

// choice is what a decision is about: failed nodes only, or any.
type choice int

const (
	onlyFailed choice = iota
	anyNode
)

// mendCommand makes a command that decides something on nodes.
func (a *app) mendCommand(verb string, which choice, short, long string, send func(f *mendFlags) mender) *cobra.Command {
	var f mendFlags
	cmd := &cobra.Command{
		Use: verb + " NODE... | " + verb + " --all", GroupID: groupChange, Short: short, Long: long,
		Example: fmt.Sprintf("  yardctl %s web-edge-7\n  yardctl %s --all --cause no_space\n  yardctl %s --all --fleet web", verb, verb, verb),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.read(cmd)
			return a.mend(cmd.Context(), mending{verb: verb, which: which, flags: f, send: send(&f)}, args)
		},
	}
	f.add(cmd)
	if verb == "retry" || verb == "replace" {
		f.addDestroy(cmd)
	}
	if which == anyNode {
		return a.complete(cmd, nodeNames)
	}
	return a.complete(cmd, failedNames)
}

func (a *app) retryCommand() *cobra.Command {
	return a.mendCommand("retry", onlyFailed, "Try failed nodes again",
		`retry takes failed nodes out of the list that yardctl failed shows and starts
them anew, with all attempts before them. A machine that was made and failed is
destroyed for the sake of a new one, so spec.protect.maxDestroyPercent holds.`,
		func(f *mendFlags) mender {
			return func(ctx context.Context, client yardmasterv1connect.YardServiceClient, b batch) (*connect.Response[yardmasterv1.CommandResponse], error) {
				return client.Retry(ctx, connect.NewRequest(&yardmasterv1.RetryRequest{
					Fleet: b.fleet, Nodes: b.nodes, Reason: f.cause, CommandId: rand.Text(), Altogether: int32(b.altogether), MaxDestroyPercent: f.destroy,
				}))
			}
		})
}

// decide sends a decision by its name.
func decide(verb string) func(f *mendFlags) mender {
	return func(f *mendFlags) mender {
		return func(ctx context.Context, client yardmasterv1connect.YardServiceClient, b batch) (*connect.Response[yardmasterv1.CommandResponse], error) {
			return client.Mend(ctx, connect.NewRequest(&yardmasterv1.MendRequest{
				Fleet: b.fleet, Mend: verb, Nodes: b.nodes, Reason: f.cause, CommandId: rand.Text(), MaxDestroyPercent: f.destroy,
			}))
		}
	}
}

func (a *app) skipCommand() *cobra.Command {
	return a.mendCommand("skip", onlyFailed, "Leave failed nodes as they are and count without them",
		`skip sets failed nodes aside: their pool counts without them, makes no others,
and a rollout goes on. They stay failed, and whatever machines they have stay,
until somebody says retry or replace, the pool's definition changes, or the
pool needs fewer nodes: then they go first.`, decide("skip"))
}

func (a *app) replaceCommand() *cobra.Command {
	return a.mendCommand("replace", anyNode, "Remove nodes' machines and make new ones under the same names",
		`replace removes a node's machine and makes the next one, from the newest
definition, under the same name and addresses. A node that is ready is drained
first, and only while its pool has fewer than rollout.maxUnavailable nodes
missing; spec.protect.maxDestroyPercent holds. A preserved node only goes: its
pool has made another one.
With --all it replaces failed nodes only.`, decide("replace"))
}

func (a *app) preserveCommand() *cobra.Command {
	return a.mendCommand("preserve", anyNode, "Keep nodes' machines for inspection; their pools make others",
		`preserve keeps a node's machine as it is, with its addresses, for somebody to
look at; a machine that never became ready still has its config in guestinfo.
The node counts for nothing any more, and its pool makes another
one. yardctl replace NODE ends it, and so does the end of its pool or fleet.
A ready node is preserved only while its pool has fewer than
rollout.maxUnavailable nodes missing. With --all it preserves failed nodes only.`, decide("preserve"))
}

// mending is a decision that is about to be sent.
type mending struct {
	verb  string
	which choice
	flags mendFlags
	send  mender
}

func (a *app) mend(ctx context.Context, m mending, nodes []string) error {
	verb, f := m.verb, m.flags
	if f.all == (len(nodes) > 0) {
		return wrongInput(fmt.Errorf("write yardctl %s NODE... or yardctl %s --all", verb, verb))
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	byFleet, err := a.chosen(ctx, client, m, nodes)
	if err != nil {
		return err
	}
	fleets := make([]string, 0, len(byFleet))
	for name := range byFleet {
		fleets = append(fleets, name)
	}
	slices.Sort(fleets)
	out := &yardmasterv1.ApplyResponse{}
	for _, name := range fleets {
		for some := range slices.Chunk(byFleet[name], mendMost) {
			result, err := m.send(ctx, client, batch{fleet: name, nodes: some, altogether: len(byFleet[name])})
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
		a.say("no node failed%s; nothing to %s", prefixed(" with cause ", f.cause), verb)
		return nil
	}
	return a.results(out)
}

// chosen picks the nodes that are meant, by fleet.
func (a *app) chosen(ctx context.Context, client yardmasterv1connect.YardServiceClient, m mending, nodes []string) (map[string][]string, error) {
	if m.which == anyNode && !m.flags.all {
		return named(ctx, client, nodes)
	}
	answer, err := client.ListFailed(ctx, connect.NewRequest(&yardmasterv1.ListFailedRequest{Fleet: m.flags.fleet}))
	if err != nil {
		return nil, err
	}
	byFleet, err := chosenFailed(answer.Msg.GetFailed(), m.flags, nodes)
	if err != nil {
		return nil, &exit{code: exitFailed, err: err}
	}
	return byFleet, nil
}

// named finds nodes by name, in whatever state they are.
func named(ctx context.Context, client yardmasterv1connect.YardServiceClient, nodes []string) (map[string][]string, error) {
	answer, err := client.ListNodes(ctx, connect.NewRequest(&yardmasterv1.ListNodesRequest{}))
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, name := range nodes {
		found, err := pick(answer.Msg.GetNodes(), []string{name}, nameOf[*yardmasterv1.NodeView], "node")
		if err != nil {
			return nil, err
		}
		out[found[0].GetFleet()] = append(out[found[0].GetFleet()], name)
	}
	return out, nil
}

// chosenFailed picks the failed nodes that are meant, by fleet. Inputs that
// no planner could decide on are no nodes; skipped ones are meant by name
// only.
func chosenFailed(failed []*yardmasterv1.FailedView, f mendFlags, nodes []string) (map[string][]string, error) {
	out := map[string][]string{}
	found := map[string]bool{}
	for _, v := range failed {
		meant := f.all && !v.GetSkipped() || slices.Contains(nodes, v.GetNode())
		if meant && (f.cause == "" || f.cause == v.GetReason()) && !poisonous(v) {
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
