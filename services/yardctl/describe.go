package yardctl

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/yardctl/show"
)

func (a *app) describeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "describe", GroupID: groupSee, Short: "Tell a node's story",
		Example: "  yardctl describe node web-edge-0", Args: cobra.ArbitraryArgs,
	}
	node := &cobra.Command{
		Use: "node NAME...", Aliases: []string{"nodes"}, Short: "Tell a node's story: how it is, why, what is next, and all that happened",
		Example: "  yardctl describe node web-edge-0\n  yardctl describe node web-edge-0 -o json",
		Args:    arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			for i, name := range args {
				answer, err := client.DescribeNode(cmd.Context(), connect.NewRequest(&yardmasterv1.DescribeNodeRequest{Node: name}))
				if err != nil {
					return err
				}
				if i > 0 && !a.machine() {
					a.say("")
				}
				a.warn(answer.Msg.GetRead())
				if err := a.emit(answer.Msg, func() error { a.story(answer.Msg); return nil }); err != nil {
					return err
				}
			}
			return nil
		},
	}
	return parent(cmd, a.complete(node, nodeNames))
}

// story prints how a node is and what happened to it.
func (a *app) story(d *yardmasterv1.DescribeNodeResponse) {
	n := d.GetNode()
	a.say("%-14s %s", n.GetName(), a.headline(n))
	if n.GetReason() != "" {
		a.say("  why          %s", n.GetReason()+prefixed(": ", n.GetMessage()))
	}
	if next := a.next(n); next != "" {
		a.say("  next         %s", next)
	}
	a.say("  where        %s", where(d))
	if len(n.GetAddresses()) > 0 || n.GetGuestAddress() != "" {
		a.say("  address      %s", addresses(n))
	}
	if len(d.GetNetworks()) > 1 {
		for _, net := range d.GetNetworks() {
			a.say("  card %d       %s", net.GetCard(), network(net))
		}
	}
	a.say("  config       %s", config(d))
	if n.GetOsVersion() != "" {
		a.say("  os           Flatcar %s", n.GetOsVersion())
	}
	if n.GetTrace() != "" {
		a.say("  trace        %s", n.GetTrace())
	}
	if d.GetGuest() != nil {
		a.guest(d.GetGuest())
	}
	a.say("")
	a.events(d.GetEvents())
}

// guest prints what the machine says of itself.
func (a *app) guest(g *yardmasterv1.GuestView) {
	heard := "heard " + show.Duration(a.env.Now().Sub(g.GetHeard().AsTime())) + " ago"
	if g.GetSilent() {
		heard = a.palette.Paint(show.Yellow, "silent since "+a.when(g.GetHeard().AsTime())+", for "+a.age(g.GetHeard()))
	}
	text := first(g.GetState(), "running") + ", " + heard
	if g.GetVia() == "guestinfo" {
		text += ", through guestinfo (anybody on the machine can write that)"
	}
	a.say("  guest        %s", text)
	passed := make([]string, 0, len(g.GetStages()))
	for _, s := range g.GetStages() {
		passed = append(passed, s.GetName()+" "+delta(s.GetAt().AsTime().Sub(g.GetBooted().AsTime())))
	}
	if len(passed) > 0 {
		a.say("               booted %s: %s", a.when(g.GetBooted().AsTime()), strings.Join(passed, ", "))
	}
	for _, f := range g.GetFailed() {
		a.say("               %s", a.palette.Paint(show.Red, f.GetUnit()+" failed"+prefixed(": ", f.GetResult())))
		for _, l := range f.GetLog() {
			a.say("                 %s", a.fit(l, 80))
		}
	}
}

// headline says in a sentence how a node is: provisioning for 41 s, attempt
// 2 of 5, next try in 12 s.
func (a *app) headline(n *yardmasterv1.NodeView) string {
	text := a.state(n.GetState())
	if n.GetSince() != nil {
		text += " for " + show.Duration(a.env.Now().Sub(n.GetSince().AsTime()))
	}
	if n.GetAttempt() > 1 {
		text += fmt.Sprintf(", attempt %d", n.GetAttempt())
		if n.GetAttemptsLimit() > 0 {
			text += fmt.Sprintf(" of %d", n.GetAttemptsLimit())
		}
	}
	if n.GetOutdated() {
		text += ", outdated"
	}
	if n.GetGoal() != "" && n.GetGoal() != "present" {
		text += ", wanted " + n.GetGoal()
	}
	if n.GetDue() != nil && n.GetJob() == nil && n.GetReason() != "" {
		text += ", next try in " + show.Duration(n.GetDue().AsTime().Sub(a.env.Now()))
	}
	return text
}

// next is the hint, or else what the node waits for and until when.
func (a *app) next(n *yardmasterv1.NodeView) string {
	text := ""
	if n.GetWaitingFor() != "" && n.GetState() != "deleted" {
		text = show.Waiting(n.GetWaitingFor())
		if n.GetDeadline() != nil && n.GetState() != "ready" && n.GetState() != "failed" {
			text += ", at most " + show.Duration(n.GetDeadline().AsTime().Sub(a.env.Now())) + " more"
		}
	}
	if n.GetHint() != "" && text != "" {
		return n.GetHint() + "\n" + strings.Repeat(" ", 15) + text
	}
	return first(n.GetHint(), text)
}

func where(d *yardmasterv1.DescribeNodeResponse) string {
	n, v := d.GetNode(), d.GetVsphere()
	var parts []string
	for _, p := range []string{first(v.GetSite(), n.GetSite()), v.GetCluster(), v.GetDatastore()} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if v.GetFolder() != "" {
		parts = append(parts, "folder "+v.GetFolder())
	}
	text := strings.Join(parts, " / ")
	if n.GetFailureDomain() != "" {
		text += " (failure domain " + n.GetFailureDomain() + ")"
	}
	if v != nil {
		text = "vsphere " + text
	}
	for _, more := range []struct{ name, value string }{
		{"template", v.GetTemplate()}, {"machine", n.GetMachineId()}, {"uuid", n.GetMachineUuid()}, {"mac", n.GetMac()},
	} {
		if more.value != "" {
			text += "\n               " + fmt.Sprintf("%-9s %s", more.name, more.value)
		}
	}
	return text + fmt.Sprintf("\n               incarnation %d", n.GetIncarnation())
}

func network(n *yardmasterv1.NodeNetwork) string {
	text := n.GetMac() + "  " + first(n.GetAddress(), "no address yet")
	if n.GetDhcp() {
		text = n.GetMac() + "  by DHCP"
	}
	if n.GetNetwork() != "" {
		text += "  Network " + n.GetNetwork()
	}
	if n.GetPortgroup() != "" {
		text += "  portgroup " + n.GetPortgroup()
	}
	if n.GetDefaultRoute() {
		text += "  default route"
	}
	return text
}

func addresses(n *yardmasterv1.NodeView) string {
	text := strings.Join(n.GetAddresses(), " ")
	switch guest := n.GetGuestAddress(); {
	case guest == "":
	case text == "":
		text = guest + " (by DHCP, as the guest reports)"
	case slices.Contains(n.GetAddresses(), guest):
		text += " (the guest reports the same)"
	default:
		text += " (the guest reports " + guest + ")"
	}
	return text
}

func config(d *yardmasterv1.DescribeNodeResponse) string {
	n := d.GetNode()
	text := fmt.Sprintf("revision %d, %s", n.GetRevision(), show.Count(int(d.GetLayers()), "layer"))
	if n.GetConfigDigest() == "" {
		return text
	}
	text += ", sha256 " + short(n.GetConfigDigest()) + ", " + show.Bytes(uint64(n.GetConfigSize()))
	switch n.GetState() {
	case "rendering", "provisioning", "booting":
		text += "; sealed until booted"
	}
	return text
}

// events prints the story's lines: when, how long after its begin, what, by
// whom, and the rest in words. Equal events in a row, with nothing but the
// waits between them, are one line.
func (a *app) events(events []*yardmasterv1.EventView) {
	var begin time.Time
	incarnation := int32(0)
	for i := 0; i < len(events); {
		e := events[i]
		times, last := 1, e
		i++
		for next := afterWait(events, i); next < len(events) && alike(e, events[next]); next = afterWait(events, i) {
			times, last, i = times+1, events[next], next+1
		}
		at := e.GetAt().AsTime()
		if e.GetIncarnation() > incarnation || begin.IsZero() {
			if incarnation > 0 {
				a.say("  incarnation %d", e.GetIncarnation())
			}
			incarnation, begin = e.GetIncarnation(), at
		}
		text := eventWords(e)
		if times > 1 {
			text = fmt.Sprintf("%d times until %s   ", times, clock(last.GetAt().AsTime())) + text
		}
		a.say("  %s  %9s   %s %s %s", a.when(at), "+"+delta(at.Sub(begin)), pad(a.happened(e), 24), pad(e.GetBy(), 18), a.fit(text, 60))
	}
}

// factRetryDue is the end of a wait.
const factRetryDue = "retry_due"

// afterWait is the index of the next event that is not the end of a wait.
func afterWait(events []*yardmasterv1.EventView, i int) int {
	for i < len(events) && events[i].GetFact() == factRetryDue {
		i++
	}
	return i
}

// alike reports whether two events say the same of different moments.
func alike(a, b *yardmasterv1.EventView) bool {
	return a.GetReason() != "" && a.GetFact() == b.GetFact() && a.GetReason() == b.GetReason() && a.GetMessage() == b.GetMessage() &&
		a.GetAttempt() == b.GetAttempt() && a.GetIncarnation() == b.GetIncarnation()
}

// happened is an event's fact and the state that it led to.
func (a *app) happened(e *yardmasterv1.EventView) string {
	if e.GetFrom() == e.GetTo() || e.GetTo() == "" {
		return words(e.GetFact())
	}
	return words(e.GetFact()) + " → " + a.palette.State(e.GetTo(), e.GetTo())
}

// pad is %-*s for text that may hold colours.
func pad(text string, width int) string {
	plain := text
	for strings.Contains(plain, "\x1b[") {
		from := strings.Index(plain, "\x1b[")
		to := strings.IndexByte(plain[from:], 'm')
		plain = plain[:from] + plain[from+to+1:]
	}
	return text + strings.Repeat(" ", max(0, width-len([]rune(plain))))
}

func delta(d time.Duration) string {
	if d < time.Hour {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return show.Age(d)
}
