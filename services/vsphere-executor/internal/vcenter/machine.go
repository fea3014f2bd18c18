package vcenter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	vfault "github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
)

// The extra-config keys that are ours.
const (
	keyOwner = "yardmaster.owner"
	// keyEpoch is the seat's epoch of who last wrote to the VM.
	keyEpoch = "yardmaster.epoch"
	// keyConfig is the digest of the config that the VM was given.
	keyConfig = "yardmaster.config"
	// keyReport is where a guest without a route to the gateway leaves its
	// report. Every user of the guest can write it.
	keyReport = "guestinfo.yardmaster.report"
)

// Where vCenter tells what a VM takes while it runs.
const (
	pathHotCPU    = "config.cpuHotAddEnabled"
	pathHotMemory = "config.memoryHotAddEnabled"
)

// extraPath is the property path of one extra-config value; the whole list
// costs ten times as much and holds the configs.
func extraPath(key string) string { return `config.extraConfig["` + key + `"]` }

var machinePaths = []string{
	"name", "runtime.powerState", "config.instanceUuid", pathHotCPU, pathHotMemory,
	extraPath(keyOwner), extraPath(keyEpoch), extraPath(keyConfig),
}

// machine is a VM as far as we care.
type machine struct {
	ref    ref
	name   string
	uuid   string
	on     bool
	owner  string
	epoch  int64
	config string
	hot    plan.Hot
}

// read returns nil if the VM does not exist (any more).
func read(ctx context.Context, vim *vim25.Client, r ref) (*machine, error) {
	objects, err := retrieve(ctx, vim, []ref{r}, machinePaths...)
	if err != nil {
		return nil, fmt.Errorf("read VM %s: %w", r.Value, err)
	}
	if len(objects) == 0 {
		return nil, nil //nolint:nilnil // no VM is an answer, not an error
	}
	o := objects[0]
	return &machine{
		ref:    r,
		name:   value[string](o, "name"),
		uuid:   value[string](o, "config.instanceUuid"),
		on:     value[types.VirtualMachinePowerState](o, "runtime.powerState") == types.VirtualMachinePowerStatePoweredOn,
		owner:  extraValue(o, keyOwner),
		epoch:  epochOf(extraValue(o, keyEpoch)),
		config: extraValue(o, keyConfig),
		hot:    plan.Hot{CPU: value[bool](o, pathHotCPU), Memory: value[bool](o, pathHotMemory)},
	}, nil
}

func extraValue(o types.ObjectContent, key string) string {
	s, _ := value[types.OptionValue](o, extraPath(key)).Value.(string)
	return s
}

// epochOf reads an epoch; what is not one is older than all of ours.
func epochOf(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// search finds a job's VM by its identity: by the reference that was
// reported once, else by instance UUID. It returns nil if there is none.
func (c *connection) search(ctx context.Context, t *executor.Task) (*machine, error) {
	if id := t.Job.MachineID; id != "" {
		m, err := read(ctx, c.vim, ref{Type: "VirtualMachine", Value: id})
		if err != nil {
			return nil, err
		}
		// References are given anew when a VM is registered again, perhaps
		// to another VM: the owner decides.
		if m != nil && m.owner == t.Owner.String() {
			return m, nil
		}
		if m != nil && m.owner == "" && m.uuid == "" {
			// It may run all the same, with the node's address.
			return nil, fault.WithHint(fault.Newf(fault.Transient, fault.MachineBusy, "vCenter knows VM %s (%s) and cannot read it", name(t), id),
				"its host or datastore is away: bring it back, or remove the VM from vCenter once it surely is off")
		}
	}
	found, err := object.NewSearchIndex(c.vim).FindByUuid(ctx, nil, t.Job.MachineUUID, true, new(true))
	if err != nil {
		return nil, fmt.Errorf("look for VM %s by UUID %s: %w", name(t), t.Job.MachineUUID, err)
	}
	if found == nil {
		return nil, nil //nolint:nilnil // no VM is an answer, not an error
	}
	return read(ctx, c.vim, found.Reference())
}

// relation is what a VM is to a job.
type relation int

const (
	ours     relation = iota
	halfMade          // a clone of ours that vCenter has not finished
	elder             // the node's machine of another incarnation
	foreign
)

func (m *machine) relation(t *executor.Task) relation {
	if m.owner == t.Owner.String() {
		return ours
	}
	if m.owner == "" {
		if m.uuid == t.Job.MachineUUID {
			return halfMade
		}
		return foreign
	}
	if o, err := executor.ParseOwner(m.owner); err == nil && o.SameNode(t.Owner) {
		return elder
	}
	return foreign
}

// own returns an error unless the VM is the job's.
func (c *connection) own(ctx context.Context, t *executor.Task, m *machine) error {
	relation := m.relation(t)
	if m.owner == "" {
		// A VM in the middle of its clone may bear neither its owner nor even
		// its UUID yet.
		if err := c.settled(ctx, t, m); err != nil {
			return err
		}
	}
	switch relation {
	case ours:
		if m.epoch > t.Epoch {
			// A successor has been here, and we do not know of it yet; or
			// the ledger was restored from a backup, and the seat is ours.
			return t.Permit(ctx)
		}
		return nil
	case halfMade:
		return fault.WithHint(fault.Newf(fault.Transient, fault.MachineBusy, "VM %s has the node's UUID and no owner key, as if it were still being cloned", name(t)),
			"if no clone is under way, one broke off: remove that VM")
	case elder:
		return fault.WithHint(fault.Newf(fault.Transient, fault.MachineBusy, "the node's former VM (%s) still has the name %s", m.owner, m.name),
			"it goes with its own deletion; if that is done, somebody restored the VM: remove it")
	case foreign:
	}
	return fault.WithHint(fault.Newf(fault.Permanent, fault.NameTaken, "a VM of the name %s exists and is not ours (%s, %s)", m.name, m.ref.Value, ownerText(m.owner)),
		"remove or rename that VM, or, in a vCenter, name another folder in the pool; then yardctl retry")
}

// settled returns nil once a VM without an owner cannot be the work of a
// clone under way; clones that begin later are not about it.
func (c *connection) settled(ctx context.Context, t *executor.Task, m *machine) error {
	err := c.noneComing(ctx, t)
	if !errors.Is(err, errAgain) {
		return err
	}
	now, err := read(ctx, c.vim, m.ref)
	if err != nil {
		return err
	}
	if now == nil || *now != *m {
		return errAgain
	}
	return nil
}

func ownerText(owner string) string {
	if owner == "" {
		return "no owner key"
	}
	return "owner " + owner
}

// cloneTask begins the description of clone tasks; the simulator's goes on.
const cloneTask = "VirtualMachine.clone"

// makes reports whether a task of that description makes a VM.
func (c *connection) makes(task string) bool {
	if c.host {
		return strings.Contains(task, importTask)
	}
	return strings.HasPrefix(task, cloneTask)
}

// clonesOfOthers returns the clone tasks under way that this process does not
// wait for: a crashed predecessor's among them, whose VM may yet appear.
func (c *connection) clonesOfOthers(ctx context.Context) ([]ref, error) {
	all, err := c.underWay(ctx)
	if err != nil {
		return nil, err
	}
	var running []ref
	for _, t := range all {
		if t.clone && !c.tasks.knows(t.ref) {
			running = append(running, t.ref)
		}
	}
	if c.host {
		return c.importsOfOthers(running), nil
	}
	return running, nil
}

// name is the VM's name: that of its node.
func name(t *executor.Task) string { return t.Job.Fleet + "-" + t.Job.Node }

// gone reports whether err says that the object of a call does not exist.
func gone(err error) bool { return vfault.Is(err, &types.ManagedObjectNotFound{}) }

// unknownOutcome reports whether a call that changes something may have
// worked although it failed: begin again with a look.
func unknownOutcome(err error) bool {
	return errors.Is(err, errTaskGone) || isTransport(err)
}
