package gateway

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// poolSpec is what the present revision says of a node's pool. Its zero
// value stands for a pool that is no longer in the spec.
type poolSpec struct {
	pool     *fleet.Pool
	hash     string
	attempts int
	template string
	layers   int
}

// stamp converts a time; the zero time is not sent.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// viewNode shows a node. It holds nothing secret, because the record does
// not; the hash of the phone-home token stays out all the same.
func viewNode(n *plan.Node, spec *poolSpec) *v1.NodeView {
	view := &v1.NodeView{
		Name: n.Name(), Fleet: n.Fleet, Pool: n.Pool, Ordinal: int32(n.Ordinal),
		State: string(n.State), Goal: string(n.Goal),
		Since: stamp(n.Since), Created: stamp(n.Created), ReadyAt: stamp(n.ReadyAt),
		Incarnation: int32(n.Incarnation), Attempt: int32(n.Attempt), AttemptsLimit: int32(spec.attempts),
		Revision: int32(n.Revision), Outdated: spec.hash != "" && (n.PoolHash != spec.hash || n.Chore == plan.ActionResize || n.FormerToken != ""),
		Mac: n.MAC, Site: n.Site, FailureDomain: n.Domain,
		MachineId: n.MachineID, MachineUuid: n.MachineUUID,
		GuestAddress: n.GuestAddress, OsVersion: n.OSVersion,
		ConfigDigest: n.ConfigDigest, ConfigSize: int32(n.ConfigSize),
		Reason: string(n.Reason), Message: n.Message, Hint: n.Hint,
		WaitingFor: waitingFor(n, spec), Due: stamp(n.Due), Deadline: stamp(n.Deadline),
		Trace: n.Trace, Skipped: n.Skipped,
	}
	for _, a := range n.Addresses {
		view.Addresses = append(view.Addresses, a.Addr)
	}
	if n.Job != nil {
		view.Job = viewJob(n)
	}
	return view
}

// viewJob shows a node's open job; it was made when the node entered its
// state or, for a retry, later: the job does not say.
func viewJob(n *plan.Node) *v1.JobView {
	j := n.Job
	return &v1.JobView{
		Node: n.Name(), Number: j.Number, Worker: string(j.Worker), Site: j.Site, Action: string(j.Action),
		Attempt: int32(j.Attempt), Withdrawn: j.Withdrawn, Since: stamp(n.Since), Deadline: stamp(n.Deadline),
	}
}

// jobWords says what a node waits for while a job of it is open.
var jobWords = map[plan.Action]string{
	plan.ActionRender: "rendering its config",
	plan.ActionForget: "removing its config from the bus",
	plan.ActionCreate: "cloning its machine",
	plan.ActionBlank:  "removing its config from the machine",
	plan.ActionResize: "changing its machine's size",
	plan.ActionOffer:  "giving its next config to its machine",
	plan.ActionDelete: "removing its machine",
}

// dueWords says what a node without a job waits for until it is due.
var dueWords = map[plan.DueFor]string{
	plan.DueRetry:   "its next attempt",
	plan.DueGrace:   "the last word of a withdrawn job",
	plan.DueAddress: "a free address",
}

// stateWords says what a node waits for that has neither job nor due time.
var stateWords = map[plan.State]string{
	plan.Pending:    "its turn",
	plan.Rendering:  "its config",
	plan.Booting:    "its first phone-home",
	plan.Joining:    "its readiness check",
	plan.Restarting: "its guest to be seen again",
	plan.Rerunning:  "its guest to run its next config",
	plan.Draining:   "its work to move elsewhere",
	plan.Deleting:   "removing its machine",
}

// waitingFor says in words what must happen next; empty when all is done.
func waitingFor(n *plan.Node, spec *poolSpec) string {
	switch {
	case n.Skipped:
		return "nobody: it is skipped"
	case n.State == plan.Failed:
		return "a person: yardctl retry " + n.Name()
	case n.State == plan.Preserved:
		return "a person: yardctl replace " + n.Name()
	case n.DueFor == plan.DueResume:
		return "the end of a pause: yardctl resume " + n.Fleet
	}
	if n.Job != nil {
		return waitingForJob(n.Job, spec)
	}
	if n.State == plan.Booting && spec.pool != nil && spec.pool.Ready.By == fleet.ReadyByGuestAddress {
		return "its guest address"
	}
	if words := dueWords[n.DueFor]; words != "" && !n.Due.IsZero() {
		return words
	}
	return stateWords[n.State]
}

func waitingForJob(j *plan.OpenJob, spec *poolSpec) string {
	if j.Withdrawn {
		return dueWords[plan.DueGrace]
	}
	if j.Action == plan.ActionCreate && spec.template != "" {
		return "cloning " + spec.template
	}
	return jobWords[j.Action]
}

// viewEvent shows an entry of the audit log.
func viewEvent(e *plan.Event) *v1.EventView {
	view := &v1.EventView{
		Fleet: e.Fleet, Number: e.Number, At: stamp(e.At),
		Incarnation: int32(e.Incarnation), Attempt: int32(e.Attempt),
		Fact: string(e.Fact), From: string(e.From), To: string(e.To), By: e.By,
		Reason: string(e.Reason), Message: e.Message, Revision: int32(e.Revision),
	}
	if e.Node != plan.FleetEvents {
		view.Node = e.Fleet + "-" + e.Node
	}
	if e.Took != 0 {
		view.Took = durationpb.New(e.Took)
	}
	return view
}

// viewFailed shows a dead letter.
func viewFailed(w *plan.World, d *plan.DeadLetter) *v1.FailedView {
	n := w.Node(d.Fleet, d.Node)
	return &v1.FailedView{
		Skipped: n != nil && n.Skipped,
		Node:    d.Fleet + "-" + d.Node, Fleet: d.Fleet, Stage: string(d.Stage), Reason: string(d.Reason),
		Message: d.Message, Hint: d.Hint, Attempts: int32(d.Attempts), Since: stamp(d.Since), Log: d.Log,
	}
}
