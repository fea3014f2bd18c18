package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

const (
	serviceRenderer = "renderer"

	// clockFail is the clock's error at which a planner stops, clockWarn what
	// is worth a word.
	clockFail = 5 * time.Second
	clockWarn = time.Second
	// streamWarn is the share of a stream's limit that is worth a word; a
	// full one refuses every change.
	streamWarn = 0.8
)

// yardChecks looks at what every site needs: the bus, who plans and renders,
// and the clocks.
func (g *Gateway) yardChecks(ctx context.Context, read *v1.ReadStatus) []*v1.Check {
	var out checks
	conn, err := g.model.conn()
	if err != nil {
		out.fail("bus", "start the NATS server, or let the network through; services connect again by themselves",
			"the gateway has no connection to NATS since %s: nothing is decided or changed, and answers are as old as that",
			read.GetAsOf().AsTime().Format(time.RFC3339))
		return out
	}
	out.ok("bus", "%s, NATS %s, as user %s", conn.NATS().ConnectedUrlRedacted(), conn.NATS().ConnectedServerVersion(), conn.User())
	if read.GetWarning() == warnStale {
		out.warn("read model", "wait a moment", "the ledger is being read anew; what is said here may be old")
	}
	g.ledgerChecks(ctx, &out)
	g.serviceChecks(&out)
	if _, err := g.model.read(func(w *plan.World) error {
		haltChecks(w, &out)
		return nil
	}); err != nil {
		out.fail("read model", "", "%v", err)
	}
	return out
}

// ledgerChecks looks at each shard.
func (g *Gateway) ledgerChecks(ctx context.Context, out *checks) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	live := g.presence.services(time.Now())
	for k := range g.model.shards() {
		s, what := g.shard(ctx, k, live), fmt.Sprintf("shard %d", k)
		share := float64(s.GetBytes()) / float64(max(1, s.GetLimitBytes()))
		switch {
		case s.GetMessages() == 0:
			out.fail(what, "look at the NATS server's log; yardmaster bus upgrade makes what is missing", "the stream %s does not answer", s.GetStream())
		case s.GetLimitBytes() > 0 && share > streamWarn:
			out.fail(what, "raise max_bytes: yardmaster bus upgrade", "the stream is %.0f %% full; a full one refuses every change", 100*share)
		case s.GetActivePlanner() == "" && s.GetPlanners() == 0:
			out.fail(what, "start a planner", "no planner is running: commands wait, and nothing is decided")
		case s.GetActivePlanner() == "":
			out.fail(what, "look at the planners' logs", "%d planners run and none is active: nothing is decided", s.GetPlanners())
		default:
			out.ok(what, "planned by %s, %d standing by, %d inputs waiting", s.GetActivePlanner(), s.GetPlanners()-1, s.GetPendingInputs())
		}
	}
}

// serviceChecks looks at who beats, and how well their clocks agree.
func (g *Gateway) serviceChecks(out *checks) {
	renderers, beating := 0, 0
	var worst time.Duration
	var late []string
	for _, s := range g.presence.services(time.Now()) {
		if time.Since(s.stored) > silence {
			continue
		}
		beating++
		if s.Service == serviceRenderer {
			renderers++
		}
		offset := s.offset()
		worst = max(worst, offset.Abs())
		if offset.Abs() > clockWarn {
			late = append(late, fmt.Sprintf("%s by %s", s.Instance, offset.Round(time.Millisecond)))
		}
		if s.Trouble != "" && s.Service != serviceExecutor { // an executor's is its site's
			out.warn(s.Service, "see its log", "%s: %s", s.Instance, s.Trouble)
		}
	}
	if renderers == 0 {
		out.fail("renderer", "start a renderer", "none is running: no node gets a config")
	} else {
		out.ok("renderer", "%d running", renderers)
	}
	const hint = "let all hosts follow the same time servers"
	slices.Sort(late)
	switch {
	case worst > clockFail:
		out.fail("clocks", hint, "off the NATS server's: %s; a planner stops at %s", strings.Join(late, ", "), clockFail)
	case len(late) > 0:
		out.warn("clocks", hint, "off the NATS server's: %s", strings.Join(late, ", "))
	default:
		out.ok("clocks", "every service is within %s of the NATS server's; %d are heard", worst.Round(time.Millisecond), beating)
	}
}

// haltChecks says whether the yard was told to begin nothing.
func haltChecks(w *plan.World, out *checks) {
	if y := w.Yard(); y != nil && y.ObserveOnly {
		out.warn("yard", "look at yardctl orphans of each site first, then let it go on", "it only observes since its restore: nothing is begun")
	}
	if p := viewPaused(w, plan.YardScope); p != nil {
		out.warn("yard", "yardctl resume --all", "it is paused: nothing is begun")
	}
	if len(w.Sites()) == 0 {
		out.warn("sites", "yardctl site discover URL writes one; yardctl apply it", "there is no Site yet")
	}
}
