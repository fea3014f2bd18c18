package yardctl

import (
	"context"
	"errors"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/yardctl/show"
)

func (a *app) diffCommand() *cobra.Command {
	var q diffQuestion
	cmd := &cobra.Command{
		Use: "diff FLEET | diff -f FILE", GroupID: groupSpec, Short: "Compare revisions, or files with what is applied, field by field",
		Long: `diff compares the newest revision of a fleet with the one before, or any two
with --from and --to. With -f it compares files with what is applied; what that
would do to nodes is plan's to say.`,
		Example: `  yardctl diff web
  yardctl diff web --from 3 --to 5
  yardctl diff -f web.yaml --exit-code    # 6 when something differs`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (len(q.files) > 0) || len(args) > 1 {
				return wrongInput(errors.New("write yardctl diff FLEET or yardctl diff -f FILE"))
			}
			if len(args) == 1 {
				q.req.Fleet = args[0]
			}
			return a.diff(cmd.Context(), &q)
		},
	}
	filesFlag(cmd, &q.files)
	cmd.Flags().Int32Var(&q.req.From, "from", 0, "the older revision; without it, the one before --to")
	cmd.Flags().Int32Var(&q.req.To, "to", 0, "the newer revision; without it, the newest")
	cmd.Flags().BoolVar(&q.exitCode, "exit-code", false, "end with 6 when something differs")
	return a.complete(cmd, fleetNames)
}

// diffQuestion is what diff is asked.
type diffQuestion struct {
	req      yardmasterv1.DiffRequest
	files    []string
	exitCode bool
}

func (a *app) diff(ctx context.Context, q *diffQuestion) error {
	answer, err := a.difference(ctx, q)
	if err != nil {
		return err
	}
	a.warn(answer.GetRead())
	if err := a.emit(answer, func() error { a.diffScreen(answer); return nil }); err != nil {
		return err
	}
	if q.exitCode && slices.ContainsFunc(answer.GetDocuments(), func(d *yardmasterv1.DocumentDiff) bool {
		return d.GetNew() || len(d.GetFields()) > 0
	}) {
		return silent(exitPending)
	}
	return nil
}

// difference checks files on the spot, then asks the gateway.
func (a *app) difference(ctx context.Context, q *diffQuestion) (*yardmasterv1.DiffResponse, error) {
	if len(q.files) > 0 {
		sources, err := a.read(q.files)
		if err != nil {
			return nil, err
		}
		if _, err := a.check(sources); err != nil {
			return nil, err
		}
		q.req.Sources = sources
	}
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	answer, err := client.Diff(ctx, connect.NewRequest(&q.req))
	if err != nil {
		return nil, err
	}
	return answer.Msg, a.complainOf(answered(answer.Msg.GetProblems()))
}

func (a *app) diffScreen(r *yardmasterv1.DiffResponse) {
	for _, d := range r.GetDocuments() {
		title := strings.ToLower(d.GetKind()) + " " + d.GetName()
		switch {
		case d.GetNew():
			a.say("%s: new", title)
			continue
		case d.GetTo() > 0:
			a.say("%s, revision %d -> %d", title, d.GetFrom(), d.GetTo())
		case d.GetFrom() > 0:
			a.say("%s, revision %d -> the file", title, d.GetFrom())
		default:
			a.say("%s, applied -> the file", title)
		}
		if len(d.GetFields()) == 0 {
			a.say("  no difference")
		}
		for _, f := range d.GetFields() {
			a.field(f)
		}
	}
}

// field prints one difference, line by line.
func (a *app) field(f *yardmasterv1.FieldDiff) {
	a.say("  %s", f.GetPath())
	for _, l := range lineDiff(lines(f.GetWas()), lines(f.GetNow())) {
		a.sided(l.sign, l.text)
	}
}

func multiline(f *yardmasterv1.FieldDiff) bool { return strings.Contains(f.GetWas()+f.GetNow(), "\n") }

func (a *app) sided(sign, text string) {
	colours := map[string]show.Colour{"-": show.Red, "+": show.Green}
	a.say("    %s", a.palette.Paint(colours[sign], sign+" "+text))
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// line is a line of a difference: sign is -, + or blank.
type line struct{ sign, text string }

// contextLines is how many equal lines stand around those that differ.
const contextLines = 2

// lineDiff is the shortest way from one text to another, with a few lines
// around; "..." stands for what is left out.
func lineDiff(was, now []string) []line {
	all := shortest(was, now)
	near := make([]bool, len(all))
	for i, l := range all {
		if l.sign == " " {
			continue
		}
		for j := max(0, i-contextLines); j <= min(len(all)-1, i+contextLines); j++ {
			near[j] = true
		}
	}
	var out []line
	for i, l := range all {
		switch {
		case near[i]:
			out = append(out, l)
		case i == 0 || near[i-1]:
			out = append(out, line{" ", "..."})
		}
	}
	return out
}

// shortest finds the longest common lines; texts too long for its table are
// shown whole, one after the other.
func shortest(was, now []string) []line {
	const most = 4 << 20
	if len(was)*len(now) > most {
		return append(signed("-", was), signed("+", now)...)
	}
	common := make([][]int, len(was)+1)
	for i := range common {
		common[i] = make([]int, len(now)+1)
	}
	for i, old := range slices.Backward(was) {
		for j, next := range slices.Backward(now) {
			if old == next {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []line
	i, j := 0, 0
	for i < len(was) && j < len(now) {
		switch {
		case was[i] == now[j]:
			out = append(out, line{" ", was[i]})
			i, j = i+1, j+1
		case common[i+1][j] >= common[i][j+1]:
			out = append(out, line{"-", was[i]})
			i++
		default:
			out = append(out, line{"+", now[j]})
			j++
		}
	}
	return append(append(out, signed("-", was[i:])...), signed("+", now[j:])...)
}

func signed(sign string, texts []string) []line {
	out := make([]line, 0, len(texts))
	for _, t := range texts {
		out = append(out, line{sign, t})
	}
	return out
}
