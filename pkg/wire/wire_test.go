package wire

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/proto/subject"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

// fill sets every field of v to something that is not its zero value, so
// that a field which a converter forgets shows as a difference.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(int64(*n), 5).UTC()))
		return
	case time.Duration:
		v.Set(reflect.ValueOf(time.Duration(*n) * time.Second))
		return
	case fleet.Duration:
		v.Set(reflect.ValueOf(fleet.Duration{Duration: time.Duration(*n) * time.Second}))
		return
	case fault.Kind:
		v.Set(reflect.ValueOf(fault.Permanent))
		return
	}
	fillKind(v, n)
}

func fillKind(v reflect.Value, n *int) {
	switch v.Kind() { //nolint:exhaustive // what no message holds panics
	case reflect.String:
		v.SetString(fmt.Sprintf("s%d", *n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for _, f := range v.Fields() {
			fill(f, n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(k, n)
			fill(e, n)
			v.SetMapIndex(k, e)
		}
	default:
		panic("fill does not know " + v.Type().String())
	}
}

func filled[T any]() *T {
	v := new(T)
	n := 0
	fill(reflect.ValueOf(v).Elem(), &n)
	return v
}

func TestRecordsSurvive(t *testing.T) {
	t.Parallel()
	for _, want := range []plan.Record{
		filled[plan.Fleet](), filled[plan.Revision](), filled[plan.Node](), filled[plan.DeadLetter](), filled[plan.Receipt](),
		filled[plan.Claim](), filled[plan.Place](), filled[plan.Site](), filled[plan.Network](), filled[plan.Images](), filled[plan.Yard](),
	} {
		t.Run(fmt.Sprintf("%T", want), func(t *testing.T) {
			t.Parallel()
			m, err := Record(want, nil)
			if err != nil {
				t.Fatal(err)
			}
			name, err := subject.Parse(Subject(3, want))
			if err != nil {
				t.Fatal(err)
			}
			got, kept, err := DecodeRecord(name, m.Type, Version, m.Body)
			if err != nil || kept != nil {
				t.Fatalf("DecodeRecord = %v, %v", kept, err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("a field got lost on the way (-want +got):\n%s", d)
			}
		})
	}
}

func TestEmptyRecordsAreFree(t *testing.T) {
	t.Parallel()
	for _, r := range []plan.Record{
		&plan.Claim{Kind: plan.ClaimAddress, Thing: "dmz/10.0.0.7"}, &plan.DeadLetter{Fleet: "web", Node: "edge-0"},
	} {
		m, err := Record(r, nil)
		if err != nil || len(m.Body) != 0 {
			t.Fatalf("Record(%v) = %q, %v; want an empty body", r, m.Body, err)
		}
		name, err := subject.Parse(Subject(0, r))
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := DecodeRecord(name, m.Type, Version, nil)
		if d := cmp.Diff(r, got); d != "" || err != nil {
			t.Errorf("DecodeRecord: %v\n%s", err, d)
		}
	}
}

func TestMessagesSurvive(t *testing.T) {
	t.Parallel()
	check := func(name string, want, got any, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: a field got lost on the way (-want +got):\n%s", name, d)
		}
	}
	job := filled[plan.Job]()
	m, err := Job(job)
	check("job", nil, nil, err)
	gotJob, err := DecodeJob(m.Type, Version, m.Body)
	check("job", job, gotJob, err)

	result := filled[plan.Result]()
	result.Site = "" // it stands in the subject
	m, err = Result(result)
	check("result", nil, nil, err)
	gotResult, err := DecodeResult(m.Type, Version, m.Body)
	check("result", result, gotResult, err)

	seen := filled[plan.Observation]()
	seen.Site = "" // likewise
	m, err = Observation(seen)
	check("observation", nil, nil, err)
	gotSeen, err := DecodeObservation(m.Type, Version, m.Body)
	check("observation", seen, gotSeen, err)

	event := filled[plan.Event]()
	m, err = EncodeEvent(event, []byte("prev"), []byte("record"))
	check("event", nil, nil, err)
	gotEvent, err := DecodeEvent(m.Type, Version, m.Body)
	check("event", &Event{Event: *event, Prev: []byte("prev"), Record: []byte("record")}, gotEvent, err)

	state := filled[ServiceState]()
	m, err = EncodeServiceState(*state)
	check("service state", nil, nil, err)
	gotState, err := DecodeServiceState(m.Type, Version, m.Body)
	check("service state", *state, gotState, err)

	said := filled[GuestReport]()
	m, err = EncodeGuestReport(said)
	check("guest report", nil, nil, err)
	gotSaid, err := DecodeGuestReport(m.Type, Version, m.Body)
	check("guest report", said, gotSaid, err)

	images := filled[SiteImages]()
	m, err = EncodeSiteImages(*images)
	check("site images", nil, nil, err)
	gotImages, err := DecodeSiteImages(m.Type, Version, m.Body)
	check("site images", *images, gotImages, err)

	seat := filled[Seat]()
	m, err = EncodeSeat(*seat)
	check("seat", nil, nil, err)
	gotSeat, err := DecodeSeat(m.Type, Version, m.Body)
	check("seat", *seat, gotSeat, err)
}

// TestCommandsSurvive sends one command of each kind: every pointer field of
// plan.Command by itself.
func TestCommandsSurvive(t *testing.T) {
	t.Parallel()
	typ := reflect.TypeFor[plan.Command]()
	for i := range typ.NumField() {
		if typ.Field(i).Type.Kind() != reflect.Pointer {
			continue
		}
		t.Run(typ.Field(i).Name, func(t *testing.T) {
			t.Parallel()
			want := &plan.Command{ID: "c1", By: "me", At: time.Unix(7, 0).UTC()}
			n := 0
			fill(reflect.ValueOf(want).Elem().Field(i), &n)
			m, err := Command(want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeCommand(m.Type, Version, m.Body)
			if d := cmp.Diff(want, got); d != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, d)
			}
		})
	}
}

// newer is a node record as a later release might write it: with a field
// that we do not know, at the top and inside.
func newer(t *testing.T) []byte {
	t.Helper()
	m := nodeMessage(&plan.Node{Fleet: "web", Pool: "edge", State: plan.Ready, Job: &plan.OpenJob{Number: 3}})
	unknown := protowire.AppendTag(nil, 900, protowire.BytesType)
	unknown = protowire.AppendString(unknown, "from the future")
	m.ProtoReflect().SetUnknown(unknown)
	m.GetJob().ProtoReflect().SetUnknown(unknown)
	body, err := deterministic.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestUnknownFieldsAreWrittenBack(t *testing.T) {
	t.Parallel()
	r, kept, err := DecodeRecord(subject.Name{Kind: subject.KindNode, Fleet: "web", Node: "edge-0"}, TypeNode, Version, newer(t))
	if err != nil {
		t.Fatal(err)
	}
	if kept == nil {
		t.Fatal("the unknown fields were not kept")
	}
	n, ok := r.(*plan.Node)
	if !ok {
		t.Fatalf("DecodeRecord = %T", r)
	}
	changed := *n
	changed.State = plan.Draining
	m, err := Record(&changed, kept)
	if err != nil {
		t.Fatal(err)
	}
	var got ymv1.NodeRecord
	if err := proto.Unmarshal(m.Body, &got); err != nil {
		t.Fatal(err)
	}
	if got.GetState() != string(plan.Draining) {
		t.Errorf("state = %s", got.GetState())
	}
	if len(got.ProtoReflect().GetUnknown()) == 0 || len(got.GetJob().ProtoReflect().GetUnknown()) == 0 {
		t.Error("overwriting the record lost fields of a newer release")
	}
}

func TestOldAndNewSpeak(t *testing.T) {
	t.Parallel()
	// An older writer knows fewer fields: what it does not send is zero.
	body, err := proto.Marshal(&ymv1.NodeRecord{Fleet: "web", Pool: "edge", Ordinal: 2, State: "ready"})
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := DecodeRecord(subject.Name{Kind: subject.KindNode}, TypeNode, Version, body)
	want := &plan.Node{Fleet: "web", Pool: "edge", Ordinal: 2, State: plan.Ready}
	if d := cmp.Diff(plan.Record(want), r); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
	// A version that an older reader would misunderstand is refused.
	if _, _, err := DecodeRecord(subject.Name{Kind: subject.KindNode}, TypeNode, "2", body); err == nil {
		t.Error("a message of version 2 was read")
	}
	if _, _, err := DecodeRecord(subject.Name{Kind: subject.KindNode}, "no such type", Version, body); err == nil {
		t.Error("a message of an unknown type was read")
	}
}

func TestInputRefusesNonsense(t *testing.T) {
	t.Parallel()
	command := subject.Name{Kind: subject.KindCommand, Fleet: "web", ID: "c1"}
	for name, body := range map[string][]byte{"no message": []byte("\xff\xff"), "empty command": nil} {
		if _, err := Input(command, TypeCommand, Version, body); err == nil {
			t.Errorf("%s: Input gave no error", name)
		}
	}
	other, err := Command(&plan.Command{ID: "c2", Place: &plan.PlaceFleet{Name: "web"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Input(command, other.Type, Version, other.Body); err == nil {
		t.Error("a command was read under another command's id")
	}
	if _, err := Input(subject.Name{Kind: subject.KindNode}, TypeNode, Version, nil); err == nil {
		t.Error("a record was read as an input")
	}
}

// A worker may publish under its own site's subjects only; what the body says
// must not reach further.
func TestResultIsOfItsSubject(t *testing.T) {
	t.Parallel()
	r := plan.Result{Node: "edge-0", Job: 7, Attempt: 2, Worker: plan.WorkerVSphere, Action: plan.ActionCreate}
	m, err := Result(&r)
	if err != nil {
		t.Fatal(err)
	}
	for of, good := range map[string]bool{
		subject.Result(0, "vsphere", "dc1", "web", "edge-0", 7, 2): true,
		subject.Result(0, "vsphere", "dc1", "web", "edge-1", 7, 2): false,
		subject.Result(0, "vsphere", "dc1", "web", "edge-0", 8, 2): false,
		subject.Result(0, "vsphere", "dc1", "web", "edge-0", 7, 1): false,
		subject.Result(0, "render", "dc1", "web", "edge-0", 7, 2):  false,
	} {
		name, err := subject.Parse(of)
		if err != nil {
			t.Fatal(err)
		}
		in, err := Input(name, m.Type, Version, m.Body)
		if (err == nil) != good {
			t.Errorf("%s: %v; want it taken: %t", of, err, good)
		}
		if err == nil && in.Result.Site != "dc1" {
			t.Errorf("%s: the result is of site %q; want dc1", of, in.Result.Site)
		}
	}
}
