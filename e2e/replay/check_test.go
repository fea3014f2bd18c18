package replay

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/proto/subject"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

// story writes events and records as a planner would, into one shard.
type story struct {
	t    *testing.T
	ms   []message
	last map[string]*ymv1.Event // by node
	body map[string][]byte
}

func newStory(t *testing.T) *story {
	t.Helper()
	return &story{t: t, last: map[string]*ymv1.Event{}, body: map[string][]byte{}}
}

func (s *story) store(at string, header nats.Header, m proto.Message) []byte {
	s.t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		s.t.Fatal(err)
	}
	name, err := subject.Parse(at)
	if err != nil {
		s.t.Fatal(err)
	}
	s.ms = append(s.ms, message{name: name, subject: at, seq: uint64(len(s.ms) + 1), header: header, body: body})
	return body
}

// move lets a node make a step, in a batch of its own.
func (s *story) move(node string, fact plan.Fact, to plan.State) {
	s.t.Helper()
	e := &ymv1.Event{Fleet: "web", Node: node, Number: 1, Fact: string(fact), To: string(to)}
	if was := s.last[node]; was != nil {
		e.Number, e.From = was.GetNumber()+1, was.GetTo()
		sum := sha256.Sum256(s.body[node])
		e.Prev = sum[:]
	}
	record := &ymv1.NodeRecord{Fleet: "web", Pool: "w", State: string(to), Event: e.GetNumber()}
	body, err := proto.Marshal(record)
	if err != nil {
		s.t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	e.Record = sum[:]
	batch := nats.Header{"Nats-Batch-Id": {fmt.Sprint(len(s.ms))}}
	s.last[node], s.body[node] = e, s.store(subject.Event(0, "web", node, e.GetNumber()), batch, e)
	chain := sha256.Sum256(s.body[node])
	at := subject.Node(0, "web", node)
	for i := range s.ms {
		if s.ms[i].subject == at { // rolled up
			s.ms = append(s.ms[:i], s.ms[i+1:]...)
			break
		}
	}
	s.store(at, nats.Header{"Ym-Chain": {hex.EncodeToString(chain[:])}}, record)
}

func (s *story) check(limits Limits) []string {
	s.t.Helper()
	l := newLedger()
	l.shards, l.ordered = [][]message{s.ms}, [][]event{nil}
	for i := range s.ms {
		if err := l.take(0, &s.ms[i]); err != nil {
			s.t.Fatal(err)
		}
	}
	return l.Check(map[string]Limits{"web": limits})
}

// three ready nodes, of which one is then replaced.
func rollout(t *testing.T) *story {
	t.Helper()
	s := newStory(t)
	for i := range 3 {
		s.move(plan.NodeKey("w", i), plan.FactCreated, plan.Pending)
		s.move(plan.NodeKey("w", i), plan.FactCheckPassed, plan.Ready)
	}
	s.move("w-0", plan.FactOutdated, plan.Draining)
	return s
}

func TestCheck(t *testing.T) {
	t.Parallel()
	limits := Limits{Target: 3, MaxUnavailable: 1}
	for name, c := range map[string]struct {
		harm func(s *story)
		want string // empty: nothing to complain
	}{
		"a roll-out within its budget": {func(*story) {}, ""},
		"two nodes down at once": {func(s *story) {
			s.move("w-1", plan.FactOutdated, plan.Draining)
		}, "2 of 3 are missing"},
		"a node too many": {func(s *story) {
			s.move("w-3", plan.FactCreated, plan.Pending)
		}, "there are 4 for a target of 3"},
		"a record that no event made": {func(s *story) {
			s.ms[len(s.ms)-1].body = append(s.ms[len(s.ms)-1].body, 0x18, 7) // another number
		}, "stored is"},
		"an event that is gone": {func(s *story) {
			s.ms = s.ms[1:]
		}, "event 2 stands where 1 should"},
		"a record that is gone": {func(s *story) {
			s.ms = s.ms[:len(s.ms)-1]
		}, "and no record"},
		"a command without an answer": {func(s *story) {
			s.store(subject.Command(0, "web", "c1"), nil, &ymv1.Command{Id: "c1"})
		}, "command web/c1 has no receipt"},
		"one subject twice": {func(s *story) {
			s.ms = append(s.ms, s.ms[len(s.ms)-1])
		}, "is stored twice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := rollout(t)
			c.harm(s)
			got := strings.Join(s.check(limits), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("Check says %q; want %q", got, c.want)
			}
		})
	}
}
