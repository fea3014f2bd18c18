package vsphereexecutor

import (
	"context"
	"log/slog"
	"strings"

	"google.golang.org/protobuf/proto"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/proto/subject"
	v1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/vsphere-executor/internal/vcenter"
)

// asked answers questions about a site.
type asked struct {
	name    string
	runner  *executor.Runner
	backend *vcenter.Backend
	log     *slog.Logger
	// madeUp means that the seal key lies in no file.
	madeUp bool
}

// answers are the questions that the site's active executor answers.
func (e *asked) answers() map[string]executor.Answer {
	return map[string]executor.Answer{
		subject.AskCheckup:  executor.On(e.checkup),
		subject.AskConsole:  executor.On(e.backend.Console),
		subject.AskMachines: executor.On(e.machines),
		subject.AskRemove:   executor.On(e.remove),
	}
}

func (e *asked) machines(ctx context.Context, _ *v1.SeeMachines) (proto.Message, error) {
	yard, err := e.runner.Conn.Yard(ctx)
	if err != nil {
		return nil, err
	}
	machines, err := e.backend.Machines(ctx, yard.UID)
	return &v1.SeeMachinesAnswer{Machines: machines}, err
}

// remove removes a machine that belongs to nobody. The seat is confirmed
// before each step that destroys.
func (e *asked) remove(ctx context.Context, q *v1.RemoveMachine) (proto.Message, error) {
	yard, err := e.runner.Conn.Yard(ctx)
	if err != nil {
		return nil, err
	}
	owner, err := executor.ParseOwner(q.GetOwner())
	if err != nil || owner.Yard != yard.UID || q.GetId() == "" {
		return nil, fault.Newf(fault.Permanent, fault.SpecUnsupported, "remove %s: %q is no mark of this yard", q.GetId(), q.GetOwner())
	}
	if yard.ObserveOnly {
		return nil, fault.Newf(fault.Permanent, fault.SpecUnsupported, "the yard only observes since its restore; resume it first")
	}
	e.log.WarnContext(ctx, "machine of nobody is removed", service.KeySite, e.name, "machine", q.GetId(), "name", q.GetName(), "owner", q.GetOwner(), "by", q.GetBy())
	job := &plan.Job{
		JobRef:      plan.JobRef{Worker: plan.WorkerVSphere, Site: e.name, Fleet: strings.TrimSuffix(q.GetName(), "-"+owner.Node), Node: owner.Node},
		FleetUID:    owner.FleetUID,
		Action:      plan.ActionDelete,
		Incarnation: owner.Incarnation,
		MachineID:   q.GetId(),
	}
	epoch, confirm := e.runner.Confirm()
	task := &executor.Task{Job: job, Owner: owner, Epoch: epoch, Permit: confirm}
	return &v1.RemoveMachineAnswer{}, e.backend.RemoveOrphan(ctx, task)
}
