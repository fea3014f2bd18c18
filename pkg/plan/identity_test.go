package plan

import (
	"regexp"
	"testing"
	"time"

	"yardmaster.dev/pkg/fleet"
)

func TestUUID5IsTheStandards(t *testing.T) {
	t.Parallel()
	// RFC 9562, appendix A.4.
	if got, want := uuid5("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "www.example.com"), "2ed6657d-e927-568b-95e1-2665a8aea6a2"; got != want {
		t.Errorf("uuid5 = %s; want %s", got, want)
	}
}

func TestIdentitiesAreStable(t *testing.T) {
	t.Parallel()
	const yardUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	uid := FleetUID(yardUID, "web", "c1")
	if uid != FleetUID(yardUID, "web", "c1") || uid == FleetUID(yardUID, "web", "c2") {
		t.Errorf("FleetUID does not go by yard, name and command")
	}
	first, second := MachineUUID(yardUID, uid, "a-0", 1), MachineUUID(yardUID, uid, "a-0", 2)
	if first == second || first != MachineUUID(yardUID, uid, "a-0", 1) {
		t.Errorf("MachineUUID does not go by the incarnation")
	}
	if mac := MAC(first); !regexp.MustCompile(`^02(:[0-9a-f]{2}){5}$`).MatchString(mac) || mac == MAC(second) {
		t.Errorf("MAC = %s; want a locally administered one of the machine's own", mac)
	}
	if p := traceparent(first); !regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`).MatchString(p) {
		t.Errorf("traceparent = %s", p)
	}
}

func TestBackoffDoublesUpToTheMost(t *testing.T) {
	t.Parallel()
	r := fleet.Retry{Backoff: fleet.Duration{Duration: 5 * time.Second}, MaxBackoff: fleet.Duration{Duration: time.Minute}}
	for attempt, want := range map[int]time.Duration{
		1: 5 * time.Second, 2: 10 * time.Second, 4: 40 * time.Second, 5: time.Minute, 500: time.Minute,
	} {
		if got := backoff(r, attempt); got != want {
			t.Errorf("backoff(%d) = %s; want %s", attempt, got, want)
		}
	}
}

func TestJitterSpreadsAndRepeats(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]bool{}
	for i := range 100 {
		n := &Node{FleetUID: "uid", Pool: "a", Ordinal: i, Event: 3}
		got := jitter(time.Minute, n)
		if got < 48*time.Second || got > 72*time.Second || got != jitter(time.Minute, n) {
			t.Errorf("jitter(1m) = %s; want the same 80 to 120 per cent each time", got)
		}
		seen[got] = true
	}
	if len(seen) < 95 {
		t.Errorf("100 nodes wait for %d different times", len(seen))
	}
}

func TestHostname(t *testing.T) {
	t.Parallel()
	n := &Node{Fleet: "web", Pool: "edge", Ordinal: 7}
	for template, want := range map[string]string{
		fleet.DefaultHostname:              "web-edge-7",
		"{{ .pool }}{{ .node.ordinal }}":   "edge7",
		"{{ .node.name }}":                 "web-edge-7",
		"fixed":                            "fixed",
		"{{ .vars.x }}":                    "{{ .vars.x }}",
		"{{ broken":                        "{{ broken",
		"{{ .node.fleet }}.{{ .ordinal }}": "web.7",
	} {
		if got := Hostname(template, n); got != want {
			t.Errorf("Hostname(%q) = %q; want %q", template, got, want)
		}
	}
}

func TestSplitKey(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]struct {
		pool    string
		ordinal int
		ok      bool
	}{
		"edge-0": {"edge", 0, true}, "a-b-12": {"a-b", 12, true}, "edge": {}, "-1": {}, "edge-x": {"edge", 0, false}, FleetEvents: {},
	} {
		pool, ordinal, ok := splitKey(key)
		if ok != want.ok || ok && (pool != want.pool || ordinal != want.ordinal) {
			t.Errorf("splitKey(%q) = %q, %d, %v; want %+v", key, pool, ordinal, ok, want)
		}
	}
}

func TestPlaceTakesTheEmptiestShard(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.w.Put(&Yard{UID: "u", Shards: 3})
	y.w.Put(&Place{Fleet: "a", Shard: 0})
	y.w.Put(&Place{Fleet: "b", Shard: 2})
	for i, name := range []string{"c", "c", "d"} {
		y.send(command(YardScope, Command{ID: name + string(rune('0'+i)), Place: &PlaceFleet{Name: name}}))
	}
	if c, d := y.w.Place("c"), y.w.Place("d"); c.Shard != 1 || d.Shard != 0 {
		t.Errorf("c lives in %d, d in %d; want 1 and 0", c.Shard, d.Shard)
	}
}
