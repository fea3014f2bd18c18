package ledger

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// round is what was decided together and is written together. While it is
// open the World holds its records already; undo takes them out again.
type round struct {
	shard int
	mem   *memory
	now   time.Time
	by    string
	// items are those that were decided, in order.
	items []*item
	undo  []func()

	events  []*plan.Event
	made    []*plan.Job
	jobs    []string // subjects, in order
	job     map[string]wire.Message
	records []string // subjects, in order
	record  map[string]plan.Record
	steps   map[string]bool
	claims  []*plan.Claim
	release []*plan.Claim
	poison  int
}

func newRound(shard int, mem *memory, now time.Time, by string) *round {
	return &round{
		shard: shard, mem: mem, now: now, by: by,
		job: map[string]wire.Message{}, record: map[string]plan.Record{}, steps: map[string]bool{},
	}
}

// errFull means that the round holds as much as a batch can.
var errFull = errors.New("the batch is full")

// maxClaims bounds how often an input may ask for claims before it is taken
// for poison.
const maxClaims = 8

// add decides an input and takes its outcome in. errFull leaves the round as
// it was.
func (r *round) add(i *item) error {
	mark := r.mark()
	err := i.poison
	if err == nil {
		err = r.decide(i)
	}
	if errors.Is(err, errFull) && len(r.items) > 0 {
		r.reset(mark)
		return errFull
	}
	if errors.Is(err, errFull) {
		err = fmt.Errorf("what follows from it needs more than %d messages", maxMessages)
	}
	if err != nil {
		r.reset(mark)
		i.poison = err
		if err := r.deadLetter(i); err != nil {
			return err
		}
	}
	r.items = append(r.items, i)
	return nil
}

type mark struct{ undo, claims, release, events int }

func (r *round) mark() mark {
	return mark{undo: len(r.undo), claims: len(r.claims), release: len(r.release), events: len(r.events)}
}

// reset takes out what was put since the mark. An outcome is taken in last
// and as a whole, so that only claims can have been put.
func (r *round) reset(m mark) {
	for i := len(r.undo) - 1; i >= m.undo; i-- {
		r.undo[i]()
	}
	r.undo, r.claims, r.release, r.events = r.undo[:m.undo], r.claims[:m.claims], r.release[:m.release], r.events[:m.events]
}

// rollback takes everything out.
func (r *round) rollback() { r.reset(mark{}) }

func (r *round) decide(i *item) error {
	if i.input.Step != nil && i.input.Fleet == plan.YardScope {
		return nil // a ping
	}
	out, err := safely(r.mem.world, i.input, r.now)
	for range maxClaims {
		if err != nil || len(out.Claims) == 0 {
			break
		}
		if len(r.claims)+len(out.Claims) > maxMessages {
			return errFull
		}
		for _, c := range out.Claims {
			r.claims = append(r.claims, c)
			r.undo = append(r.undo, r.mem.world.Put(c))
		}
		out, err = safely(r.mem.world, i.input, r.now)
	}
	if err != nil {
		return err
	}
	if len(out.Claims) > 0 {
		return fmt.Errorf("the decision asks for claims again and again, %d times", maxClaims)
	}
	return r.take(i.input.Fleet, &out)
}

// safely decides; a panic is the input's fault.
func safely(w *plan.World, in plan.Input, now time.Time) (out plan.Outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the decision panicked: %v", p)
		}
	}()
	return plan.Decide(w, in, now)
}

// take takes an outcome in, or leaves the round as it was and says errFull.
func (r *round) take(fleet string, out *plan.Outcome) error {
	subjects := make([]string, len(out.Records))
	fresh := 0
	for i, rec := range out.Records {
		subjects[i] = wire.Subject(r.shard, rec)
		if _, ok := r.record[subjects[i]]; !ok {
			fresh++
		}
	}
	fresh += len(out.Events) + len(out.Jobs) + len(out.Withdrawn) + 1
	if r.size()+fresh > maxMessages {
		return errFull
	}
	jobs := map[string]wire.Message{}
	for _, j := range out.Jobs {
		m, err := wire.Job(j)
		if err != nil {
			return err
		}
		jobs[r.jobSubject(j.JobRef)] = m
	}
	for _, j := range out.Jobs {
		r.addJob(r.jobSubject(j.JobRef), jobs[r.jobSubject(j.JobRef)])
	}
	for _, ref := range out.Withdrawn {
		r.addJob(r.jobSubject(ref), wire.Message{Type: wire.TypeJob})
	}
	for i, rec := range out.Records {
		if _, ok := r.record[subjects[i]]; !ok {
			r.records = append(r.records, subjects[i])
		}
		r.record[subjects[i]] = rec
		r.undo = append(r.undo, r.mem.world.Put(rec))
	}
	if out.Step {
		r.steps[fleet] = true
	}
	r.events = append(r.events, out.Events...)
	r.made = append(r.made, out.Jobs...)
	r.release = append(r.release, out.Releases...)
	return nil
}

// size is how many messages the batch has at least.
func (r *round) size() int { return len(r.events) + len(r.jobs) + len(r.records) + len(r.steps) }

func (r *round) jobSubject(ref plan.JobRef) string {
	return subject.Job(r.shard, string(ref.Worker), ref.Site, ref.Fleet, ref.Node, ref.Number)
}

// addJob notes a job or its withdrawal. A job that is withdrawn in the round
// that made it is written once, empty: its number is used up.
func (r *round) addJob(of string, m wire.Message) {
	if _, ok := r.job[of]; !ok {
		r.jobs = append(r.jobs, of)
	}
	r.job[of] = m
}

// deadLetter sets an input aside that cannot be decided, so that it does not
// block the shard; whoever sent a command gets a receipt that says so.
func (r *round) deadLetter(i *item) error {
	if i.sequence == 0 {
		r.poison++
		return nil // made up by ourselves; the planner skips it from now on
	}
	rec := &plan.DeadLetter{
		Fleet: i.input.Fleet, Node: fmt.Sprintf("_in-%d", i.sequence), Reason: fault.Poison, Since: r.now, Attempts: 1,
		Message: fmt.Sprintf("input %s at %d of shard %d cannot be decided: %v", i.input.ID, i.sequence, r.shard, i.poison),
		Hint:    "nothing was changed by it; yardctl debug ledger shows it, and it is a defect worth reporting",
	}
	out := plan.Outcome{Records: []plan.Record{rec}}
	if i.name.Kind == subject.KindCommand && r.mem.entries[subject.Receipt(r.shard, i.name.Fleet, i.name.ID)].sequence == 0 {
		out.Records = append(out.Records, &plan.Receipt{
			Fleet: i.name.Fleet, ID: i.name.ID, At: r.now, Code: plan.RefusedInvalid,
			Refusal: []string{fmt.Sprintf("no planner can decide this command: %v", i.poison)},
		})
	}
	if err := r.take(i.input.Fleet, &out); err != nil {
		return err
	}
	r.poison++
	return nil
}

// empty reports whether there is nothing to write.
func (r *round) empty() bool { return r.size() == 0 && len(r.claims) == 0 && len(r.release) == 0 }

// claimMessages are the first phase: each claim is made only if nobody else
// holds the thing.
func (r *round) claimMessages(claims []*plan.Claim) ([]*nats.Msg, error) {
	var out []*nats.Msg
	for _, c := range claims {
		of := subject.Claim(c.Kind, c.Thing)
		m, err := wire.Record(c, r.mem.entries[of].kept)
		if err != nil {
			return nil, err
		}
		out = append(out, bus.Rollup(bus.Expect(bus.NewMsg(of, m), r.mem.entries[of].sequence)))
	}
	return out, nil
}
