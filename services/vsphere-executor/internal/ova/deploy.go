package ova

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/vmware/govmomi/nfc"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/ovf"
	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Target is where and as what an OVA is deployed.
type Target struct {
	Name string
	// Pool and Datastore are where the VM runs and lies. Folder and Host may
	// be nil: vCenter then picks, a lone host has no choice.
	Pool      types.ManagedObjectReference
	Datastore types.ManagedObjectReference
	Folder    *types.ManagedObjectReference
	Host      *types.ManagedObjectReference
	// Network, if set, is what every network of the OVA is mapped to.
	Network *types.ManagedObjectReference
	// Edit, if set, changes the VM before it is made: extra config that
	// proves whose it is, cards, sizes. It must leave the name alone.
	Edit func(*types.VirtualMachineConfigSpec) error
	// Permit, if set, is asked right before the VM is made, and again and again
	// while it is filled.
	Permit func(context.Context) error
	// Progress, if set, is told how many bytes of the disks are there.
	Progress func(done, total int64)
}

const (
	// leasePoll is the pause between two looks at a lease that is not ready;
	// leaseWait bounds the wait.
	leasePoll = 100 * time.Millisecond
	leaseWait = 5 * time.Minute
	// leaseKeep is how often vCenter is told that the transfer goes on; it
	// takes a lease back after five silent minutes.
	leaseKeep = 10 * time.Second
	// stalled is how long a transfer may stand still.
	stalled = 2 * time.Minute
	// abortWithin bounds the clearing up.
	abortWithin = 10 * time.Second

	thin = string(types.OvfCreateImportSpecParamsDiskProvisioningTypeThin)
)

// ErrStalled means that a transfer stood still for too long.
var ErrStalled = errors.New("no byte was taken for two minutes")

// Deploy makes a VM of the OVA, with thin disks, and returns it switched off.
// The second call finds the name taken. When it fails half-way the lease is
// given back, upon which vCenter removes the VM; a crash leaves it for as long
// as the lease lasts, and the simulator always: whoever comes next must tell
// a half-made VM by what Edit wrote.
func (p *Package) Deploy(ctx context.Context, vim *vim25.Client, t Target) (types.ManagedObjectReference, error) {
	spec, err := p.importSpec(ctx, vim, t)
	if err != nil {
		return types.ManagedObjectReference{}, err
	}
	if t.Permit != nil {
		if err := t.Permit(ctx); err != nil {
			return types.ManagedObjectReference{}, err
		}
	}
	req := &types.ImportVApp{This: t.Pool, Spec: spec.ImportSpec, Folder: t.Folder, Host: t.Host}
	lease, err := importVApp(ctx, vim, req)
	if err != nil {
		return types.ManagedObjectReference{}, fmt.Errorf("import %s: %w", t.Name, err)
	}
	made, err := p.fill(ctx, vim, lease, spec.FileItem, t)
	if err != nil {
		abort(ctx, lease)
		return types.ManagedObjectReference{}, fmt.Errorf("import %s: %w", t.Name, err)
	}
	if err := lease.Complete(ctx); err != nil {
		return types.ManagedObjectReference{}, fmt.Errorf("finish the import of %s: %w", t.Name, err)
	}
	return made, nil
}

// importSpec has vCenter translate the descriptor.
func (p *Package) importSpec(ctx context.Context, vim *vim25.Client, t Target) (*types.OvfCreateImportSpecResult, error) {
	params := &types.OvfCreateImportSpecParams{
		EntityName: t.Name, DiskProvisioning: thin, NetworkMapping: p.networks(t.Network),
	}
	spec, err := ovf.NewManager(vim).CreateImportSpec(ctx, string(p.Descriptor), t.Pool, t.Datastore, params)
	if err != nil {
		return nil, fmt.Errorf("translate the OVF of %s: %w", t.Name, err)
	}
	if len(spec.Error) > 0 {
		return nil, fmt.Errorf("translate the OVF of %s: %w", t.Name, &task.Error{LocalizedMethodFault: &spec.Error[0]})
	}
	vm, ok := spec.ImportSpec.(*types.VirtualMachineImportSpec)
	if !ok {
		return nil, fmt.Errorf("the OVF of %s describes more than one VM", t.Name)
	}
	if t.Edit != nil {
		if err := t.Edit(&vm.ConfigSpec); err != nil {
			return nil, err
		}
	}
	return spec, nil
}

func (p *Package) networks(to *types.ManagedObjectReference) []types.OvfNetworkMapping {
	if to == nil || p.Envelope.Network == nil {
		return nil
	}
	var out []types.OvfNetworkMapping
	for _, n := range p.Envelope.Network.Networks {
		out = append(out, types.OvfNetworkMapping{Name: n.Name, Network: *to})
	}
	return out
}

func importVApp(ctx context.Context, vim *vim25.Client, req *types.ImportVApp) (*nfc.Lease, error) {
	var folder *object.Folder
	if req.Folder != nil {
		folder = object.NewFolder(vim, *req.Folder)
	}
	var host *object.HostSystem
	if req.Host != nil {
		host = object.NewHostSystem(vim, *req.Host)
	}
	return object.NewResourcePool(vim, req.This).ImportVApp(ctx, req.Spec, folder, host)
}

// fill uploads the disks once the lease is ready.
func (p *Package) fill(ctx context.Context, vim *vim25.Client, lease *nfc.Lease, items []types.OvfFileItem, t Target) (types.ManagedObjectReference, error) {
	info, err := await(ctx, lease)
	if err != nil {
		return types.ManagedObjectReference{}, err
	}
	up := &upload{vim: vim, lease: lease, told: time.Now(), progress: t.Progress, permit: t.Permit}
	for _, item := range items {
		i := p.index(item.Path)
		if i < 0 {
			return types.ManagedObjectReference{}, fmt.Errorf("vCenter asks for %q, which is not in the OVA", item.Path)
		}
		up.total += p.Files[i].Size
	}
	for _, item := range items {
		if err := up.file(ctx, p, info, item); err != nil {
			return types.ManagedObjectReference{}, err
		}
	}
	return info.Entity, nil
}

// await polls the lease: a change feed would hang on some servers.
func await(ctx context.Context, lease *nfc.Lease) (*types.HttpNfcLeaseInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	for {
		o, err := lease.Properties(ctx, "state", "info", "error")
		if err != nil {
			return nil, fmt.Errorf("wait for the transfer lease: %w", err)
		}
		switch {
		case o.Error != nil:
			return nil, fmt.Errorf("wait for the transfer lease: %w", &task.Error{LocalizedMethodFault: o.Error})
		case o.State == types.HttpNfcLeaseStateReady && o.Info != nil:
			return o.Info, nil
		case o.State != types.HttpNfcLeaseStateInitializing:
			return nil, fmt.Errorf("the transfer lease is %s", o.State)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the transfer lease: %w", ctx.Err())
		case <-time.After(leasePoll):
		}
	}
}

// abort gives a lease back; the VM that was being made goes with it.
func abort(ctx context.Context, lease *nfc.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortWithin)
	defer cancel()
	_ = lease.Abort(ctx, nil) // it runs out by itself
}

// upload is the transfer of an OVA's files under one lease.
type upload struct {
	vim         *vim25.Client
	lease       *nfc.Lease
	progress    func(done, total int64)
	permit      func(context.Context) error
	done, total int64
	told        time.Time
}

func (u *upload) file(ctx context.Context, p *Package, info *types.HttpNfcLeaseInfo, item types.OvfFileItem) error {
	for _, d := range info.DeviceUrl {
		if d.ImportKey != item.DeviceId {
			continue
		}
		to, err := u.vim.ParseURL(d.Url)
		if err != nil {
			return fmt.Errorf("upload %s: %w", item.Path, err)
		}
		// A host's own certificate may be pinned by a better digest already.
		if d.SslThumbprint != "" && u.vim.Thumbprint(to.Host) == "" {
			u.vim.SetThumbprint(to.Host, d.SslThumbprint)
		}
		content, size, err := p.Open(item.Path)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		watch := time.AfterFunc(stalled, func() { cancel(ErrStalled) })
		defer watch.Stop()
		reader := &metered{ctx: ctx, upload: u, inner: content, watch: watch}
		// The lease's own Upload waits for an updater that reports to a channel.
		if err := u.vim.Upload(ctx, reader, to, manner(item, size)); err != nil {
			return fmt.Errorf("upload %s: %w", item.Path, errors.Join(err, stallOf(ctx)))
		}
		return nil
	}
	return fmt.Errorf("vCenter has no place for %s", item.Path)
}

// manner is how a file is sent: disks are posted as streams, all else is put.
func manner(item types.OvfFileItem, size int64) *soap.Upload {
	if item.Create {
		return &soap.Upload{Method: http.MethodPut, ContentLength: size, Headers: map[string]string{"Overwrite": "t"}}
	}
	return &soap.Upload{Method: http.MethodPost, Type: "application/x-vnd.vmware-streamVmdk", ContentLength: size}
}

func stallOf(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), ErrStalled) {
		return ErrStalled
	}
	return nil
}

// metered counts what is taken from it and keeps the lease alive.
type metered struct {
	ctx    context.Context //nolint:containedctx // io.Reader has none
	upload *upload
	inner  io.Reader
	watch  *time.Timer
}

// Read implements io.Reader.
func (m *metered) Read(b []byte) (int, error) {
	n, err := m.inner.Read(b)
	u := m.upload
	u.done += int64(n)
	m.watch.Reset(stalled)
	if u.progress != nil {
		u.progress(u.done, u.total)
	}
	if time.Since(u.told) > leaseKeep {
		u.told = time.Now()
		if u.permit != nil {
			if refused := u.permit(m.ctx); refused != nil {
				return n, refused
			}
		}
		if failed := u.lease.Progress(m.ctx, int32(100*u.done/max(1, u.total))); failed != nil { //nolint:gosec // a percentage
			return n, fmt.Errorf("keep the transfer lease: %w", failed)
		}
	}
	return n, err
}
