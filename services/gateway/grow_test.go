package gateway

import (
	"testing"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/proto/subject"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// A yard that gets more shards needs no restart of its gateways.
func TestYardGrows(t *testing.T) {
	t.Parallel()
	y := newYard(t, 2)
	admin := y.connect(subject.UserAdmin)
	defer admin.Close()
	f := y.gateway(Config{})
	shards := func() int {
		resp, err := f.Status(t.Context(), request(&v1.StatusRequest{}))
		if err != nil {
			return 0
		}
		return len(resp.Msg.GetShards())
	}
	if n := shards(); n != 2 {
		t.Fatalf("Status shows %d shards; want 2", n)
	}
	y.shards = 3
	if err := bus.Init(t.Context(), admin, y.topology()); err != nil {
		t.Fatal(err)
	}
	until(t, "the third shard is there", func() bool { return shards() == 3 })
}
