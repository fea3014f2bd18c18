package plan

import (
	"fmt"
	"testing"
	"time"

	"yardmaster.dev/pkg/fleet"
)

var start = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// yard is a planner with workers that do everything at once and well.
type yard struct {
	t      *testing.T
	w      *World
	now    time.Time
	queue  []Input
	events []*Event
}

func newYard(t *testing.T) *yard {
	t.Helper()
	y := &yard{t: t, w: NewWorld(0), now: start}
	y.w.Put(&Yard{UID: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", Format: 1, Shards: 1})
	y.w.Put(&Site{Document: fleet.Site{Metadata: fleet.Metadata{Name: "dc1"}}})
	y.w.Put(&Network{Document: fleet.Network{
		Metadata: fleet.Metadata{Name: "dmz"},
		Spec:     fleet.NetworkSpec{Subnet: "10.0.0.0/16", Range: "10.0.0.10-10.0.200.250", Gateway: "10.0.0.1"},
	}})
	return y
}

func (y *yard) send(in Input) {
	y.t.Helper()
	y.queue = append(y.queue, in)
	for len(y.queue) > 0 {
		in := y.queue[0]
		y.queue = y.queue[1:]
		y.decide(in)
	}
}

func (y *yard) decide(in Input) {
	y.t.Helper()
	out, err := Decide(y.w, in, y.now)
	if err != nil {
		y.t.Fatalf("Decide(%s): %v", in.ID, err)
	}
	if len(out.Claims) > 0 {
		for _, c := range out.Claims {
			y.w.Put(c)
		}
		y.queue = append([]Input{in}, y.queue...)
		return
	}
	for _, r := range out.Records {
		y.w.Put(r)
	}
	for _, c := range out.Releases {
		y.w.Put(c)
	}
	y.events = append(y.events, out.Events...)
	if out.Step {
		y.queue = append(y.queue, Input{ID: "step", Fleet: in.Fleet, Step: &Step{}})
	}
	for _, j := range out.Jobs {
		r := &Result{Node: j.Node, Job: j.Number, Attempt: j.Attempt, Incarnation: j.Incarnation, Worker: j.Worker, Action: j.Action}
		switch j.Action {
		case ActionRender:
			r.ConfigDigest, r.TokenSHA256 = "digest", "token-"+j.Node
		case ActionCreate:
			r.MachineID = "vm-" + j.Node
			y.queue = append(y.queue, Input{ID: "ph", Fleet: j.Fleet, Command: &Command{
				ID: "ph-" + j.Node, PhoneHome: &PhoneHome{Node: j.Node, Incarnation: j.Incarnation, TokenSHA256: "token-" + j.Node},
			}})
		}
		y.queue = append(y.queue, Input{ID: fmt.Sprintf("res.%d", j.Number), Fleet: j.Fleet, Result: r})
	}
}

func document(replicas int) fleet.Fleet {
	return fleet.Fleet{
		APIVersion: fleet.APIVersion, Kind: fleet.KindFleet, Metadata: fleet.Metadata{Name: "web"},
		Spec: fleet.FleetSpec{Config: []fleet.Layer{{Role: "base"}}, Pools: []fleet.Pool{{
			Name: "edge", Replicas: replicas, Networks: []fleet.PoolNetwork{{Ref: "dmz"}},
			VSphere: &fleet.VSphere{Site: "dc1", Source: fleet.VSphereSource{Template: "flatcar-4593.2.5"}, CPUs: 2},
		}}},
	}
}

func apply(id string, doc fleet.Fleet) Input {
	return Input{ID: "cmd." + id, Fleet: doc.Metadata.Name, Command: &Command{ID: id, ApplyFleet: &ApplyFleet{Document: doc}}}
}

func TestHappy(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.send(apply("a", document(300)))
	for _, r := range []string{"a"} {
		t.Logf("%+v", y.w.Receipt("web", r))
	}
	t.Logf("%+v", y.w.Pools("web"))
	t.Logf("%+v", y.w.Fleet("web"))
	for i, e := range y.events {
		if i < 30 {
			t.Logf("%s %d %s %s->%s d%d s%d", e.Node, e.Number, e.Fact, e.From, e.To, e.Disrupted, e.Surged)
		}
	}
	doc := document(300)
	doc.Spec.Pools[0].VSphere.CPUs = 4
	hundred := 100
	doc.Spec.Protect.MaxDestroyPercent = &hundred
	p := Preview(y.w, &doc, y.now)
	t.Logf("%s %+v", p.Summary(), p.Changes[0])
	y.send(apply("b", doc))
	t.Logf("%+v", y.w.Pools("web"))
	t.Logf("%+v", y.w.Fleet("web"))
	y.send(Input{ID: "s", Fleet: "web", Command: &Command{ID: "s", Scale: &Scale{Pool: "edge", Target: 5}}})
	t.Logf("%+v", y.w.Pools("web"))
	y.send(Input{ID: "d", Fleet: "web", Command: &Command{ID: "d", DeleteFleet: &DeleteFleet{Name: "web"}}})
	t.Logf("%+v", y.w.Pools("web"))
	t.Logf("%+v", y.w.Fleet("web"))
	t.Logf("%d claims, %d audit", len(y.w.Claims()), len(Audit(y.w, y.now.Add(time.Hour))))
}
