package yardctl

import (
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"yardmaster.dev/pkg/service"
	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/yardctl/show"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", GroupID: groupYard, Short: "Say how the yard itself is: shards, planners, seats, services",
		Example: "  yardctl status\n  yardctl status -o json",
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			answer, err := client.Status(cmd.Context(), connect.NewRequest(&yardmasterv1.StatusRequest{}))
			if err != nil {
				return err
			}
			a.warn(answer.Msg.GetRead())
			return a.emit(answer.Msg, func() error { a.statusScreen(answer.Msg); return nil })
		},
	}
}

func (a *app) statusScreen(s *yardmasterv1.StatusResponse) {
	a.say("yard %s: %d ready, %d failed, %s open%s", show.Count(int(s.GetNodes()), "node"), s.GetReady(), s.GetFailed(),
		show.Count(int(s.GetOpenJobs()), "job"), prefixed("; nats ", s.GetNatsServer()))
	if s.GetPaused() != nil {
		a.say("%s: nothing is begun until yardctl resume --all", a.paused(s.GetPaused()))
	}
	a.say("")
	g := grid{
		header: []string{"shard", "stream", "bytes", "of limit", "messages", "waiting", "planner", "standing by", "lag"},
		right:  []string{"shard", "bytes", "of limit", "messages", "waiting", "standing by", "lag"},
	}
	for _, k := range s.GetShards() {
		g.rows = append(g.rows, []string{
			number(k.GetShard()), k.GetStream(), show.Bytes(k.GetBytes()), a.share(k.GetBytes(), k.GetLimitBytes()), number(k.GetMessages()),
			number(k.GetPendingInputs()), first(k.GetActivePlanner(), a.palette.Paint(show.Red, "none")), number(standingBy(k)), number(k.GetMirrorLag()),
		})
	}
	a.grid(g, "no shard")
	a.say("")
	a.siteTable(s.GetSites())
	a.say("")
	a.serviceTable(s.GetServices())
}

// standingBy counts the planners that do not lead the shard.
func standingBy(k *yardmasterv1.ShardStatus) int32 {
	if k.GetActivePlanner() == "" {
		return k.GetPlanners()
	}
	return max(0, k.GetPlanners()-1)
}

// share is a part of a limit; a stream that is nearly full refuses writes.
func (a *app) share(part, limit uint64) string {
	if limit == 0 {
		return "no limit"
	}
	percent := 100 * float64(part) / float64(limit)
	text := fmt.Sprintf("%.1f %%", percent)
	if percent >= 80 {
		return a.palette.Paint(show.Red, text)
	}
	return text
}

const (
	// silentAfter is when a service that beats every few seconds is missed,
	// mostOffset the clock's error at which a planner stops.
	silentAfter = 15 * time.Second
	mostOffset  = 5 * time.Second
)

func (a *app) serviceTable(services []*yardmasterv1.ServiceStatus) {
	g := grid{header: []string{"service", "instance", "version", "serves", "active", "seen", "clock", "trouble"}}
	for _, s := range services {
		seen := a.age(s.GetSeen())
		if a.env.Now().Sub(s.GetSeen().AsTime()) > silentAfter {
			seen = a.palette.Paint(show.Red, seen+" ago")
		}
		offset := s.GetClockOffset().AsDuration()
		clock := fmt.Sprintf("%+d ms", offset.Milliseconds())
		if offset.Abs() > mostOffset {
			clock = a.palette.Paint(show.Red, clock)
		}
		active := ""
		if s.GetActive() {
			active = "yes"
		}
		g.rows = append(g.rows, []string{s.GetService(), s.GetInstance(), s.GetVersion(), s.GetScope(), active, seen, clock, a.palette.Paint(show.Red, s.GetTrouble())})
	}
	a.grid(g, "no service was heard of")
}

func (a *app) versionCommand() *cobra.Command {
	var clientOnly bool
	cmd := &cobra.Command{
		Use: "version", GroupID: groupYard, Short: "Print the version here and at the gateway",
		Example: "  yardctl version\n  yardctl version --client",
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			own := service.Build()
			here := &yardmasterv1.VersionResponse{Version: own.Version, Commit: own.Commit, GoVersion: own.Go}
			if clientOnly {
				return a.emit(here, func() error { a.versionLine("yardctl", here); return nil })
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			answer, err := client.Version(cmd.Context(), connect.NewRequest(&yardmasterv1.VersionRequest{}))
			if err != nil {
				a.versionLine("yardctl", here)
				return err
			}
			return a.versions(here, answer.Msg)
		},
	}
	cmd.Flags().BoolVar(&clientOnly, "client", false, "only the version here")
	return cmd
}

// versions prints both sides and warns when they differ.
func (a *app) versions(here, there *yardmasterv1.VersionResponse) error {
	if a.machine() {
		client, err := marshal(here)
		if err != nil {
			return err
		}
		server, err := marshal(there)
		if err != nil {
			return err
		}
		return a.emitJSON(fmt.Appendf(nil, `{"client":%s,"server":%s}`, client, server))
	}
	a.versionLine("yardctl", here)
	a.versionLine("gateway", there)
	if here.GetVersion() != there.GetVersion() || here.GetCommit() != there.GetCommit() {
		_, _ = fmt.Fprintln(a.env.Err, a.palette.Paint(show.Yellow,
			"yardctl and the gateway are not of one build: what one of them does not know is ignored or refused"))
	}
	return nil
}

func (a *app) versionLine(what string, v *yardmasterv1.VersionResponse) {
	format := ""
	if v.GetFormat() > 0 {
		format = fmt.Sprintf(", ledger format %d", v.GetFormat())
	}
	a.say("%-8s %s (commit %s, %s%s)", what, v.GetVersion(), show.Cut(v.GetCommit(), 15), v.GetGoVersion(), format)
}
