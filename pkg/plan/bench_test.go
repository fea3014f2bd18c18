package plan

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"yardmaster.dev/pkg/fleet"
)

const many = 100_000

const perPool = 5000

// loaded is a World with many ready nodes in pools of at most perPool, as a
// planner has it after its start: every record came off the wire with strings
// of its own.
func loaded(tb testing.TB, count int) (*World, fleet.Fleet) {
	tb.Helper()
	y := newYard(tb)
	doc := testFleet()
	targets := map[string]int{}
	for i := 0; i < count; i += perPool {
		name := fmt.Sprintf("p%d", i/perPool)
		targets[name] = min(perPool, count-i)
		doc.Spec.Pools = append(doc.Spec.Pools, testPool(name, targets[name]))
	}
	network := testNetwork("dmz", "10.0.0.10-10.7.0.0")
	network.Spec.Subnet = "10.0.0.0/8"
	y.w.Put(&Network{Document: network})
	uid := FleetUID(y.w.Yard().UID, "web", "first")
	y.w.Put(&Revision{Fleet: "web", FleetUID: uid, Number: 1, Document: doc})
	y.w.Put(&Fleet{Name: "web", UID: uid, Revision: 1, Settled: 1, Targets: targets, SpecReplicas: targets})
	for _, t := range specThings(&doc) {
		y.w.Put(&Claim{Kind: t.kind, Thing: t.thing, Fleet: "web", FleetUID: uid})
	}
	for i := range count {
		n, c := readyNode(y.w, uid, &doc, i)
		y.w.Put(c)
		y.w.Put(n)
	}
	return y.w, doc
}

func readyNode(w *World, uid string, doc *fleet.Fleet, i int) (*Node, *Claim) {
	pool := doc.Spec.Pools[i/perPool].Name
	key := NodeKey(pool, i%perPool)
	machine := MachineUUID(w.Yard().UID, uid, key, 1)
	a, _ := address("10.0.0.10")
	addr := formatAddress(a + uint32(i))
	hash := ""
	if f := w.fleets["web"]; f != nil {
		hash = strings.Clone(f.hash(pool))
	}
	return &Node{
			Fleet: strings.Clone("web"), FleetUID: strings.Clone(uid), Pool: strings.Clone(pool), Ordinal: i % perPool,
			State: State(strings.Clone(string(Ready))), Since: start, Goal: Goal(strings.Clone(string(Present))),
			Created: start, ReadyAt: start, Incarnation: 1, Attempt: 1, Revision: 1, PoolHash: hash,
			Event: 8, Site: strings.Clone("dc1"), MAC: MAC(machine),
			Addresses:    []Address{{Network: strings.Clone("dmz"), Addr: addr}},
			ConfigDigest: fmt.Sprintf("%064d", i), TokenSHA256: fmt.Sprintf("%064d", i), ConfigSize: 4096,
			MachineID: fmt.Sprintf("vm-%d", i), MachineUUID: machine, GuestAddress: strings.Clone(addr),
			OSVersion: strings.Clone("4593.2.5"), Reported: true,
		}, &Claim{
			Kind: strings.Clone(ClaimAddress), Thing: addressThing("dmz", addr), Fleet: strings.Clone("web"),
			FleetUID: strings.Clone(uid), Node: key, Since: start, Incarnation: 1,
		}
}

// BenchmarkPlan shows what a plan of 10 changes in 100,000 nodes costs; the
// aim is 50 ms.
func BenchmarkPlan(b *testing.B) {
	w, doc := loaded(b, many)
	doc.Spec.Pools = append([]fleet.Pool(nil), doc.Spec.Pools...)
	doc.Spec.Pools[0].Replicas += 10
	b.ReportAllocs()
	for b.Loop() {
		if p := Preview(w, &doc, start); p.Creates != 10 || p.Keep != many {
			b.Fatalf("the plan is %s", p.Summary())
		}
	}
}

// BenchmarkApply is the decision on the same document, with its claims held.
func BenchmarkApply(b *testing.B) {
	w, doc := loaded(b, many)
	doc.Spec.Pools = append([]fleet.Pool(nil), doc.Spec.Pools...)
	doc.Spec.Pools[0].Replicas += 10
	in := applyCommand("more", doc)
	for range 2 {
		out, err := Decide(w, in, start)
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range out.Claims {
			w.Put(c)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		out, err := Decide(w, in, start)
		if err != nil || len(out.Jobs) != 10 {
			b.Fatalf("%d jobs, %v", len(out.Jobs), err)
		}
	}
}

// BenchmarkDecide is one node coming up in a pool of 100,000, from its
// creation to ready and blanked: about ten decisions.
func BenchmarkDecide(b *testing.B) {
	w, doc := loaded(b, many)
	y := newYard(b)
	y.w = w
	decisions := 0
	b.ReportAllocs()
	for b.Loop() {
		n := w.Node("web", NodeKey("p0", decisions%perPool))
		y.send(Input{ID: "obs", Fleet: "web", Observation: &Observation{Node: n.Key(), Incarnation: n.Incarnation, Lost: true}})
		y.run()
		decisions += 7
		y.events = nil
	}
	_ = doc
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(decisions), "ns/decision")
}

// BenchmarkMemory shows what a node costs in memory, its claim included; the
// aim is 1 KiB.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		w, _ := loaded(b, many)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/many, "B/node")
		runtime.KeepAlive(w)
	}
}

// TestPlanDoesNotLookAtEveryNode: a plan of ten changes allocates no more in
// a large fleet than in a small one.
func TestPlanDoesNotLookAtEveryNode(t *testing.T) { // not parallel: it counts allocations
	allocations := func(count int) float64 {
		w, doc := loaded(t, count)
		doc.Spec.Pools = append([]fleet.Pool(nil), doc.Spec.Pools...)
		doc.Spec.Pools[0].Replicas += 10
		return testing.AllocsPerRun(5, func() { Preview(w, &doc, start.Add(time.Hour)) })
	}
	small, large := allocations(100), allocations(perPool) // both in one pool, which has allocations of its own
	if large > small*1.2+50 {
		t.Errorf("a plan allocates %.0f times with %d nodes, %.0f with 100; want about as many", large, perPool, small)
	}
}
