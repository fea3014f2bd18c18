package yardctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/yardctl/show"
)

func (a *app) watchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "watch [FLEET]", GroupID: groupSee, Short: "Show the nodes, then every event as it happens",
		Long: `watch shows how the nodes are, then a line for every event until Ctrl-C. With
-o json it prints the messages of the watch stream, one per line: the present
fleets and nodes, "synced", then every change.`,
		Example: `  yardctl watch web
  yardctl watch -o json | jq -c 'select(.event).event'`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.watch(cmd.Context(), append(args, "")[0])
		},
	}
	return cmd
}

// rewatch is the pause before a broken watch is begun anew.
const rewatch = time.Second

func (a *app) watch(ctx context.Context, fleet string) error {
	if a.output == outYAML {
		return wrongInput(errors.New("watch prints lines or -o json"))
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	w := &watcher{app: a}
	for {
		stream, err := client.Watch(ctx, connect.NewRequest(&yardmasterv1.WatchRequest{Fleet: fleet}))
		if err == nil {
			err = w.follow(stream)
			_ = stream.Close()
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // Ctrl-C is how a watch ends
		}
		if !w.seen || connect.CodeOf(err) == connect.CodeUnauthenticated {
			return err
		}
		if !a.machine() {
			a.say("%s  the watch broke; beginning anew", clock(a.env.Now()))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rewatch):
		}
	}
}

// watcher prints what a watch tells.
type watcher struct {
	*app
	// seen means that a watch worked once, so that a broken one is begun
	// anew; nodes are those of the present state, until it is complete.
	seen   bool
	synced bool
	nodes  []*yardmasterv1.NodeView
}

func (w *watcher) follow(stream *connect.ServerStreamForClient[yardmasterv1.WatchResponse]) error {
	w.synced, w.nodes = false, nil
	for stream.Receive() {
		w.seen = true
		if w.output != outJSON {
			w.line(stream.Msg())
			continue
		}
		body, err := marshal(stream.Msg())
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w.env.Out, "%s\n", body); err != nil {
			return err
		}
	}
	if stream.Err() == nil {
		return io.ErrUnexpectedEOF
	}
	return stream.Err()
}

// line prints the present nodes as a table, then each event.
func (w *watcher) line(m *yardmasterv1.WatchResponse) {
	switch c := m.GetChange().(type) {
	case *yardmasterv1.WatchResponse_Node:
		if !w.synced {
			w.nodes = append(w.nodes, c.Node)
		}
	case *yardmasterv1.WatchResponse_Synced:
		w.synced = true
		w.nodeTable(w.nodes)
		w.say("")
	case *yardmasterv1.WatchResponse_Event:
		e := c.Event
		w.say("%s  %s %s %s %s", clock(e.GetAt().AsTime()), pad(first(e.GetNode(), e.GetFleet()), 20),
			pad(words(e.GetFact()), 16), pad(w.moved(e), 26), show.Cut(eventWords(e), 60))
	}
}
