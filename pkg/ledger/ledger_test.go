package ledger_test

import (
	"fmt"
	"testing"
)

func TestNodesGetReady(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 2, 4} {
		t.Run(fmt.Sprintf("%d shards", shards), func(t *testing.T) {
			t.Parallel()
			y := newYard(t, shards)
			y.planners("p1")
			y.workers(64)
			y.documents()
			for i := range 4 {
				y.apply(fmt.Sprintf("c%d", i), document(fmt.Sprintf("fleet%d", i), 15))
			}
			for i := range 4 {
				y.settled(fmt.Sprintf("fleet%d", i), 15)
			}
			y.noClaimTwice()
			audit := y.verify()
			if audit.Nodes != 60 || audit.Fleets != 4 || audit.Events < 60*5 {
				t.Errorf("Verify = %+v; want 60 nodes of 4 fleets with at least 5 events each", audit)
			}
		})
	}
}
