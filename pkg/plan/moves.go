package plan

import (
	"maps"
	"slices"
	"strings"
)

// Nothing is the state of a node that never was.
const Nothing State = ""

// moves is the life of a node. What is not in the table does not happen:
// repeated, late or reordered inputs find no row, or a job number, attempt or
// incarnation that is not theirs, and change nothing.
var moves = map[State]map[Fact]State{
	Nothing: {FactCreated: Pending},
	Pending: {
		FactAdmitted: Rendering, FactBusy: Pending, FactOutdated: Pending, FactUnwanted: Deleted,
	},
	Rendering: {
		FactRendered: Provisioning, FactTryFailed: Rendering, FactBusy: Rendering, FactRetryDue: Rendering,
		FactDeadlinePassed: Rendering, FactGracePassed: Rendering, FactGaveUp: Failed,
		FactOutdated: Deleting, FactUnwanted: Deleting,
		FactJobWithdrawn: Rendering, FactCancelAsked: Rendering, FactReplaceAsked: Deleting,
	},
	Provisioning: {
		FactPlaced: Booting, FactConfigLost: Rendering, FactReported: Provisioning, FactAddressTaken: Deleting,
		FactTryFailed: Provisioning, FactBusy: Provisioning, FactRetryDue: Provisioning,
		FactDeadlinePassed: Provisioning, FactGracePassed: Provisioning, FactGaveUp: Failed,
		FactOutdated: Deleting, FactUnwanted: Deleting,
		FactJobWithdrawn: Provisioning, FactCancelAsked: Provisioning, FactReplaceAsked: Deleting,
	},
	Booting: {
		FactReported: Joining, FactBusy: Booting,
		FactDeadlinePassed: Deleting, FactMachineLost: Deleting, FactGaveUp: Failed,
		FactOutdated: Deleting, FactUnwanted: Deleting,
		FactReplaceAsked: Deleting, FactPreserveAsked: Preserved,
	},
	Joining: {
		FactCheckPassed: Ready, FactReported: Joining, FactBusy: Joining,
		FactDeadlinePassed: Deleting, FactMachineLost: Deleting, FactGaveUp: Failed,
		FactOutdated: Deleting, FactUnwanted: Deleting,
		FactReplaceAsked: Deleting, FactPreserveAsked: Preserved,
	},
	Ready: {
		FactBlanked: Ready, FactForgotten: Ready, FactTryFailed: Ready, FactBusy: Ready, FactRetryDue: Ready,
		FactDeadlinePassed: Ready, FactGracePassed: Ready, FactGaveUp: Ready, FactRetryAsked: Ready,
		FactMachineLost: Deleting, FactOutdated: Draining, FactUnwanted: Draining,
		FactResizing: Ready, FactResized: Ready, FactHotRefused: Ready, FactRestarting: Restarting, FactRerunning: Rerunning,
		FactReplaceAsked: Draining, FactPreserveAsked: Preserved,
	},
	Restarting: {
		FactReplaceAsked: Deleting,
		FactResized:      Restarting, FactCheckPassed: Ready, FactTryFailed: Restarting, FactBusy: Restarting,
		FactRetryDue: Restarting, FactDeadlinePassed: Restarting, FactGracePassed: Restarting, FactGaveUp: Failed,
		FactMachineLost: Deleting, FactOutdated: Deleting, FactUnwanted: Deleting,
	},
	Rerunning: {
		FactRendered: Rerunning, FactConfigLost: Rerunning, FactOffered: Rerunning, FactReported: Rerunning, FactCheckPassed: Ready,
		FactTryFailed: Rerunning, FactBusy: Rerunning, FactRetryDue: Rerunning, FactDeadlinePassed: Rerunning, FactGracePassed: Rerunning,
		FactGaveUp: Failed, FactMachineLost: Deleting, FactOutdated: Deleting, FactUnwanted: Deleting, FactReplaceAsked: Deleting,
	},
	Draining: {FactDrained: Deleting, FactUnwanted: Draining},
	Deleting: {
		FactRemoved: Deleted, FactCleared: Pending, FactUnwanted: Deleting,
		FactTryFailed: Deleting, FactBusy: Deleting, FactRetryDue: Deleting,
		FactDeadlinePassed: Deleting, FactGracePassed: Deleting, FactJobWithdrawn: Deleting, FactGaveUp: Failed,
	},
	Deleted: {FactCreated: Pending},
	Failed: {
		FactRetryAsked: Deleting, FactReported: Joining, FactRestarting: Restarting,
		FactRerunning: Rerunning, FactCheckPassed: Ready,
		FactOutdated: Deleting, FactUnwanted: Deleting,
		FactSkipAsked: Failed, FactReplaceAsked: Deleting, FactPreserveAsked: Preserved,
	},
	Preserved: {FactReplaceAsked: Deleting, FactUnwanted: Deleting, FactMachineLost: Deleting},
}

// words are the states by themselves, for sharing their text.
var words = func() map[State]State {
	out := map[State]State{}
	for _, s := range States() {
		out[s] = s
	}
	return out
}()

// Move returns the state that follows; ok is false if the fact means nothing
// in that state.
func Move(from State, fact Fact) (to State, ok bool) {
	to, ok = moves[from][fact]
	return to, ok
}

// States returns the states of a node's life, in its order.
func States() []State {
	return []State{Pending, Rendering, Provisioning, Booting, Joining, Ready, Restarting, Rerunning, Draining, Deleting, Deleted, Failed, Preserved}
}

// Diagram prints the table as a Mermaid state diagram; docs/states.md holds
// it, and a test holds the two together.
func Diagram() string {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n")
	for _, from := range append([]State{Nothing}, States()...) {
		byState := map[State][]string{}
		for fact, to := range moves[from] {
			byState[to] = append(byState[to], string(fact))
		}
		for _, to := range slices.Sorted(maps.Keys(byState)) {
			slices.Sort(byState[to])
			name := string(from)
			if from == Nothing {
				name = "[*]"
			}
			b.WriteString("    " + name + " --> " + string(to) + ": " + strings.Join(byState[to], ", ") + "\n")
		}
	}
	return b.String()
}
