package gateway

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// surgery is an executor that notes what it was asked to look at.
type surgery struct {
	mu    sync.Mutex
	asked []*plan.Job
	home  string
}

// surgery answers for site dc1, and holds its seat.
func (y *yard) surgery(s *surgery) {
	y.t.Helper()
	conn := y.connect(subject.ConsumerVSphere("dc1"))
	y.t.Cleanup(conn.Close)
	_, err := conn.NATS().Subscribe(subject.Ask("dc1", subject.AskCheckup), func(m *nats.Msg) {
		q, err := wire.DecodeQuestion(m.Header.Get(wire.HeaderType), m.Header.Get(wire.HeaderVersion), m.Data)
		asked := &v1.Checkup{}
		body, err3 := proto.Marshal(&v1.CheckupAnswer{Checks: []*v1.Check{{Level: levelFail, What: "datastore ds1", Words: "it is full", Pools: []string{"web/edge"}}}})
		out, err4 := wire.Answer(&v1.Answer{Body: body})
		if err := errors.Join(err, proto.Unmarshal(q.GetBody(), asked), err3, err4, conn.NATS().PublishMsg(bus.NewMsg(m.Reply, out))); err != nil {
			y.t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked, s.home = nil, asked.GetPhoneHome()
		for _, body := range asked.GetJobs() {
			j, err := wire.DecodeJob(wire.TypeJob, wire.Version, body)
			if err != nil {
				y.t.Error(err)
				return
			}
			s.asked = append(s.asked, j)
		}
	})
	seat, err2 := wire.EncodeSeat(wire.Seat{Holder: "executor-7", Epoch: 3, Until: time.Now().Add(time.Hour)})
	if err := errors.Join(err, err2, conn.NATS().Flush()); err != nil {
		y.t.Fatal(err)
	}
	if _, err := conn.Publish(y.t.Context(), bus.Rollup(bus.NewMsg(subject.Seat("dc1"), seat))); err != nil {
		y.t.Fatal(err)
	}
}

func (f *frontDoor) doctor(t *testing.T, req *v1.DoctorRequest) *v1.DoctorResponse {
	t.Helper()
	resp, err := f.Doctor(t.Context(), request(req))
	if err != nil {
		t.Fatal(err)
	}
	return resp.Msg
}

func wantCheck(t *testing.T, checks []*v1.Check, level, what, fragment string) {
	t.Helper()
	for _, c := range checks {
		if c.GetLevel() == level && c.GetWhat() == what && strings.Contains(c.GetWords(), fragment) {
			if level == levelFail && c.GetHint() == "" && what != "datastore ds1" {
				t.Errorf("check %v does not say what to do", c)
			}
			return
		}
	}
	t.Errorf("no check %s %s: ...%s... in %v", level, what, fragment, checks)
}

// The doctor answers whatever is wrong: no Site, no planner, nobody at the
// seat, no bus.
func TestDoctor(t *testing.T) { //nolint:gocyclo // one story, told in order
	t.Parallel()
	y := newYard(t, 2)
	f := y.gateway(Config{})
	until(t, "the gateway knows that nobody plans", func() bool {
		m := f.doctor(t, &v1.DoctorRequest{})
		return slices.ContainsFunc(m.GetYard(), func(c *v1.Check) bool { return c.GetWhat() == "shard 1" && c.GetLevel() == levelFail })
	})
	sick := f.doctor(t, &v1.DoctorRequest{})
	wantCheck(t, sick.GetYard(), levelOK, "bus", "as user gateway")
	wantCheck(t, sick.GetYard(), levelFail, "renderer", "none is running")
	wantCheck(t, sick.GetYard(), levelWarn, "sites", "no Site")

	y.planners()
	y.renderers()
	f.apply(t, "", yardYAML(1))
	if _, err := f.Doctor(t.Context(), request(&v1.DoctorRequest{Sites: []string{"dc9"}})); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("Doctor of an unknown site: %v; want not found", err)
	}
	lonely := f.doctor(t, &v1.DoctorRequest{Sites: []string{"dc1"}})
	wantCheck(t, lonely.GetSites()[0].GetChecks(), levelFail, "seat", "nobody holds it")
	wantCheck(t, lonely.GetSites()[0].GetChecks(), levelFail, "vcenter", "no executor holds the site's seat")
	wantCheck(t, lonely.GetSites()[0].GetChecks(), levelOK, "Network dmz", "addresses are free")

	s := &surgery{}
	y.surgery(s)
	until(t, "everybody beats", func() bool {
		return !slices.ContainsFunc(f.doctor(t, &v1.DoctorRequest{}).GetYard(), func(c *v1.Check) bool { return c.GetLevel() != levelOK })
	})
	checks := f.doctor(t, &v1.DoctorRequest{}).GetSites()[0].GetChecks()
	wantCheck(t, checks, levelOK, "seat", "held by executor-7 (epoch 3)")
	wantCheck(t, checks, levelFail, "datastore ds1", "it is full")
	s.mu.Lock()
	j := s.asked[0]
	if len(s.asked) != 1 || j.Fleet != "web" || j.Pool != "edge" || j.VSphere.Source.Template != "flatcar-4593.2.5" || len(j.Networks) != 1 {
		t.Errorf("the executor was asked about %+v; want web/edge", s.asked)
	}
	s.mu.Unlock()

	// A fleet that is not applied yet is looked at like one that is.
	f.doctor(t, &v1.DoctorRequest{Sources: []*v1.Source{{Filename: "new.yaml", Content: []byte(fleetYAML("new", 2))}}})
	s.mu.Lock()
	if len(s.asked) != 2 || s.asked[0].Fleet != "new" {
		t.Errorf("the executor was asked about %d pools; want the new one too", len(s.asked))
	}
	s.mu.Unlock()
	lost := f.doctor(t, &v1.DoctorRequest{Sources: []*v1.Source{{Filename: "lost.yaml", Content: []byte(strings.ReplaceAll(fleetYAML("lost", 2), "dc1", "dc9"))}}})
	stray := strings.Replace(fleetYAML("stray", 2), "ref: dmz", "ref: none", 1)
	wantCheck(t, f.doctor(t, &v1.DoctorRequest{Sources: []*v1.Source{{Filename: "stray.yaml", Content: []byte(stray)}}}).GetSites()[0].GetChecks(),
		levelFail, "Network none", "there is no Network")
	if n := len(lost.GetSites()); n != 2 {
		t.Fatalf("%d sites; want dc1, and dc9 that is not there", n)
	}
	wantCheck(t, lost.GetSites()[1].GetChecks(), levelFail, "site", "there is no Site of that name")
	wrong := f.doctor(t, &v1.DoctorRequest{Sources: []*v1.Source{{Filename: "new.yaml", Content: []byte("kind: Fleet")}}})
	if len(wrong.GetProblems()) == 0 || len(wrong.GetSites()) != 0 {
		t.Errorf("a wrong document: %v; want problems and nothing else", wrong)
	}

	y.server.Shutdown()
	until(t, "the gateway notices", func() bool {
		return f.doctor(t, &v1.DoctorRequest{}).GetRead().GetWarning() == warnBus
	})
	away := f.doctor(t, &v1.DoctorRequest{})
	wantCheck(t, away.GetYard(), levelFail, "bus", "no connection to NATS")
	wantCheck(t, away.GetSites()[0].GetChecks(), levelFail, "vcenter", "not looked at")
	if len(away.GetYard()) != 1 {
		t.Errorf("without the bus %v; want that said and no more", away.GetYard())
	}
}

// renderers says that one renders.
func (y *yard) renderers() {
	y.t.Helper()
	conn := y.connect(subject.UserRenderer)
	y.t.Cleanup(conn.Close)
	y.while("renderer's heartbeat", func(ctx context.Context) error {
		bus.Heartbeat(ctx, conn, func() wire.ServiceState {
			return wire.ServiceState{Service: serviceRenderer, Instance: "renderer-1"}
		})
		return nil
	})
}
