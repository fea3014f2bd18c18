package yardctl

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/yardctl/show"
)

func (a *app) planCommand() *cobra.Command {
	var files []string
	var exitCode bool
	var b brakes
	cmd := &cobra.Command{
		Use: "plan -f FILE", GroupID: groupSpec, Short: "Show what apply would do, node by node, and why",
		Long: `plan asks the yard what applying the files would do now: which nodes are
created, kept, replaced and deleted, and which field causes it. Nothing changes.
The plan is remembered here under its number; apply --plan does exactly this
plan, or refuses when something moved since.`,
		Example: `  yardctl plan -f web.yaml
  yardctl plan -f web.yaml --exit-code    # 6 when something would change
  yardctl apply --plan 7f3c`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.plan(cmd.Context(), files, b.read(cmd))
			if err != nil {
				return err
			}
			if err := a.emit(p.answer, func() error {
				a.planScreen(p)
				if p.changes() && len(p.refusals()) == 0 {
					a.say("")
					a.say("apply this plan?  yardctl apply --plan %s", short(p.id))
				}
				return nil
			}); err != nil {
				return err
			}
			a.warn(p.answer.GetRead())
			switch {
			case len(p.refusals()) > 0:
				return silent(exitRefused)
			case exitCode && p.changes():
				return silent(exitPending)
			}
			return nil
		},
	}
	filesFlag(cmd, &files)
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "end with 6 when something would change")
	b.add(cmd)
	return cmd
}

// shownPlan is a plan and what it was made from.
type shownPlan struct {
	id      string
	sources []*yardmasterv1.Source
	brakes  brakes
	// keep leaves live targets as they are: a rollback.
	keep   bool
	answer *yardmasterv1.PlanResponse
}

// request is what applies the plan.
func (p *shownPlan) request() *yardmasterv1.ApplyRequest {
	return &yardmasterv1.ApplyRequest{
		Sources: p.sources, PlanBasis: p.basis(), MaxDestroyPercent: p.brakes.destroy, MaxCreate: p.brakes.create,
		KeepTargets: p.keep,
	}
}

// plan checks files on the spot, then asks the gateway.
func (a *app) plan(ctx context.Context, files []string, b brakes) (*shownPlan, error) {
	sources, err := a.read(files)
	if err != nil {
		return nil, err
	}
	if _, err := a.check(sources); err != nil {
		return nil, err
	}
	p := &shownPlan{sources: sources, brakes: b}
	return p, a.ask(ctx, p)
}

// ask asks the gateway for a plan and remembers it.
func (a *app) ask(ctx context.Context, p *shownPlan) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	answer, err := client.Plan(ctx, connect.NewRequest(&yardmasterv1.PlanRequest{
		Sources: p.sources, MaxDestroyPercent: p.brakes.destroy, MaxCreate: p.brakes.create, KeepTargets: p.keep,
	}))
	if err != nil {
		return err
	}
	if err := a.complainOf(answered(answer.Msg.GetProblems())); err != nil {
		return err
	}
	p.answer = answer.Msg
	p.id = planID(p)
	return a.keep(p)
}

// changes reports whether the plan changes anything.
func (p *shownPlan) changes() bool {
	for _, f := range p.answer.GetFleets() {
		if len(f.GetNodes()) > 0 || f.GetRevisionFrom() != f.GetRevisionTo() {
			return true
		}
	}
	return slices.ContainsFunc(p.answer.GetDocuments(), func(d *yardmasterv1.DocumentPlan) bool { return d.GetAction() != actionKeep })
}

// refusals are the reasons why an apply would be refused.
func (p *shownPlan) refusals() []string {
	var out []string
	for _, d := range p.answer.GetDocuments() {
		out = append(out, d.GetRefusals()...)
	}
	for _, f := range p.answer.GetFleets() {
		out = append(out, f.GetRefusals()...)
	}
	return out
}

// basis is what holds an apply to this plan.
func (p *shownPlan) basis() map[string]string {
	out := map[string]string{}
	for _, f := range p.answer.GetFleets() {
		if f.GetBasis() != "" {
			out[f.GetFleet()] = f.GetBasis()
		}
	}
	return out
}

// The actions of a plan.
const (
	actionCreate  = "create"
	actionResize  = "resize"
	actionRerun   = "rerun"
	actionReplace = "replace"
	actionDelete  = "delete"
	actionKeep    = "keep"
)

// actionSigns are how actions are shown; an empty word is the action itself.
var actionSigns = map[string]struct {
	sign   string
	colour show.Colour
	word   string
}{
	actionCreate:  {"+", show.Green, ""},
	actionResize:  {"~", show.Yellow, "in place"},
	actionRerun:   {"~", show.Yellow, ""},
	actionReplace: {"±", show.Yellow, ""},
	actionDelete:  {"-", show.Red, ""},
	actionKeep:    {"=", show.Grey, ""},
	"change":      {"~", show.Yellow, ""},
}

// planScreen prints a plan for people.
func (a *app) planScreen(p *shownPlan) {
	for _, d := range p.answer.GetDocuments() {
		a.documentPlan(d)
	}
	for i, f := range p.answer.GetFleets() {
		if i > 0 || len(p.answer.GetDocuments()) > 0 {
			a.say("")
		}
		a.fleetPlan(p, f)
	}
}

func (a *app) documentPlan(d *yardmasterv1.DocumentPlan) {
	a.say("%s %s %-8s %s", a.actionSign(d.GetAction()), d.GetAction(), d.GetKind(), d.GetName())
	for _, c := range d.GetCauses() {
		a.say("                 %s", c)
	}
	for _, e := range d.GetEffects() {
		a.say("    effect       %s", e)
	}
	for _, r := range d.GetRefusals() {
		a.say("    %s      %s", a.palette.Paint(show.Red, "refused"), r)
	}
}

func (a *app) actionSign(action string) string {
	s := actionSigns[action]
	return a.palette.Paint(s.colour, first(s.sign, "?"))
}

func (a *app) fleetPlan(p *shownPlan, f *yardmasterv1.FleetPlan) {
	title := fmt.Sprintf("fleet %s, revision %d -> %d", f.GetFleet(), f.GetRevisionFrom(), f.GetRevisionTo())
	switch {
	case f.GetRevisionFrom() == 0:
		title = fmt.Sprintf("fleet %s, new", f.GetFleet())
	case f.GetRevisionFrom() == f.GetRevisionTo():
		title = fmt.Sprintf("fleet %s, revision %d (the same document)", f.GetFleet(), f.GetRevisionTo())
	}
	a.say("%-56s  plan %s (valid until the fleet changes)", a.palette.Paint(show.Bold, title), short(p.id))
	a.say("")
	a.imageSteps(f)
	a.say("  %s keep     %s", a.actionSign(actionKeep), show.Count(int(f.GetKeep()), "node"))
	for _, action := range []string{actionResize, actionRerun, actionReplace, actionCreate, actionDelete} {
		a.planned(f, action)
	}
	for i, n := range f.GetNotes() {
		if i == 0 {
			a.say("")
		}
		a.say("  note        %s", n)
	}
	if len(f.GetNodes()) > 0 {
		a.say("")
		a.say("  order       %sat most %d unavailable, at most %d extra", order(f), f.GetMaxUnavailable(), f.GetMaxSurge())
		a.room(f)
		a.say("  time        %s", takes(f))
		a.say("  brake       destroys %d of %s (%.1f %%), limit %d %%", f.GetDestroys(), show.Count(int(f.GetPresent()), "node"),
			f.GetDestroyPercent(), f.GetDestroyLimitPercent())
		if f.GetCreates() > 0 {
			a.say("              makes %s, limit %d", show.Count(int(f.GetCreates()), "node"), f.GetCreateLimit())
		}
	}
	for _, r := range f.GetRefusals() {
		a.say("  %s     %s", a.palette.Paint(show.Red, "refused"), r)
	}
}

// planned prints the nodes of one action, those of one cause together.
func (a *app) planned(f *yardmasterv1.FleetPlan, action string) {
	type group struct {
		causes           []string
		how              string
		nodes, addresses []string
	}
	var groups []*group
	total := 0
	for _, n := range f.GetNodes() {
		if n.GetAction() != action {
			continue
		}
		total++
		i := slices.IndexFunc(groups, func(g *group) bool { return slices.Equal(g.causes, n.GetCauses()) && g.how == how(n) })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &group{causes: n.GetCauses(), how: how(n)})
		}
		groups[i].nodes = append(groups[i].nodes, strings.TrimPrefix(n.GetNode(), f.GetFleet()+"-"))
		if action == actionResize || action == actionRerun {
			continue // they keep their addresses
		}
		groups[i].addresses = append(groups[i].addresses, n.GetAddresses()...)
	}
	if total == 0 {
		a.none(action)
	}
	for _, g := range groups {
		a.say("  %s %-8s %-8s %s%s", a.actionSign(action), word(action), show.Count(len(g.nodes), "node"), some(g.nodes), g.how)
		for _, c := range g.causes {
			a.say("               %s", c)
		}
		if len(g.addresses) > 0 {
			a.say("               %s", some(g.addresses))
		}
	}
}

// none says that a plan has no node of an action; a rare one is not worth a
// line.
func (a *app) none(action string) {
	if action != actionRerun {
		a.say("  %s %-8s 0", a.actionSign(action), word(action))
	}
}

// how says how a machine is changed where it is, or where it is made.
func how(n *yardmasterv1.NodePlan) string {
	switch {
	case n.GetAction() == actionRerun:
		return "   (Ignition runs again on the same machine, whose disk is reset)"
	case n.GetFailureDomain() != "" && n.GetAction() != actionResize:
		return "   (at " + n.GetSite() + ", failure domain " + n.GetFailureDomain() + ")"
	case n.GetAction() != actionResize:
		return ""
	case n.GetHot():
		return "   (hot: while it runs)"
	}
	return "   (with a restart)"
}

func word(action string) string { return first(actionSigns[action].word, action) }

// order is the order in which the plan's actions begin.
func order(f *yardmasterv1.FleetPlan) string {
	var out []string
	for _, action := range []string{actionDelete, actionCreate, actionResize, actionRerun, actionReplace} {
		if slices.ContainsFunc(f.GetNodes(), func(n *yardmasterv1.NodePlan) bool { return n.GetAction() == action }) {
			out = append(out, word(action))
		}
	}
	if len(out) < 2 {
		return ""
	}
	return strings.Join(out, ", then ") + "; "
}

// some lists as many names as fit on a line.
func some(names []string) string {
	const width = 70
	line := ""
	for i, n := range names {
		if len(line)+len(n) > width {
			return fmt.Sprintf("%s and %d more", line, len(names)-i)
		}
		line = strings.TrimPrefix(line+" "+n, " ")
	}
	return line
}
