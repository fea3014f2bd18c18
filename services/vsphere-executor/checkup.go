package vsphereexecutor

import (
	"context"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	v1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/vsphere-executor/internal/vcenter"
)

const (
	// busWait and phoneHomeWait bound the looks at the bus and the gateway.
	busWait       = 3 * time.Second
	phoneHomeWait = 3 * time.Second
	// answerIn is how much of the asker's patience is kept for the answer.
	answerIn = 2 * time.Second
)

// checkup says what stands in the way of the site's work.
func (e *asked) checkup(ctx context.Context, q *v1.Checkup) (proto.Message, error) {
	var jobs []*plan.Job
	for _, body := range q.GetJobs() {
		j, err := wire.DecodeJob(wire.TypeJob, wire.Version, body)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, j)
	}
	out := &v1.CheckupAnswer{Checks: []*v1.Check{e.bus(ctx), e.sealing(), reachable(ctx, q.GetPhoneHome())}}
	look := ctx
	if until, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		look, cancel = context.WithDeadline(ctx, until.Add(-answerIn))
		defer cancel()
	}
	out.Checks = append(out.Checks, e.backend.Examine(look, jobs)...)
	return out, nil
}

// bus reads what the work reads: a right that the executor's user lacks at
// the bus shows here.
func (e *asked) bus(ctx context.Context) *v1.Check {
	ctx, cancel := context.WithTimeout(ctx, busWait)
	defer cancel()
	conn := e.runner.Conn
	_, err := bus.Check(ctx, conn, subject.ConfigStream(e.name))
	if err == nil {
		_, err = conn.Last(ctx, subject.ShardStream(0), subject.Seat(e.name))
	}
	if err != nil {
		hint := fault.Of(err).Hint
		if hint == "" {
			hint = "make streams and users as this release wants them: yardmaster bus upgrade; then restart the executor"
		}
		return &v1.Check{Level: vcenter.LevelFail, What: "executor's bus", Words: err.Error(), Hint: hint}
	}
	return &v1.Check{
		Level: vcenter.LevelOK, What: "executor's bus",
		Words: "as user " + conn.User() + " it reads the yard, its seat and its configs",
	}
}

func (e *asked) sealing() *v1.Check {
	if e.madeUp {
		return &v1.Check{
			Level: vcenter.LevelWarn, What: "seal key", Words: "it was made up when the executor started: after a restart, what was sealed before is rendered anew",
			Hint: "give all executors of the site one sealSeedFile; yardmaster bus init makes it",
		}
	}
	return &v1.Check{Level: vcenter.LevelOK, What: "seal key", Words: "read from its file, announced with the seat"}
}

// reachable looks whether nodes could phone home, from where the executor
// is; that their own network lets them is not known here.
func reachable(ctx context.Context, base string) *v1.Check {
	const what = "phone-home"
	if base == "" {
		return &v1.Check{
			Level: vcenter.LevelOK, What: what,
			Words: "the Site says no phoneHome: nodes report to the renderer's gateway, which is not known here",
		}
	}
	ctx, cancel := context.WithTimeout(ctx, phoneHomeWait)
	defer cancel()
	// Its answer does not matter: nobody is called so.
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, strings.TrimRight(base, "/")+"/v1/nodes/nobody/phone-home", http.NoBody)
	if err == nil {
		var resp *http.Response
		if resp, err = http.DefaultTransport.RoundTrip(req); err == nil {
			err = resp.Body.Close()
		}
	}
	if err != nil {
		return &v1.Check{
			Level: vcenter.LevelWarn, What: what, Words: base + " does not answer the executor: " + err.Error(),
			Hint: "start the gateway, or correct spec.phoneHome of the Site; guests may have another way to it than the executor",
		}
	}
	return &v1.Check{
		Level: vcenter.LevelOK, What: what,
		Words: base + " answers the executor; whether guests reach it shows when the first one boots",
	}
}
