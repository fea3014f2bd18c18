package yardctl

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/yardctl/show"
)

func (a *app) doctorCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use: "doctor [SITE...]", GroupID: groupYard, Short: "Look for what stands in the way of the yard and its sites, before anyone applies",
		Long: `doctor looks at the yard (bus, planners, renderers, clocks) and at each site, or
those that are named: who holds its seat, whether vCenter can be reached and is
trusted, the login, the clock, the templates, clusters, datastores, networks and
folders that the fleets name, the room, and each privilege that the account
lacks, by object. With -f it looks at the fleets of files that are not applied
yet as well.

It changes nothing and uses the session that the site's executor has: a login
that was refused is not tried again by asking, so that no account is locked.

Each line says what was looked at, what was found and, if it is not well, what
to do. Exit codes: 0 nothing stands in the way (there may be warnings), 1
something does, 2 wrong input, 4 the gateway cannot be reached.`,
		Example: "  yardctl doctor\n  yardctl doctor dc1\n  yardctl doctor -f web.yaml\n  yardctl doctor dc1 -o json",
		Args:    arguments(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &yardmasterv1.DoctorRequest{Sites: args}
			if len(files) > 0 {
				var err error
				if req.Sources, err = a.read(files); err != nil {
					return err
				}
				if _, err = a.check(req.GetSources()); err != nil {
					return err
				}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			answer, err := client.Doctor(cmd.Context(), connect.NewRequest(req))
			if err != nil {
				return err
			}
			if err := a.complainOf(answered(answer.Msg.GetProblems())); err != nil {
				return err
			}
			a.warn(answer.Msg.GetRead())
			return a.diagnosis(answer.Msg)
		},
	}
	filesFlag(cmd, &files)
	return a.complete(cmd, siteNames)
}

// The levels of a check, and how they look.
const (
	levelWarn = "warn"
	levelFail = "fail"
)

// diagnosis prints what was found; it ends with exit code 1 if something
// stands in the way.
func (a *app) diagnosis(m *yardmasterv1.DoctorResponse) error {
	count := map[string]int{}
	tally := func(checks []*yardmasterv1.Check) {
		for _, c := range checks {
			count[c.GetLevel()]++
		}
	}
	tally(m.GetYard())
	for _, s := range m.GetSites() {
		tally(s.GetChecks())
	}
	if err := a.emit(m, func() error {
		a.checkList("yard", m.GetYard())
		for _, s := range m.GetSites() {
			a.say("")
			a.checkList("site "+s.GetSite(), s.GetChecks())
		}
		a.say("")
		a.say("%s", a.prognosis(count))
		return nil
	}); err != nil {
		return err
	}
	if count[levelFail] > 0 {
		return silent(exitFailed)
	}
	return nil
}

func (a *app) prognosis(count map[string]int) string {
	switch fails, warns := count[levelFail], count[levelWarn]; {
	case fails > 0:
		text := show.Count(fails, "check") + " failed"
		if warns > 0 {
			text += ", " + show.Count(warns, "warning")
		}
		return a.palette.Paint(show.Red, text)
	case warns > 0:
		return a.palette.Paint(show.Yellow, "nothing stands in the way; "+show.Count(warns, "warning"))
	}
	return a.palette.Paint(show.Green, "nothing stands in the way")
}

// checkWidth is the widest column of what was looked at.
const checkWidth = 32

func (a *app) checkList(title string, checks []*yardmasterv1.Check) {
	a.say("%s", a.palette.Paint(show.Bold, title))
	width := 0
	for _, c := range checks {
		width = min(checkWidth, max(width, utf8.RuneCountInString(c.GetWhat())))
	}
	for _, c := range checks {
		sign, colour := "✓", show.Green
		switch c.GetLevel() {
		case levelWarn:
			sign, colour = "!", show.Yellow
		case levelFail:
			sign, colour = "✗", show.Red
		}
		whose := ""
		if pools := c.GetPools(); len(pools) > 0 {
			const most = 3
			whose = "  (" + strings.Join(pools[:min(most, len(pools))], ", ")
			if len(pools) > most {
				whose += fmt.Sprintf(" and %d more", len(pools)-most)
			}
			whose += ")"
		}
		indent := strings.Repeat(" ", width+6)
		words := strings.ReplaceAll(strings.TrimSpace(c.GetWords()), "\n", "\n"+indent)
		a.say("  %s %-*s  %s%s", a.palette.Paint(colour, sign), width, c.GetWhat(), words, a.palette.Paint(show.Grey, whose))
		if c.GetHint() != "" {
			a.say("%s%s", indent, a.palette.Paint(colour, "→ ")+c.GetHint())
		}
	}
}
