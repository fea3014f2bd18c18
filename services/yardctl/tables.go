package yardctl

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/yardctl/show"
)

func number[N int32 | int64 | uint32 | uint64](n N) string { return strconv.FormatInt(int64(n), 10) }

// wide adds columns to a row when -o wide asks for them.
func (a *app) wide(row []string, more ...string) []string {
	if a.output == outWide {
		return append(row, more...)
	}
	return row
}

func (a *app) fleetTable(fleets []*yardmasterv1.FleetView) {
	g := grid{
		header: a.wide([]string{"fleet", "ready", "failed", "revision", "state", "age"}, "nodes", "shard", "uid", "labels"),
		right:  []string{"ready", "failed", "revision", "nodes", "shard"},
	}
	for _, f := range fleets {
		g.rows = append(g.rows, a.wide([]string{
			f.GetName(), fmt.Sprintf("%d/%d", f.GetReady(), f.GetDesired()), number(f.GetFailed()), number(f.GetRevision()),
			a.fleetState(f), a.age(f.GetCreated()),
		}, number(f.GetNodes()), number(f.GetShard()), short(f.GetUid()), labels(f.GetLabels())))
	}
	a.grid(g, "no fleet; yardctl apply -f FILE makes one")
}

// fleetState says in a word how a fleet is.
func (a *app) fleetState(f *yardmasterv1.FleetView) string {
	switch {
	case f.GetDeleting():
		return a.palette.Paint(show.Yellow, "deleting")
	case f.GetPaused() != nil:
		return a.paused(f.GetPaused())
	case f.GetFailed() > 0:
		return a.palette.Paint(show.Red, "needs a person")
	case f.GetSettled() == f.GetRevision() && f.GetReady() == f.GetDesired():
		return a.palette.Paint(show.Green, "settled")
	}
	return a.palette.Paint(show.Blue, "changing")
}

func labels(m map[string]string) string {
	out := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return strings.Join(out, ",")
}

func (a *app) poolTable(pools []*yardmasterv1.PoolView) {
	g := grid{
		header: a.wide([]string{"pool", "ready", "spec", "outdated", "others", "down", "extra", "where"}, "backend"),
		right:  []string{"ready", "spec", "outdated", "down", "extra"},
	}
	for _, p := range pools {
		g.rows = append(g.rows, a.wide([]string{
			p.GetFleet() + "/" + p.GetName(), fmt.Sprintf("%d/%d", p.GetStates()["ready"], p.GetDesired()), number(p.GetSpecReplicas()),
			number(p.GetOutdated()), others(p.GetStates()), number(p.GetDisrupted()), number(p.GetSurged()), p.GetSite(),
		}, p.GetBackend()))
	}
	a.grid(g, "no pool; yardctl apply -f FILE makes a fleet with pools")
}

// others lists the states besides ready: 2 booting, 1 failed.
func others(states map[string]int32) string {
	var out []string
	for _, s := range slices.Sorted(maps.Keys(states)) {
		if s != "ready" && states[s] > 0 {
			out = append(out, number(states[s])+" "+s)
		}
	}
	return strings.Join(out, ", ")
}

func (a *app) nodeTable(nodes []*yardmasterv1.NodeView) {
	g := grid{
		header: a.wide([]string{"node", "state", "for", "address", "try", "waits for"},
			"revision", "incarnation", "site", "os", "guest address", "heard", "machine", "uuid", "config"),
		right: []string{"try", "revision", "incarnation"},
	}
	for _, n := range nodes {
		g.rows = append(g.rows, a.wide([]string{
			n.GetName(), a.state(n.GetState()) + outdated(n), a.age(n.GetSince()), strings.Join(n.GetAddresses(), " "),
			tries(n), a.fit(a.waits(n), 46),
		}, number(n.GetRevision()), number(n.GetIncarnation()), site(n), n.GetOsVersion(), n.GetGuestAddress(),
			a.heard(n), n.GetMachineId(), n.GetMachineUuid(), short(n.GetConfigDigest())))
	}
	a.grid(g, "no node")
}

// heard is how long ago a node's guest spoke.
func (a *app) heard(n *yardmasterv1.NodeView) string {
	switch {
	case n.GetHeard() == nil:
		return "never"
	case n.GetSilent():
		return a.palette.Paint(show.Yellow, "silent for "+a.age(n.GetHeard()))
	}
	return a.age(n.GetHeard()) + " ago"
}

func outdated(n *yardmasterv1.NodeView) string {
	if n.GetOutdated() {
		return " (old)"
	}
	return ""
}

// tries is a node's attempt, once it is not the first.
func tries(n *yardmasterv1.NodeView) string {
	if n.GetAttempt() <= 1 {
		return ""
	}
	if n.GetAttemptsLimit() == 0 {
		return number(n.GetAttempt())
	}
	return fmt.Sprintf("%d/%d", n.GetAttempt(), n.GetAttemptsLimit())
}

// fit cuts text to a column's width, unless the table is a wide one.
func (a *app) fit(text string, width int) string {
	if a.output == outWide {
		return text
	}
	return show.Cut(text, width)
}

// waits is what a node waits for, why, and how long yet.
func (a *app) waits(n *yardmasterv1.NodeView) string {
	if n.GetState() == "ready" || n.GetState() == "deleted" {
		return ""
	}
	text := n.GetWaitingFor()
	if n.GetReason() != "" {
		text = n.GetReason() + prefixed(": ", n.GetMessage())
	}
	if due := n.GetDue(); due != nil && n.GetJob() == nil {
		if in := due.AsTime().Sub(a.env.Now()); in > 0 && in < time.Hour {
			text += until(n) + show.Age(in)
		}
	}
	return text
}

// until introduces the time of a node without a job: its next attempt, or the
// end of its wait.
func until(n *yardmasterv1.NodeView) string {
	if d := n.GetDeadline(); d != nil && d.AsTime().Equal(n.GetDue().AsTime()) {
		return ", for at most "
	}
	return ", next try in "
}

func (a *app) jobTable(jobs []*yardmasterv1.JobView) {
	g := grid{
		header: a.wide([]string{"node", "worker", "site", "job", "try", "for", "time left"}, "number", "withdrawn"),
		right:  []string{"try", "number"},
	}
	for _, j := range jobs {
		left := ""
		if j.GetDeadline() != nil {
			left = show.Age(j.GetDeadline().AsTime().Sub(a.env.Now()))
		}
		g.rows = append(g.rows, a.wide([]string{
			j.GetNode(), j.GetWorker(), j.GetSite(), j.GetAction(), number(j.GetAttempt()), a.age(j.GetSince()), left,
		}, number(j.GetNumber()), strconv.FormatBool(j.GetWithdrawn())))
	}
	a.grid(g, "no job is open")
}

func (a *app) eventTable(events []*yardmasterv1.EventView) {
	g := grid{header: a.wide([]string{"at", "node", "what", "state", "by", "words"}, "fleet", "number", "incarnation", "revision"), right: []string{"number", "incarnation", "revision"}}
	for _, e := range events {
		g.rows = append(g.rows, a.wide([]string{
			a.when(e.GetAt().AsTime()), first(e.GetNode(), e.GetFleet()), words(e.GetFact()), a.moved(e), e.GetBy(), a.fit(eventWords(e), 46),
		}, e.GetFleet(), number(e.GetNumber()), number(e.GetIncarnation()), number(e.GetRevision())))
	}
	a.grid(g, "no event")
}

// when is a time of day, with the date when that is another day.
func (a *app) when(t time.Time) string {
	if now := a.env.Now().Local(); now.Sub(t) > 20*time.Hour {
		return t.Local().Format("2006-01-02 15:04:05")
	}
	return clock(t)
}

// words makes a fact or reason readable: try_failed, try failed.
func words(fact string) string { return strings.ReplaceAll(fact, "_", " ") }

// moved is a state, or the way from one to another.
func (a *app) moved(e *yardmasterv1.EventView) string {
	if e.GetFrom() == e.GetTo() || e.GetFrom() == "" {
		return e.GetTo()
	}
	return e.GetFrom() + " -> " + a.palette.State(e.GetTo(), e.GetTo())
}

// eventWords is all that an event says besides: how long it took, which
// attempt, why.
func eventWords(e *yardmasterv1.EventView) string {
	var out []string
	if e.GetFact() == "created" || e.GetFact() == "revision_changed" {
		out = append(out, "by revision "+number(e.GetRevision()))
	}
	if e.GetTook() != nil {
		out = append(out, show.Duration(e.GetTook().AsDuration()))
	}
	if e.GetAttempt() > 1 || e.GetReason() != "" {
		out = append(out, fmt.Sprintf("attempt %d", max(1, e.GetAttempt())))
	}
	switch {
	case e.GetReason() != "":
		out = append(out, e.GetReason()+prefixed(": ", e.GetMessage()))
	case e.GetMessage() != "":
		out = append(out, e.GetMessage())
	}
	return strings.Join(out, "   ")
}

func (a *app) networkTable(networks []*yardmasterv1.NetworkView) {
	g := grid{
		header: a.wide([]string{"network", "subnet", "range", "used", "free", "gateway"}, "dns", "portgroup"),
		right:  []string{"used", "free"},
	}
	for _, n := range networks {
		g.rows = append(g.rows, a.wide([]string{
			n.GetName(), n.GetSubnet(), n.GetRange(), fmt.Sprintf("%d/%d", n.GetUsed(), n.GetTotal()), number(n.GetTotal() - n.GetUsed()), n.GetGateway(),
		}, strings.Join(n.GetDns(), " "), n.GetPortgroup()))
	}
	a.grid(g, "no network; yardctl apply -f FILE makes one")
}

func (a *app) siteTable(sites []*yardmasterv1.SiteView) {
	g := grid{
		header: a.wide([]string{"site", "vcenter", "nodes", "breaker", "seat"}, "epoch", "until", "trouble"),
		right:  []string{"nodes", "epoch"},
	}
	for _, s := range sites {
		until := ""
		if s.GetSeatUntil() != nil {
			until = clock(s.GetSeatUntil().AsTime())
		}
		g.rows = append(g.rows, a.wide([]string{
			s.GetName(), s.GetUrl(), number(s.GetNodes()), a.breaker(s.GetBreaker()), first(s.GetSeatHolder(), "nobody"),
		}, number(s.GetSeatEpoch()), until, s.GetBreakerMessage()))
	}
	a.grid(g, "no site; yardctl apply -f FILE makes one")
}

// breaker is a breaker's state, coloured.
func (a *app) breaker(state string) string {
	switch state {
	case "":
		return "unknown"
	case "closed":
		return a.palette.Paint(show.Green, state)
	}
	return a.palette.Paint(show.Red, state)
}

// site is where a node is: its Site and, if its pool has some, its failure
// domain.
func site(n *yardmasterv1.NodeView) string {
	if n.GetFailureDomain() == "" {
		return n.GetSite()
	}
	return n.GetSite() + " (" + n.GetFailureDomain() + ")"
}
