package vcenter

import (
	"context"
	"sync"
	"testing"

	"yardmaster.dev/pkg/executor"
)

// The watch tells how full every datastore is.
func TestDatastoresAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	b.sweepEvery /= 100
	ctx, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	watching.Go(func() {
		if err := b.Watch(ctx, testYard, func(executor.Sighting) {}); err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	waitFor(t, func() bool { return len(b.Datastores()) > 0 })
	for _, d := range b.Datastores() {
		if d.Name != "LocalDS_0" || d.Free <= 0 || d.Capacity < d.Free || !d.Usable {
			t.Errorf("datastore %+v; want LocalDS_0, usable, with room", d)
		}
	}
}
