package vcenter

import (
	"context"
	"time"

	"github.com/vmware/govmomi/vim25/types"
	"google.golang.org/protobuf/types/known/timestamppb"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// Machines lists the VMs that carry the yard's mark, but for templates.
func (b *Backend) Machines(ctx context.Context, yard string) ([]*v1.SeenMachine, error) {
	var out []*v1.SeenMachine
	err := b.with(ctx, func(c *connection) error {
		objects, err := below(ctx, c.vim, c.vim.ServiceContent.RootFolder, []string{"VirtualMachine"},
			"name", "runtime.powerState", "config.instanceUuid", "config.createDate", "config.template", pathAddress, extraPath(keyOwner))
		out = out[:0]
		for _, o := range objects {
			if m := seenMachine(o, yard); !value[bool](o, "config.template") && m.GetOwner() != "" {
				out = append(out, m)
			}
		}
		return err
	})
	return out, err
}

func seenMachine(o types.ObjectContent, yard string) *v1.SeenMachine {
	m := &v1.SeenMachine{
		Id: o.Obj.Value, Name: value[string](o, "name"), Uuid: value[string](o, "config.instanceUuid"), Address: address(o),
		On: value[types.VirtualMachinePowerState](o, "runtime.powerState") == types.VirtualMachinePowerStatePoweredOn,
	}
	if made := value[time.Time](o, "config.createDate"); !made.IsZero() {
		m.Made = timestamppb.New(made)
	}
	key := extraValue(o, keyOwner)
	if owner, err := executor.ParseOwner(key); err == nil && owner.Yard == yard {
		m.Owner = key
	}
	return m
}

// RemoveOrphan removes one VM if, at this moment, it carries exactly the
// task's owner key; a VM that is not there (any more) is fine. Whoever asks
// has the proof that nothing belongs to that key.
func (b *Backend) RemoveOrphan(ctx context.Context, t *executor.Task) error {
	b.sightings.dismiss(t.Owner)
	return b.with(ctx, func(c *connection) error {
		m, err := read(ctx, c.vim, ref{Type: "VirtualMachine", Value: t.Job.MachineID})
		if err != nil || m == nil {
			return err
		}
		if m.owner != t.Owner.String() {
			return fault.Newf(fault.Permanent, fault.NameTaken, "VM %s (%s) carries the mark %q and not %q: it is left alone",
				m.name, m.ref.Value, m.owner, t.Owner)
		}
		if err := c.own(ctx, t, m); err != nil {
			return err
		}
		return c.destroy(ctx, t, m)
	})
}
