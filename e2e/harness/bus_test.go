//go:build e2e

package harness_test

import (
	"testing"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/proto/subject"
)

// The configuration that the product prints is one that a real server takes,
// and a power cut right after it loses no stream.
func TestServerTakesTheConfiguration(t *testing.T) {
	v, err := harness.NewVolume(t, "disk", 8<<10)
	if !harness.Need(t, "powercut", err) {
		return
	}
	b := harness.StartBus(t, harness.BusOptions{
		Topology: subject.Topology{Shards: 2, Sites: []string{"dc1"}},
		Store:    v.Path(),
	})
	if err := v.Cut(); err != nil {
		t.Fatal(err)
	}
	b.Servers[0].Kill()
	if err := v.Restore(); err != nil {
		t.Fatal(err)
	}
	b.Servers[0].Start()
	watcher := b.Connect(t, subject.UserWatcher)
	if _, err := bus.Check(t.Context(), watcher); err != nil {
		t.Errorf("after a power cut: %v", err)
	}
}
