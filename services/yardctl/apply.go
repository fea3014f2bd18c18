package yardctl

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"yardmaster.dev/pkg/fleet"
	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
	"yardmaster.dev/services/yardctl/progress"
	"yardmaster.dev/services/yardctl/show"
)

// waitFlags are the flags of commands that may wait for their effects.
type waitFlags struct {
	wait    bool
	timeout time.Duration
}

func (w *waitFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.wait, "wait", false, "wait until the nodes are ready, and show how they get there")
	cmd.Flags().DurationVar(&w.timeout, "timeout", 30*time.Minute, "how long --wait waits; then the exit code is 5 and the work goes on")
}

// applyFlags are the flags of apply.
type applyFlags struct {
	waitFlags
	files []string
	plan  string
	yes   bool
	brakes
}

func (a *app) applyCommand() *cobra.Command {
	var f applyFlags
	cmd := &cobra.Command{
		Use: "apply -f FILE", GroupID: groupSpec, Short: "Make the yard be as the files say",
		Long: `apply shows the plan, asks, and submits the documents. What is applied is the
plan that was shown: when something moved in between, the planner refuses.`,
		Example: `  yardctl apply -f web.yaml
  yardctl apply -f web.yaml --yes --wait --timeout 10m
  yardctl apply --plan 7f3c
  yardctl apply -f web.yaml --max-destroy-percent 60
  yardctl apply -f web.yaml --max-create 500`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.read(cmd)
			return a.apply(cmd.Context(), f)
		},
	}
	filesFlag(cmd, &f.files)
	f.waitFlags.add(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	flags.StringVar(&f.plan, "plan", "", "apply the plan with this number, which was shown before")
	f.brakes.add(cmd)
	cmd.MarkFlagsMutuallyExclusive("filename", "plan")
	return cmd
}

func (a *app) apply(ctx context.Context, f applyFlags) error {
	req, err := a.applyRequest(ctx, f)
	if err != nil || req == nil {
		return err
	}
	return a.submit(ctx, f, req)
}

// submit sends what was agreed to, and waits for its effects if asked to.
func (a *app) submit(ctx context.Context, f applyFlags, req *yardmasterv1.ApplyRequest) error {
	if f.plan != "" {
		req.MaxDestroyPercent, req.MaxCreate = cmp.Or(f.destroy, req.MaxDestroyPercent), cmp.Or(f.create, req.MaxCreate)
	}
	// Drawn here, so that sending it again is harmless.
	req.CommandId = rand.Text()
	client, err := a.client()
	if err != nil {
		return err
	}
	answer, err := client.Apply(ctx, connect.NewRequest(req))
	if err != nil {
		return err
	}
	if err := a.complainOf(answered(answer.Msg.GetProblems())); err != nil {
		return err
	}
	verdict := a.results(answer.Msg)
	if verdict != nil || !f.wait {
		return verdict
	}
	var fleets []string
	for _, r := range answer.Msg.GetResults() {
		if r.GetKind() == kindFleet {
			fleets = append(fleets, r.GetName())
		}
	}
	return a.await(ctx, client, fleets, f.timeout)
}

// applyRequest is the kept plan that was asked for, or one that is shown and
// agreed to now; nil if there is nothing to do or nobody agreed.
func (a *app) applyRequest(ctx context.Context, f applyFlags) (*yardmasterv1.ApplyRequest, error) {
	if f.plan != "" {
		return a.kept(f.plan)
	}
	p, err := a.plan(ctx, f.files, f.brakes)
	if err != nil {
		return nil, err
	}
	return a.agreed(p, f)
}

// agreed shows a plan and returns the request that applies it; nil if there
// is nothing to do.
func (a *app) agreed(p *shownPlan, f applyFlags) (*yardmasterv1.ApplyRequest, error) {
	if !a.machine() {
		a.planScreen(p)
		a.say("")
	}
	a.warn(p.answer.GetRead())
	switch {
	case !p.changes() && len(p.refusals()) == 0:
		if a.machine() {
			return nil, a.emit(&yardmasterv1.ApplyResponse{}, nil)
		}
		a.say("nothing to change")
		return nil, nil //nolint:nilnil // see the comment above
	case len(p.refusals()) > 0:
		return nil, refused(errRefused)
	}
	if !f.yes {
		if err := a.agree("apply this plan?"); err != nil {
			return nil, err
		}
	}
	return p.request(), nil
}

var (
	errRefused  = errors.New("the plan would be refused, see above; nothing was sent")
	errNobody   = errors.New("nobody is there to ask; say --yes")
	errDisagree = errors.New("not agreed to, nothing was sent")
)

// agree asks a person.
func (a *app) agree(question string) error {
	if a.machine() {
		return wrongInput(errNobody)
	}
	_, _ = fmt.Fprintf(a.env.Out, "%s [y/N] ", question)
	line, err := bufio.NewReader(a.env.In).ReadString('\n')
	if err != nil && line == "" {
		_, _ = fmt.Fprintln(a.env.Out)
		return wrongInput(errNobody)
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer == "y" || answer == "yes" {
		return nil
	}
	return &exit{code: exitFailed, err: errDisagree}
}

// The kinds of documents.
const (
	kindFleet   = string(fleet.KindFleet)
	kindNetwork = string(fleet.KindNetwork)
	kindSite    = string(fleet.KindSite)
)

// The refusal codes that decide on the exit code; any other is a refusal.
const (
	codeInvalid  = "invalid"
	codeNotFound = "not_found"
	codeBrake    = "brake"
)

// results prints what became of each document and returns the verdict.
func (a *app) results(answer *yardmasterv1.ApplyResponse) error {
	if err := a.emit(answer, func() error {
		for _, r := range answer.GetResults() {
			a.result(r)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, r := range answer.GetResults() {
		if err := refusal(r); err != nil {
			return err
		}
	}
	return nil
}

// result prints what became of a command.
func (a *app) result(r *yardmasterv1.CommandResponse) {
	what := strings.TrimSpace(strings.ToLower(r.GetKind()) + " " + r.GetName())
	switch {
	case r.GetPending():
		a.say("%s %s: %s (command %s)", a.palette.Paint(show.Yellow, "…"), what, first(r.GetSummary(), "stored; it will be decided"), r.GetCommandId())
	case !r.GetAccepted():
		a.say("%s %s: refused: %s", a.palette.Paint(show.Red, "✗"), what, strings.Join(r.GetRefusal(), "; "))
	case r.GetRevision() > 0:
		a.say("%s %s: revision %d accepted: %s", a.palette.Paint(show.Green, "✓"), what, r.GetRevision(), first(r.GetSummary(), "nothing to change"))
	default:
		a.say("%s %s: accepted%s", a.palette.Paint(show.Green, "✓"), what, prefixed(": ", r.GetSummary()))
	}
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// refusal is the exit of a refused command: the screen said why.
func refusal(r *yardmasterv1.CommandResponse) error {
	switch {
	case r.GetAccepted() || r.GetPending():
		return nil
	case r.GetCode() == codeInvalid:
		return silent(exitWrongInput)
	case r.GetCode() == codeNotFound:
		return silent(exitFailed)
	}
	return silent(exitRefused)
}

// await shows the nodes until they are where their fleets want them.
func (a *app) await(ctx context.Context, client yardmasterv1connect.YardServiceClient, fleets []string, timeout time.Duration) error {
	if len(fleets) == 0 {
		return nil
	}
	out := a.env.Out
	if a.machine() {
		out = a.env.Err // stdout holds the answer
	}
	_, _ = fmt.Fprintln(out)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := progress.Show(ctx, client, out, progress.Options{Fleets: fleets, NoColour: a.env.Getenv("NO_COLOR")})
	if errors.Is(err, context.DeadlineExceeded) {
		return &exit{code: exitTimedOut, err: fmt.Errorf("not everything was ready within %s; the work goes on: yardctl get nodes", timeout)}
	}
	return err
}
