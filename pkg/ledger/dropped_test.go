package ledger

import (
	"log/slog"
	"testing"

	"yardmaster.dev/pkg/plan"
)

// What an executor saw and told once is not told again: when a round is
// dropped because the memory is loaded anew, its observations are kept.
func TestDroppedObservationIsDecidedLater(t *testing.T) {
	t.Parallel()
	p := NewPlanner(PlannerConfig{Log: slog.New(slog.DiscardHandler)})
	p.observed.saw("dc1.web.edge-0.address", &plan.Observation{Node: "edge-0", Address: "10.0.0.10"})
	items := p.observed.take(maxInputs)
	if len(items) != 1 || len(p.observed.take(maxInputs)) != 0 {
		t.Fatalf("%d items; want one, once", len(items))
	}
	p.drop(items)
	again := p.observed.take(maxInputs)
	if len(again) != 1 || again[0].input.Observation.Address != "10.0.0.10" || again[0].input.Fleet != "web" {
		t.Errorf("%d items after the drop; want the observation again", len(again))
	}
}
