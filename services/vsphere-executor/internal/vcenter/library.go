package vcenter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/vcenter"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/services/vsphere-executor/internal/ova"
)

// shelf is where an item of a content library is.
type shelf struct{ name, item string }

// shelfOf is the content library's item that an image is, nil if it is a
// file. Nobody may name a library but the Site: there is no signature to
// check, so its word is all the trust there is.
func shelfOf(i fleet.Image, site *fleet.SiteVSphere) (*shelf, error) {
	source := site.Images.Source()
	name, item, ok := i.Library(source)
	if !ok {
		return nil, nil //nolint:nilnil // a file is an answer
	}
	if own, _, _ := (fleet.Image{}).Library(source); own != name {
		return nil, fault.WithHint(fault.Newf(fault.Permanent, fault.ImageUntrusted, "the Site does not say that the content library %q is good", name),
			"write library:"+name+" into spec.vsphere.images.from of the Site, and apply it")
	}
	return &shelf{name, item}, nil
}

// draftName is what a VM is called that vCenter makes of a library's item:
// it cannot bear our mark from its first moment, so its name is the mark, and
// the guard against two at once.
func (w *importer) draftName() string {
	sum := sha256.Sum256([]byte(w.owner))
	return w.image.Name + ".importing-" + hex.EncodeToString(sum[:6])
}

// takeDown has vCenter make a VM of a library's item.
func (w *importer) takeDown(ctx context.Context, from *shelf, site *fleet.SiteVSphere) (*draft, error) {
	target, err := w.c.names.imageTarget(ctx, site.Images)
	if err != nil {
		return nil, err
	}
	target.Name = w.draftName()
	leave, err := enter(ctx, w.c.limits.operations)
	if err != nil {
		return nil, err
	}
	defer leave()
	w.imports.step(w.image.Name, stepDeploying)
	if err := w.permit(ctx); err != nil {
		return nil, err
	}
	var made *ref
	err = w.c.rest.use(ctx, func(client *rest.Client) error {
		item, err := from.find(ctx, library.NewManager(client))
		if err != nil {
			return err
		}
		made, err = deployItem(ctx, vcenter.NewManager(client), item, target)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("deploy item %s of content library %s: %w", from.item, from.name, err)
	}
	return &draft{ref: *made, name: target.Name}, w.sign(ctx, *made)
}

// sign puts the mark on a VM that vCenter has made whole.
func (w *importer) sign(ctx context.Context, vm ref) error {
	return w.c.perform(ctx, w.work("reconfigure"), func(ctx context.Context) (*object.Task, error) {
		return object.NewVirtualMachine(w.c.vim, vm).Reconfigure(ctx, types.VirtualMachineConfigSpec{
			ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: keyImage, Value: w.owner}},
		})
	})
}

// find looks the item up.
func (s *shelf) find(ctx context.Context, m *library.Manager) (*library.Item, error) {
	libraries, err := m.FindLibrary(ctx, library.Find{Name: s.name})
	if err != nil {
		return nil, err
	}
	for _, id := range libraries {
		items, err := m.FindLibraryItems(ctx, library.FindItem{LibraryID: id, Name: s.item})
		if err != nil {
			return nil, err
		}
		for _, id := range items {
			item, err := m.GetLibraryItem(ctx, id)
			if err != nil || item.Name == s.item {
				return item, err
			}
		}
	}
	what := "it holds no such item"
	if len(libraries) == 0 {
		what = "there is no such library"
	}
	return nil, fault.WithHint(fault.Newf(fault.Permanent, fault.ImageMissing, "%s", what),
		"govc library.ls shows what there is; correct spec.vsphere.images.from of the Site")
}

// contentLibrary looks whether the content library is there that images come from.
func (p *placing) contentLibrary(ctx context.Context) {
	name, _, ok := (fleet.Image{}).Library(p.site.Images.Source())
	if !ok {
		return
	}
	what := "content library " + name
	var found []string
	err := p.c.rest.use(ctx, func(client *rest.Client) (err error) {
		found, err = library.NewManager(client).FindLibrary(ctx, library.Find{Name: name})
		return err
	})
	switch {
	case err != nil:
		p.fail(what, err)
	case len(found) == 0:
		p.wrong(what, "correct spec.vsphere.images.from of the Site; govc library.ls shows what there is", "there is none that this account sees")
	default:
		p.ok(what, "images come from it")
	}
}

// deployItem makes a VM of an item and returns it when it is whole.
func deployItem(ctx context.Context, m *vcenter.Manager, item *library.Item, to ova.Target) (*ref, error) {
	if item.Type != library.ItemTypeOVF {
		return nil, fault.WithHint(fault.Newf(fault.Permanent, fault.ImageMissing, "it is of type %q, not an OVF", item.Type),
			"a VM template of a library needs no import: it stands in the inventory, and pools may name it (vsphere.source.template)")
	}
	target := vcenter.Target{ResourcePoolID: to.Pool.Value, FolderID: to.Folder.Value}
	spec := vcenter.DeploymentSpec{
		Name: to.Name, DefaultDatastoreID: to.Datastore.Value, StorageProvisioning: string(types.OvfCreateImportSpecParamsDiskProvisioningTypeThin),
		AcceptAllEULA: true, // who put it into the library has read them
	}
	if to.Network != nil {
		says, err := m.FilterLibraryItem(ctx, item.ID, vcenter.FilterRequest{Target: target})
		if err != nil {
			return nil, err
		}
		for _, name := range says.Networks {
			spec.NetworkMappings = append(spec.NetworkMappings, vcenter.NetworkMapping{Key: name, Value: to.Network.Value})
		}
	}
	return m.DeployLibraryItem(ctx, item.ID, vcenter.Deploy{DeploymentSpec: spec, Target: target})
}
