package vcenter

import (
	"context"
	"errors"
	"fmt"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
)

// template is what clones are made from.
type template struct {
	ref     ref
	name    string
	devices object.VirtualDeviceList
	// store is where its disks lie.
	store *ref
	// disks is how many of the devices are disks.
	disks int
	// hot is what its clones take while they run.
	hot plan.Hot
	// snapshot is where linked clones branch off; nil for full ones.
	snapshot *ref
}

func linked(v *fleet.VSphere) bool { return v.Clone == fleet.CloneLinked }

// templateOf finds a template by name anywhere in the datacenter.
func (n *names) templateOf(ctx context.Context, dc *mo.Datacenter, w wish) (*template, error) {
	objects, err := below(ctx, n.vim, dc.VmFolder, []string{"VirtualMachine"}, "name", "config.template")
	if err != nil {
		return nil, fmt.Errorf("look for template %s: %w", w.template, err)
	}
	var hits []ref
	ordinary := false
	for _, o := range objects {
		switch {
		case value[string](o, "name") != w.template:
		case value[bool](o, "config.template"):
			hits = append(hits, o.Obj)
		default:
			ordinary = true
		}
	}
	if len(hits) != 1 {
		return nil, noTemplate(w.template, dc.Name, len(hits), ordinary)
	}
	return n.shape(ctx, hits[0], w)
}

// errTemplates means that a template is missing because there are too many.
var errTemplates = errors.New("there is no telling which one is meant")

func noTemplate(name, dc string, hits int, ordinary bool) error {
	text := fmt.Sprintf("template %q does not exist in datacenter %s", name, dc)
	hint := "import the image and mark it as a template, or correct os.version or source.template; then yardctl retry"
	switch {
	case hits > 1:
		text = fmt.Sprintf("datacenter %s has %d templates of the name %q", dc, hits, name)
		hint = "rename all but one of them, then yardctl retry"
	case ordinary:
		text = fmt.Sprintf("%q in datacenter %s is a VM, not a template", name, dc)
		hint = "mark it as a template, then yardctl retry"
	}
	err := errors.New(text)
	if hits > 1 {
		err = fmt.Errorf("%s: %w", text, errTemplates)
	}
	return &fault.Error{Kind: fault.Permanent, Reason: fault.TemplateMissing, Hint: hint, Err: err}
}

// shape reads the template's devices and, for linked clones, its snapshot. A
// template without one is refused: a silent full clone would fill the
// datastore, and a snapshot of a template cannot be made by us (vCenter must
// first turn it back into a VM).
func (n *names) shape(ctx context.Context, found ref, w wish) (*template, error) {
	var vm mo.VirtualMachine
	if err := object.NewCommon(n.vim, found).Properties(ctx, found, []string{"config.hardware.device", pathHotCPU, pathHotMemory, "snapshot", "datastore"}, &vm); err != nil {
		return nil, fmt.Errorf("read template %s: %w", w.template, err)
	}
	t := &template{ref: found, name: w.template}
	if len(vm.Datastore) > 0 {
		t.store = &vm.Datastore[0]
	}
	if vm.Config != nil {
		t.hot = hotOf(&vm)
		t.devices = object.VirtualDeviceList(vm.Config.Hardware.Device)
		t.disks = countDisks(t.devices)
	}
	if !w.linked {
		return t, nil
	}
	if vm.Snapshot == nil || vm.Snapshot.CurrentSnapshot == nil {
		return nil, fault.WithHint(
			fault.Newf(fault.Permanent, fault.SpecUnsupported, "clone: linked needs a snapshot of template %s, which has none", w.template),
			"turn the template into a VM, take a snapshot, mark it as a template again and yardctl retry; or use clone: full")
	}
	t.snapshot = vm.Snapshot.CurrentSnapshot
	return t, nil
}

// disk returns the first disk, nil if there is none.
func disk(devices object.VirtualDeviceList) *types.VirtualDisk {
	for _, d := range devices {
		if disk, ok := d.(*types.VirtualDisk); ok {
			return disk
		}
	}
	return nil
}

// cards returns the network cards in vCenter's order.
func cards(devices object.VirtualDeviceList) []types.BaseVirtualEthernetCard {
	var out []types.BaseVirtualEthernetCard
	for _, d := range devices {
		if c, ok := d.(types.BaseVirtualEthernetCard); ok {
			out = append(out, c)
		}
	}
	return out
}
