package executor

import (
	"context"
	"strings"
	"testing"
	"unicode/utf8"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
)

// A failure tells in a backend's own words. Words that no message can hold
// must not keep the result from being stored: the job would come again and
// again, for ever.
func TestAnyWordsCanBeTold(t *testing.T) {
	t.Parallel()
	b := newWorkbench(t)
	j := job("w-0", 1)
	b.put(0, j)
	b.work(1, func(context.Context, *plan.Job) *plan.Result {
		long := "502 Bad Gateway \xff\xfe" + strings.Repeat("ö", 2<<20)
		return &plan.Result{Failure: &plan.Failure{
			Kind: fault.Busy, Reason: fault.BackendDown, Message: long, Hint: long, Log: []string{long, long},
		}}
	})
	f := b.result(0, j).Failure
	if f == nil || f.Kind != fault.Busy || !strings.HasPrefix(f.Message, "502 Bad Gateway") || !utf8.ValidString(f.Message) {
		t.Errorf("failure %.100v; want what could be told of it", f)
	}
	b.allAcknowledged()
}
