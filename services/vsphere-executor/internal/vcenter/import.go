package vcenter

import (
	"context"
	"errors"
	"fmt"
	"time"

	vfault "github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/services/vsphere-executor/internal/image"
	"yardmaster.dev/services/vsphere-executor/internal/ova"
)

// The extra-config keys of templates that we made. A clone may inherit them;
// they mean something on what has the image's name only.
const (
	// keyImage is the yard and the image: the proof that a VM of the image's
	// name is our half-made template, and no one's machine.
	keyImage       = "yardmaster.image"
	keyImageDigest = "yardmaster.image.sha256"
	keyImageSigner = "yardmaster.image.fingerprint"
)

// imageSnapshot is where linked clones branch off. It is taken only of a VM
// whose disks are complete, and so says that they are.
const imageSnapshot = "base"

var draftPaths = []string{
	"name", "config.template", "snapshot", extraPath(keyImage), extraPath(keyImageDigest), extraPath(keyImageSigner),
}

// draft is what bears an image's name in vCenter.
type draft struct {
	ref ref
	// name is the image's or, of what comes out of a content library, a
	// draft's until it is whole.
	name     string
	template bool
	// whole means that its disks are complete.
	whole  bool
	owner  string
	digest string
	signer string
}

func draftOf(o types.ObjectContent) *draft {
	_, whole := snapshotOf(o)
	return &draft{
		ref: o.Obj, name: value[string](o, "name"), template: value[bool](o, "config.template"), whole: whole,
		owner: extraValue(o, keyImage), digest: extraValue(o, keyImageDigest), signer: extraValue(o, keyImageSigner),
	}
}

func snapshotOf(o types.ObjectContent) (types.VirtualMachineSnapshotInfo, bool) {
	s := value[types.VirtualMachineSnapshotInfo](o, "snapshot")
	return s, s.CurrentSnapshot != nil
}

func (d *draft) state(name string) wire.ImageState {
	return wire.ImageState{Name: name, State: wire.ImageReady, SHA256: d.digest, Fingerprint: d.signer, Since: time.Now()}
}

// importImage has the image as a template when it returns: it finds one,
// finishes what an earlier self began, or makes it. A template is marked as
// such by its last step, so that nobody clones from a half-made one.
func (b *Backend) importImage(ctx context.Context, c *connection, i fleet.Image, yard string, permit func(context.Context) error) (wire.ImageState, error) {
	w := &importer{Backend: b, c: c, image: i, owner: yard + "/" + i.Name, permit: permit}
	b.imports.step(i.Name, stepLooking)
	if c.host {
		return w.keep(ctx)
	}
	d, err := w.look(ctx)
	if err != nil || d != nil && d.template {
		return stateOf(d, i.Name), err
	}
	if d == nil {
		if d, err = w.make(ctx); err != nil {
			return wire.ImageState{}, err
		}
	}
	b.imports.step(i.Name, stepFinishing)
	if err := w.finish(ctx, d); err != nil {
		return wire.ImageState{}, err
	}
	c.names.forget() // who looked for the template may look again
	if err := b.imports.store.Remove(i.Name); err != nil {
		b.options.Log.WarnContext(ctx, "the imported image's file stays", "image", i.Name, "err", err.Error())
	}
	return d.state(i.Name), nil
}

func stateOf(d *draft, name string) wire.ImageState {
	if d == nil {
		return wire.ImageState{}
	}
	return d.state(name)
}

// importer is one import.
type importer struct {
	*Backend
	c      *connection
	image  fleet.Image
	owner  string
	permit func(context.Context) error
}

// look finds the template, or our half-made one if it is of use; what is not
// is removed. It returns nil if there is nothing.
func (w *importer) look(ctx context.Context) (*draft, error) {
	dc, err := w.c.names.home(ctx)
	if err != nil {
		return nil, err
	}
	objects, err := below(ctx, w.c.vim, dc.VmFolder, []string{"VirtualMachine"}, draftPaths...)
	if err != nil {
		return nil, fmt.Errorf("look for template %s: %w", w.image.Name, err)
	}
	var found, loose *draft
	for _, o := range objects {
		switch d := draftOf(o); d.name {
		case w.image.Name:
			if found, err = w.judge(ctx, d, dc); err != nil {
				return nil, err
			}
		case w.draftName():
			loose = d
		}
	}
	switch {
	case loose == nil:
		return found, nil
	case found == nil && loose.owner == w.owner && loose.whole:
		return loose, nil
	}
	return found, w.discard(ctx, loose)
}

// judge says of what use the VM is that bears the image's name; nil if it was
// of none, and is gone.
func (w *importer) judge(ctx context.Context, d *draft, dc *mo.Datacenter) (*draft, error) {
	switch {
	case d.template || d.owner == w.owner && d.whole:
		return d, nil
	case d.owner == w.owner:
		return nil, w.discard(ctx, d)
	}
	return nil, fault.WithHint(fault.Newf(fault.Permanent, fault.NameTaken, "a VM of the name %s exists in datacenter %s and is no template", w.image.Name, dc.Name),
		"mark it as a template if it is the image, else rename it; then import again")
}

// discard removes a VM whose transfer broke off. If vCenter still waits for
// its bytes, it refuses for as long as the transfer's lease lasts.
func (w *importer) discard(ctx context.Context, d *draft) error {
	return w.c.perform(ctx, w.work("destroy"), func(ctx context.Context) (*object.Task, error) {
		return object.NewVirtualMachine(w.c.vim, d.ref).Destroy(ctx)
	})
}

// work describes a task of this import.
func (w *importer) work(operation string) work {
	return work{operation: operation, name: w.image.Name, permit: w.permit}
}

// make fetches the image, checks it, and makes a VM of it.
func (w *importer) make(ctx context.Context) (*draft, error) {
	w.mu.Lock()
	site := w.site
	w.mu.Unlock()
	if site == nil {
		return nil, errNoSite
	}
	from, err := shelfOf(w.image, site)
	if err != nil {
		return nil, err
	}
	if from != nil {
		return w.takeDown(ctx, from, site)
	}
	p, file, err := w.fetch(ctx, site)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return w.deploy(ctx, p, file, site)
}

// keep has the image in the store of a lone host, checked and open.
func (w *importer) keep(ctx context.Context) (wire.ImageState, error) {
	if s, ok := w.stock.state(w.image.Name); ok {
		return s, nil
	}
	w.mu.Lock()
	site := w.site
	w.mu.Unlock()
	if site == nil {
		return wire.ImageState{}, errNoSite
	}
	p, file, err := w.fetch(ctx, site)
	if err != nil {
		return wire.ImageState{}, err
	}
	s := (&draft{digest: file.SHA256, signer: file.Signer}).state(w.image.Name)
	return s, w.stock.put(p, file, s)
}

// fetch brings the image to the store and checks it.
func (w *importer) fetch(ctx context.Context, site *fleet.SiteVSphere) (*ova.Package, *image.Image, error) {
	from, err := w.source(w.image, site)
	if err != nil {
		return nil, nil, err
	}
	w.imports.step(w.image.Name, stepFetching)
	file, err := w.imports.store.Fetch(ctx, w.image.Name, from, w.imports.progress(w.image.Name))
	if err != nil {
		return nil, nil, err
	}
	w.imports.step(w.image.Name, stepChecking)
	p, err := ova.Open(file, file.Size)
	if err == nil {
		err = p.Verify(ctx)
	}
	if err == nil {
		return p, file, nil
	}
	if err = errors.Join(err, file.Close()); ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	return nil, nil, errors.Join(fault.WithHint(fault.Newf(fault.Permanent, fault.ImageUntrusted, "the image at %s: %w", from.Location, err),
		"its publisher must build it anew; it is signed, and not whole in itself"), w.imports.store.Remove(w.image.Name))
}

// deploy makes the VM, with the proof of whose it is.
func (w *importer) deploy(ctx context.Context, p *ova.Package, file *image.Image, site *fleet.SiteVSphere) (*draft, error) {
	target, err := w.c.names.imageTarget(ctx, site.Images)
	if err != nil {
		return nil, err
	}
	target.Name = w.image.Name
	target.Permit = w.permit
	target.Progress = w.imports.progress(w.image.Name)
	target.Edit = func(s *types.VirtualMachineConfigSpec) error {
		s.ExtraConfig = append(s.ExtraConfig,
			&types.OptionValue{Key: keyImage, Value: w.owner},
			&types.OptionValue{Key: keyImageDigest, Value: file.SHA256},
			&types.OptionValue{Key: keyImageSigner, Value: file.Signer})
		return nil
	}
	leave, err := w.c.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	w.imports.step(w.image.Name, stepUploading)
	made, err := p.Deploy(ctx, w.c.vim, target)
	if vfault.Is(err, &types.DuplicateName{}) {
		return nil, fmt.Errorf("%w: %w", errAgain, err) // somebody was faster: look
	}
	if err != nil {
		return nil, err
	}
	return &draft{ref: made, name: w.image.Name, owner: w.owner, digest: file.SHA256, signer: file.Signer}, nil
}

// finish takes the snapshot, gives a draft its name and marks the template.
func (w *importer) finish(ctx context.Context, d *draft) error {
	vm := object.NewVirtualMachine(w.c.vim, d.ref)
	if !d.whole {
		err := w.c.perform(ctx, w.work("snapshot"), func(ctx context.Context) (*object.Task, error) {
			return vm.CreateSnapshot(ctx, imageSnapshot, "where linked clones branch off", false, false)
		})
		if err != nil {
			return err
		}
	}
	if d.name != w.image.Name {
		err := w.c.perform(ctx, w.work("rename"), func(ctx context.Context) (*object.Task, error) {
			return vm.Rename(ctx, w.image.Name)
		})
		if err != nil {
			return err
		}
	}
	if err := w.permit(ctx); err != nil {
		return err
	}
	if err := vm.MarkAsTemplate(ctx); err != nil {
		// A twin may have marked it a moment ago.
		var o mo.VirtualMachine
		if again := vm.Properties(ctx, d.ref, []string{"config.template"}, &o); again == nil && o.Config != nil && o.Config.Template {
			return nil
		}
		return fmt.Errorf("mark %s as a template: %w", w.image.Name, err)
	}
	return nil
}

// home is the Site's own datacenter, which images are imported into.
func (n *names) home(ctx context.Context) (*mo.Datacenter, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.datacenterOf(ctx, wish{})
}

// imageTarget resolves the place of a Site's images.
func (n *names) imageTarget(ctx context.Context, where *fleet.SiteImages) (ova.Target, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if where == nil {
		where = &fleet.SiteImages{}
	}
	w := where.WithDefaults()
	t, err := n.imagePlace(ctx, w)
	if fault.Of(err).Reason == fault.NotFound {
		err = fault.WithHint(err, "say so in the Site: spec.vsphere.images has cluster, datastore, folder and network")
	}
	return t, err
}

func (n *names) imagePlace(ctx context.Context, w fleet.SiteImages) (t ova.Target, err error) {
	dc, err := n.datacenterOf(ctx, wish{})
	if err != nil {
		return t, err
	}
	var in place
	if err := n.computeOf(ctx, dc, wish{cluster: w.Cluster}, &in); err != nil {
		return t, err
	}
	t.Pool = in.pool
	if t.Datastore, err = n.one(ctx, search{dc.DatastoreFolder, "Datastore", w.Datastore}); err != nil {
		return t, err
	}
	n.datastores[t.Datastore] = datastoreName{dc.Name, w.Datastore}
	if w.Network != "" {
		network, err := n.one(ctx, search{dc.NetworkFolder, "Network", w.Network})
		if err != nil {
			return t, err
		}
		t.Network = &network
	}
	folder, err := n.walk(ctx, search{dc.VmFolder, "Folder", w.Folder}, (*names).makeFolder)
	t.Folder = &folder
	return t, err
}
