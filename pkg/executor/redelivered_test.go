package executor_test

import (
	"testing"
	"time"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// The acknowledgement of a job that was done gets lost with its executor; the
// machine is removed since. The second delivery must not make it again.
func TestAnsweredJobMakesNothing(t *testing.T) {
	t.Parallel()
	y := newYard(t, 2)
	done := job(1, plan.ActionCreate)
	done.ConfigDigest = y.config("done")
	answer, err := wire.Result(&plan.Result{Node: done.Node, Job: done.Number, Attempt: done.Attempt, MachineID: "m-0"})
	if err != nil {
		t.Fatal(err)
	}
	y.submit(1, done)
	to := subject.Result(1, string(done.Worker), done.Site, done.Fleet, done.Node, done.Number, done.Attempt)
	if _, err := y.executor(t).Publish(t.Context(), bus.Expect(bus.NewMsg(to, answer), 0)); err != nil {
		t.Fatal(err)
	}
	backend := newFake()
	y.start("one", backend)
	stream, err := y.admin.JS().Stream(t.Context(), subject.ShardStream(1))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		c, err := stream.Consumer(t.Context(), subject.ConsumerVSphere(site))
		if err != nil {
			t.Fatal(err)
		}
		if i := c.CachedInfo(); i.Delivered.Stream > 0 && i.NumPending+uint64(i.NumAckPending) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the job was not acknowledged")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if n := len(backend.all()); n != 0 {
		t.Errorf("%d machines; want none: the job was answered before", n)
	}
}
