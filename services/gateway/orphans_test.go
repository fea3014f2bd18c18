package gateway

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// hypervisor is a site's executor that only sees and removes machines.
type hypervisor struct {
	mu       sync.Mutex
	machines []*v1.SeenMachine
}

func (h *hypervisor) answer(what string, body []byte) (proto.Message, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if what == subject.AskMachines {
		return &v1.SeeMachinesAnswer{Machines: h.machines}, nil
	}
	q := &v1.RemoveMachine{}
	err := proto.Unmarshal(body, q)
	h.machines = slices.DeleteFunc(h.machines, func(m *v1.SeenMachine) bool { return m.GetId() == q.GetId() && m.GetOwner() == q.GetOwner() })
	return &v1.RemoveMachineAnswer{}, err
}

// hypervisor lets h answer for site dc1.
func (y *yard) hypervisor(h *hypervisor) {
	y.t.Helper()
	conn := y.connect(subject.ConsumerVSphere("dc1"))
	y.t.Cleanup(conn.Close)
	for _, what := range []string{subject.AskMachines, subject.AskRemove} {
		_, err := conn.NATS().Subscribe(subject.Ask("dc1", what), func(m *nats.Msg) {
			q, err := wire.DecodeQuestion(m.Header.Get(wire.HeaderType), m.Header.Get(wire.HeaderVersion), m.Data)
			if err != nil {
				y.t.Error(err)
				return
			}
			answer, err := h.answer(what, q.GetBody())
			body, err2 := proto.Marshal(answer)
			out, err3 := wire.Answer(&v1.Answer{Body: body})
			if err := errors.Join(err, err2, err3, conn.NATS().PublishMsg(bus.NewMsg(m.Reply, out))); err != nil {
				y.t.Error(err)
			}
		})
		if err := errors.Join(err, conn.NATS().Flush()); err != nil {
			y.t.Fatal(err)
		}
	}
}

// Machines of nobody are found and removed, noted in their fleet's story; all
// others are left alone, and a node without its machine is told.
func TestOrphans(t *testing.T) { //nolint:gocyclo // one story, told in order
	t.Parallel()
	y := newYard(t, 2)
	y.planners()
	y.workers()
	f := y.gateway(Config{})
	f.apply(t, "", yardYAML(2))
	var uid string
	until(t, "the machines are there", func() bool {
		fleets, err := f.ListFleets(t.Context(), request(&v1.ListFleetsRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		uid = fleets.Msg.GetFleets()[0].GetUid()
		return f.nodes(t)[0].GetMachineId() != "" && f.nodes(t)[1].GetMachineId() != ""
	})
	admin := y.connect(subject.UserAdmin)
	defer admin.Close()
	self, err := admin.Yard(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mark := func(fleetUID, node string, incarnation int) string {
		return executor.Owner{Yard: self.UID, FleetUID: fleetUID, Node: node, Incarnation: incarnation}.String()
	}
	h := &hypervisor{machines: []*v1.SeenMachine{
		{Id: "vm-edge-0", Name: "web-edge-0", Owner: mark(uid, "edge-0", 1)},
		{Id: "copy", Name: "copy of web-edge-0", Owner: mark(uid, "edge-0", 1)},
		{Id: "over", Name: "web-edge-0-old", Owner: mark(uid, "edge-0", 0)},
		{Id: "elder", Name: "web-edge-1", Owner: mark("another", "edge-1", 1), Made: timestamppb.New(time.Now().Add(-time.Hour))},
		{Id: "young", Name: "web-edge-1", Owner: mark(uid, "edge-1", 7)},
	}}
	y.hypervisor(h)
	fates := func() map[string]bool {
		t.Helper()
		resp, err := f.ListOrphans(t.Context(), request(&v1.ListOrphansRequest{Site: "dc1"}))
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]bool{}
		for _, o := range resp.Msg.GetOrphans() {
			if o.GetWords() == "" {
				t.Errorf("%v does not say why", o)
			}
			out[o.GetMachineId()+o.GetFleet()+o.GetNode()] = o.GetRemovable()
		}
		return out
	}
	want := map[string]bool{"copywebedge-0": false, "overwebedge-0": true, "elderwebedge-1": true, "youngwebedge-1": false, "webedge-1": false}
	if got := fates(); len(got) != len(want) || !got["overwebedge-0"] || !got["elderwebedge-1"] || got["copywebedge-0"] || got["youngwebedge-1"] {
		t.Errorf("orphans %v; want %v", got, want)
	}
	removed, err := f.RemoveOrphans(t.Context(), request(&v1.RemoveOrphansRequest{Site: "dc1"}))
	if err != nil || len(removed.Msg.GetResults()) != 2 || !removed.Msg.GetResults()[0].GetRemoved() || !removed.Msg.GetResults()[1].GetRemoved() {
		t.Fatalf("RemoveOrphans = %v, %v; want two removed", removed, err)
	}
	if got := fates(); len(got) != 3 {
		t.Errorf("after the removal: %v; want the three that are left alone", got)
	}
	events, err := f.ListEvents(t.Context(), request(&v1.ListEventsRequest{Fleet: "web", Limit: 1000}))
	noted := 0
	for _, e := range events.Msg.GetEvents() {
		if e.GetFact() == "orphan_removed" {
			noted++
		}
	}
	if err != nil || noted != 2 {
		t.Errorf("%d removals are in the fleet's story, %v; want 2", noted, err)
	}
}
