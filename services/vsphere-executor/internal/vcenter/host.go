package vcenter

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/services/vsphere-executor/internal/ova"
)

// A lone host, an ESXi without a vCenter, clones nothing. Every VM is made of
// its image by an upload, under the node's name and with the owner key from its
// first moment on. All else, the mark of its config among it, is given to the
// VM once its disk is complete: one of ours without that mark is half-made, by
// somebody who was cut off, and is removed to begin anew.

// hostAgent is how a host without a vCenter calls its interface.
const hostAgent = "HostAgent"

// isHost reports whether the other side is a lone host.
func isHost(vim *vim25.Client) bool { return vim.ServiceContent.About.ApiType == hostAgent }

// hostCan refuses what a pool asks for and a lone host does not have.
func hostCan(j *plan.Job) error {
	lacks := j.VSphere.NeedsVCenter(j.Fleet)
	if len(lacks) == 0 {
		return nil
	}
	return fault.WithHint(
		fault.Newf(fault.Permanent, fault.SpecUnsupported, "the site is a lone ESXi host, and only a vCenter has vsphere.%s", strings.Join(lacks, ", vsphere.")),
		"remove it from the pool and apply, or name a site that has a vCenter")
}

// createOnHost makes the job's VM on a lone host and switches it on, or
// finishes what an earlier try began.
func (c *connection) createOnHost(ctx context.Context, t *executor.Task) (executor.Machine, error) {
	if err := hostCan(t.Job); err != nil {
		return executor.Machine{}, err
	}
	m, err := c.search(ctx, t)
	if err == nil && m == nil {
		m, err = c.bearer(ctx, t)
	}
	if err != nil {
		return executor.Machine{}, err
	}
	found := m != nil
	if !found {
		if err = c.vacant(ctx, t); err == nil {
			m, err = c.upload(ctx, t)
		}
	} else if err = c.own(ctx, t, m); err == nil && m.halfMade() {
		if err = c.destroy(ctx, t, m); err == nil {
			err = errAgain
		}
	}
	if err != nil {
		return executor.Machine{}, err
	}
	made := machineOf(t, m.ref)
	made.Adopted, made.Hot = found, m.hot
	return made, c.adopt(ctx, t, m)
}

// halfMade reports whether the disk of a lone host's VM may be incomplete.
func (m *machine) halfMade() bool { return m.config == "" }

// bearer finds the VM that bears the node's name, whosever it is: before a disk
// is sent on its way it is good to know that the name is free.
func (c *connection) bearer(ctx context.Context, t *executor.Task) (*machine, error) {
	folder, _, err := c.names.folder(ctx, t.Job)
	if err != nil {
		return nil, err
	}
	child, err := object.NewSearchIndex(c.vim).FindChild(ctx, folder, name(t))
	if err != nil {
		return nil, fmt.Errorf("look for VM %s by name: %w", name(t), err)
	}
	if child == nil {
		return nil, nil //nolint:nilnil // no VM is an answer, not an error
	}
	return read(ctx, c.vim, child.Reference())
}

// defaultUploads is how many uploads run at a time where the Site does not say.
const defaultUploads = 2

// limitsOf are a Site's limits as they are for what its address leads to.
func limitsOf(site *fleet.SiteVSphere, vim *vim25.Client) fleet.Limits {
	l := site.Limits
	if isHost(vim) && l.Clones == 0 {
		l.Clones = defaultUploads
	}
	return l
}

// turnWait is how long a job waits for its turn to upload before it lets its
// worker do something else.
const turnWait = 10 * time.Second

// upload makes a VM of the pool's image; it is off and has nothing but its
// owner when it returns.
func (c *connection) upload(ctx context.Context, t *executor.Task) (*machine, error) {
	image, giveBack, err := c.stock.take(t.Job.VSphere.Source.Template)
	if err != nil {
		return nil, err
	}
	defer giveBack()
	p, err := c.names.place(ctx, t.Job)
	if err != nil {
		return nil, err
	}
	leave, err := c.uploadTurn(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	progress, done := c.uploads.begin(name(t), image.state.Name)
	defer done()
	made, err := image.Deploy(ctx, c.vim, ova.Target{
		Name: name(t), Pool: p.pool, Datastore: *p.store, Folder: &p.folder, Network: p.network,
		Edit: func(s *types.VirtualMachineConfigSpec) error { return draftSpec(t, s) }, Permit: t.Permit, Progress: progress,
	})
	if is[*types.DuplicateName](err) {
		return nil, fmt.Errorf("%w: %w", errAgain, err) // somebody was faster: look
	}
	if err != nil {
		return nil, err
	}
	m, err := read(ctx, c.vim, made)
	if err == nil && m == nil {
		err = errAgain
	}
	return m, err
}

// uploadTurn waits a moment for a turn to upload: lines and datastores are no
// faster for more.
func (c *connection) uploadTurn(ctx context.Context) (leave func(), err error) {
	wait, stop := context.WithTimeout(ctx, c.turnWait)
	defer stop()
	leave, err = enter(wait, c.limits.clones)
	if err == nil || ctx.Err() != nil {
		return leave, err
	}
	return nil, &fault.Error{
		Kind: fault.Busy, Reason: fault.UploadWaiting, RetryAfter: c.uploads.patience(time.Now()),
		Err: fmt.Errorf("the disks of %d other machines are on their way to the host", c.uploads.count()),
	}
}

// draftSpec is what a VM has from its first moment on.
func draftSpec(t *executor.Task, s *types.VirtualMachineConfigSpec) error {
	s.InstanceUuid = t.Job.MachineUUID
	s.Annotation = note(t.Job)
	s.ExtraConfig = append(s.ExtraConfig, ownerConfig(t)...)
	// A vApp environment would win over guestinfo in coreos-cloudinit.
	s.VAppConfig = nil
	return nil
}

// settleOnHost fills in what a clone's place has and an uploaded VM's lacks:
// how many disks its image has. What gives a VM its config gives it the pool's
// own disks, too, at once.
func settleOnHost(p *place, t *executor.Task, m *machine, devices object.VirtualDeviceList) *place {
	own := 0
	if !m.halfMade() {
		own = len(t.Job.VSphere.Disks)
	}
	out := *p
	out.template = &template{name: t.Job.VSphere.Source.Template, hot: m.hot, disks: countDisks(devices) - own}
	return &out
}

// placeOnHost resolves all that an upload needs.
func (n *names) placeOnHost(ctx context.Context, dc *mo.Datacenter, w wish) (*place, error) {
	p := &place{folder: dc.VmFolder}
	if err := n.computeOf(ctx, dc, w, p); err != nil {
		return nil, err
	}
	p.host = nil // it has no other
	store, err := n.one(ctx, search{dc.DatastoreFolder, "Datastore", w.datastore})
	if err != nil {
		return nil, err
	}
	p.store = &store
	n.datastores[store] = datastoreName{dc.Name, w.datastore}
	if err := n.portgroups(ctx, dc, w, p); err != nil {
		return nil, err
	}
	// What the image calls its networks need not exist here.
	network, err := n.one(ctx, search{dc.NetworkFolder, "Network", w.portgroups[0]})
	switch {
	case err == nil:
		p.network = &network
	case w.portgroups[0] != "" || fault.Of(err).Reason != fault.NotFound:
		return nil, err
	}
	return p, nil
}

// importTask is in the description of tasks that make a VM by an upload.
const importTask = "ImportVApp"

// importsOfOthers leaves out of the imports under way as many as are our own:
// a lease does not tell its task.
func (c *connection) importsOfOthers(running []ref) []ref {
	if len(running) <= c.uploads.count() {
		return nil
	}
	return running
}
