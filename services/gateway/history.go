package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// How a revision ended.
const (
	outcomeSettled    = "settled"
	outcomeSuperseded = "superseded"
	outcomeUnderWay   = "under way"
	outcomeFailed     = "failed"
)

// History tells a fleet's revisions, newest first. Without the bus, and for
// revisions whose events have expired, it leaves out when they settled.
func (g *Gateway) History(ctx context.Context, req *connect.Request[v1.HistoryRequest]) (*connect.Response[v1.HistoryResponse], error) {
	out := &v1.HistoryResponse{}
	name := req.Msg.GetFleet()
	var t teller
	shard := 0
	read, err := g.model.read(func(w *plan.World) error {
		f := w.Fleet(name)
		if f == nil || f.Deleted {
			return notFound("fleet", name, "fleets")
		}
		shard, _ = shardOf(w, name)
		t = teller{name, plan.FleetEvents, f.Event}
		out.Revisions = viewRevisions(w, f)
		return nil
	})
	if err != nil {
		return nil, err
	}
	out.Read = read
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	events, err := g.story(ctx, shard, t, maxEvents)
	if err != nil && read.GetWarning() == "" {
		read.Warning = "its events could not be read: " + reasonOf(err)
	}
	endings(out.GetRevisions(), events)
	return connect.NewResponse(out), nil
}

// viewRevisions shows the revisions of the fleet that lives, newest first.
func viewRevisions(w *plan.World, f *plan.Fleet) []*v1.RevisionView {
	var out []*v1.RevisionView
	var before []*plan.Revision
	for number := 1; number <= f.Revision; number++ {
		rev := w.Revision(f.Name, number)
		if rev == nil || rev.FleetUID != f.UID {
			continue // of an earlier fleet of that name
		}
		v := &v1.RevisionView{Number: int32(number), At: stamp(rev.At), By: rev.By, Outcome: outcomeSuperseded}
		if len(before) > 0 {
			v.Fields = viewFields(plan.Differences(&before[len(before)-1].Document, &rev.Document))
		}
		for _, older := range slices.Backward(before) {
			if len(plan.Differences(&older.Document, &rev.Document)) == 0 {
				v.SameAs = int32(older.Number)
				break
			}
		}
		before = append(before, rev)
		out = append(out, v)
	}
	if len(out) > 0 {
		newest := out[len(out)-1]
		newest.Outcome, newest.Standing = standing(w, f)
	}
	slices.Reverse(out)
	return out
}

// standing says how far the newest revision has come.
func standing(w *plan.World, f *plan.Fleet) (outcome, words string) {
	ready, failed, outdated, target := 0, 0, 0, 0
	for _, p := range w.Pools(f.Name) {
		ready, failed, outdated, target = ready+p.Ready, failed+p.Failed, outdated+p.Outdated, target+p.Target
	}
	parts := []string{fmt.Sprintf("%d of %d nodes ready", ready, target)}
	if outdated > 0 {
		parts = append(parts, fmt.Sprintf("%d of older revisions", outdated))
	}
	if failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", failed))
	}
	outcome = outcomeUnderWay
	if f.Settled == f.Revision {
		outcome = outcomeSettled
	} else if failed > 0 {
		outcome = outcomeFailed
	}
	return outcome, strings.Join(parts, ", ")
}

// endings adds what the fleet's events tell of its revisions.
func endings(revisions []*v1.RevisionView, events []*v1.EventView) {
	settled, summary := map[int32]*timestamppb.Timestamp{}, map[int32]string{}
	for _, e := range events {
		fact, number := plan.Fact(e.GetFact()), e.GetRevision()
		if fact == plan.FactRevisionChanged {
			summary[number] = e.GetMessage()
		}
		if fact == plan.FactSettled && settled[number] == nil {
			settled[number] = e.GetAt()
		}
	}
	for i, v := range revisions {
		v.Summary = summary[v.GetNumber()]
		if at := settled[v.GetNumber()]; at != nil {
			v.Outcome, v.Ended = outcomeSettled, at
		} else if i > 0 {
			v.Ended = revisions[i-1].GetAt()
		}
	}
}
