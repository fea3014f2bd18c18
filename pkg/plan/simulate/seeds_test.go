package simulate

import (
	"flag"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	seed  = flag.Uint64("seed", 0, "run this one seed and tell its story (with -v)")
	count = flag.Int("seeds", 300, "how many seeds to run")
	from  = flag.Uint64("from", 1, "the first of them")
)

// TestSeeds runs whole yards full of mishaps and holds them to what must
// always be. A failing seed is told as a story, with the command that tells
// it again.
func TestSeeds(t *testing.T) {
	t.Parallel()
	if *seed != 0 {
		tell(t, *seed)
		return
	}
	var next atomic.Uint64
	var decisions, crashes, failures atomic.Int64
	next.Store(*from)
	last := *from + uint64(*count)
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for s := next.Add(1) - 1; s < last && failures.Load() == 0; s = next.Add(1) - 1 {
				r := Run(Options{Seed: s})
				decisions.Add(int64(r.Decisions))
				crashes.Add(int64(r.Crashes))
				if r.Err != nil && failures.Add(1) == 1 {
					t.Errorf("%v\n%s", r.Err, ending(s))
				}
			}
		})
	}
	wait.Wait()
	t.Logf("%d seeds, %d decisions, %d crashes of the planner", *count, decisions.Load(), crashes.Load())
}

// ending is the end of a failed seed's story and how to see all of it.
func ending(s uint64) string {
	r := Run(Options{Seed: s, Story: true})
	story := r.Story[max(0, len(r.Story)-60):]
	return fmt.Sprintf("%s\nthe whole story: go test ./plan/simulate -run TestSeeds -seed %d -v", strings.Join(story, "\n"), s)
}

func tell(t *testing.T, s uint64) {
	t.Helper()
	r := Run(Options{Seed: s, Story: true})
	t.Logf("seed %d, %s of a yard's life, %d decisions\n%s", s, r.Lasted, r.Decisions, strings.Join(r.Story, "\n"))
	if r.Err != nil {
		t.Error(r.Err)
	}
}
