package plan

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// reach returns the states that can be reached from one, itself included.
func reach(from State) map[State]bool {
	seen := map[State]bool{from: true}
	for queue := []State{from}; len(queue) > 0; queue = queue[1:] {
		for _, to := range moves[queue[0]] {
			if !seen[to] {
				seen[to] = true
				queue = append(queue, to)
			}
		}
	}
	return seen
}

func TestEveryStateIsReachable(t *testing.T) {
	t.Parallel()
	seen := reach(Nothing)
	for _, s := range States() {
		if !seen[s] {
			t.Errorf("no way leads to %s", s)
		}
	}
	for from, facts := range moves {
		for fact, to := range facts {
			if !slices.Contains(States(), to) {
				t.Errorf("%s leads from %q to %q, which States does not list", fact, from, to)
			}
		}
	}
}

func TestEveryUnfinishedStateCanEnd(t *testing.T) {
	t.Parallel()
	for _, s := range States() {
		seen := reach(s)
		if !seen[Ready] || !seen[Deleted] || (s != Deleted && !seen[Failed]) {
			t.Errorf("from %s one cannot reach ready, deleted and failed, but %v", s, seen)
		}
	}
}

func TestEveryJobStateBearsItsTroubles(t *testing.T) {
	t.Parallel()
	for state := range stageActions {
		for _, fact := range []Fact{FactTryFailed, FactBusy, FactRetryDue, FactDeadlinePassed, FactGracePassed, FactGaveUp} {
			if _, ok := Move(state, fact); !ok {
				t.Errorf("Move(%s, %s) is not in the table, though %s has a job", state, fact, state)
			}
		}
	}
}

func TestUnwantedIsHeardEverywhere(t *testing.T) {
	t.Parallel()
	for _, s := range States() {
		to, ok := Move(s, FactUnwanted)
		if want := s != Deleted; ok != want {
			t.Errorf("Move(%s, unwanted) = %q, %v; want %v", s, to, ok, want)
		}
	}
}

func TestMoveKnowsNothingElse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from State
		fact Fact
	}{
		{Ready, FactPlaced},
		{Deleted, FactReported},
		{Pending, FactRendered},
		{Failed, FactRetryDue},
		{Booting, FactRendered},
		{Deleting, FactReported},
		{Preserved, FactReported},
		{Ready, "made_up"},
	} {
		if to, ok := Move(c.from, c.fact); ok {
			t.Errorf("Move(%s, %s) = %s; want no move", c.from, c.fact, to)
		}
	}
}

const statesFile = "../../docs/states.md"

// TestStatesDocument holds the page that people read to the table that the
// planner follows.
func TestStatesDocument(t *testing.T) {
	t.Parallel()
	want := statesPage()
	if *update {
		if err := os.WriteFile(statesFile, []byte(want), 0o644); err != nil { //nolint:gosec // a document for everybody
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(statesFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the table says; run: go test ./plan -run TestStatesDocument -update", statesFile)
	}
}

func statesPage() string {
	var b strings.Builder
	b.WriteString(`# The life of a node

Printed from the table in ` + "`pkg/plan/moves.go`" + ` by its test; do not edit. What is not in the table does not
happen: a repeated, late or reordered message finds no row here, or a job number, attempt or incarnation that
is not its own, and changes nothing. An arrow's words are the facts that take it; they are what
` + "`yardctl describe node`" + ` and the audit log show.

` + "```mermaid\n" + Diagram() + "```\n" + `
Each state ends by a fact, by its deadline or by a person: ` + "`pending`" + ` waits for an address and goes on when one is
free; ` + "`rendering`, `provisioning`, `restarting`, `rerunning` and `deleting`" + ` have one job with a deadline and a number of attempts, and
` + "`restarting`" + ` then waits for its guest for at most ` + "`ready.timeout`" + `, and ` + "`rerunning`" + ` for two minutes more, which has two such
jobs, one after the other; ` +
		"`booting`" + `
and ` + "`joining`" + ` last at most the pool's ` + "`ready.timeout`" + `; ` + "`draining`" + ` lasts until the node's open job is answered or
called back; ` + "`failed`" + ` stands in ` + "`yardctl failed`" + ` until somebody says retry, replace, skip or preserve, or the plan no
longer wants the node. ` + "`preserved`" + ` has its machine kept for inspection, holds its name and addresses and counts for nothing;
it lasts until somebody says replace, or its pool or fleet goes. In a paused fleet no job is begun: a node whose
state has a job waits in it, without a deadline, until the fleet is resumed.
`)
	return b.String()
}
