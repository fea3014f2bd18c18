package yardctl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
)

func (a *app) sshCommand() *cobra.Command {
	var s shell
	cmd := &cobra.Command{
		Use: "ssh NODE [-- ARGUMENTS]", GroupID: groupSee, Short: "Log in to a node with your own ssh",
		Long: `ssh finds a node's address and starts the ssh of your PATH with it, as user
core; your keys, agent and configuration are used as always. What stands after
-- is passed on: options, or a command to run. The exit code is that of ssh.

A node that was replaced is another machine at the same address, with another
host key. So that ssh neither raises a false alarm then nor stays silent about a
real one, each machine has an entry of its own in your known_hosts, by node and
machine: a new machine is asked about once, and a known machine with another key
is refused as always. Yardmaster does not know the host keys: compare what ssh
shows if it matters to you.`,
		Example: `  yardctl ssh web-edge-0
  yardctl ssh web-edge-0 -- journalctl -b -u phone-home
  yardctl ssh web-edge-0 --user admin --address 192.168.1.7 -- -L 8080:localhost:80`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			answer, err := client.DescribeNode(cmd.Context(), connect.NewRequest(&yardmasterv1.DescribeNodeRequest{Node: args[0]}))
			if err != nil {
				return err
			}
			a.warn(answer.Msg.GetRead())
			s.args = args[1:]
			return a.shell(cmd.Context(), answer.Msg.GetNode(), s)
		},
	}
	cmd.Flags().StringVar(&s.user, "user", "core", "user to log in as")
	cmd.Flags().StringVar(&s.address, "address", "", "which of the node's addresses; default the first")
	return a.complete(cmd, nodeNames)
}

// shell is how somebody wants to log in.
type shell struct {
	user, address string
	args          []string
}

func (a *app) shell(ctx context.Context, n *yardmasterv1.NodeView, s shell) error {
	address, err := addressOf(n, s.address)
	if err != nil {
		return err
	}
	if s.user == "" || strings.HasPrefix(s.user, "-") {
		return wrongInput(fmt.Errorf("--user %q is no user", s.user))
	}
	path, err := exec.LookPath("ssh")
	if err != nil {
		return fmt.Errorf("there is no ssh in PATH; %s is at %s", n.GetName(), address)
	}
	alias := n.GetName() + "-" + first(n.GetMachineUuid(), fmt.Sprintf("incarnation-%d", n.GetIncarnation()))
	args := append([]string{"-o", "HostKeyAlias=" + alias, "-l", s.user, address}, s.args...)
	// What a person types is theirs: an interrupt is ssh's business.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.env.In, a.env.Out, a.env.Err
	err = cmd.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return silent(max(exitFailed, e.ExitCode()))
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	return nil
}

// addressOf is where a node is reached: the first of its own addresses, else
// what its guest reports, or the one that was asked for.
func addressOf(n *yardmasterv1.NodeView, wanted string) (string, error) {
	all := slices.Clone(n.GetAddresses())
	if g := n.GetGuestAddress(); g != "" && !slices.Contains(all, g) {
		all = append(all, g)
	}
	// What is no address could be an option of ssh's.
	all = slices.DeleteFunc(all, func(text string) bool { _, err := netip.ParseAddr(text); return err != nil })
	switch {
	case len(all) == 0:
		return "", fmt.Errorf("%s has no address: it is %s\nyardctl describe node %s says what it waits for", n.GetName(), n.GetState(), n.GetName())
	case wanted == "":
		return all[0], nil
	case !slices.Contains(all, wanted):
		return "", wrongInput(fmt.Errorf("%s is no address of %s; it has %s", wanted, n.GetName(), strings.Join(all, ", ")))
	}
	return wanted, nil
}
