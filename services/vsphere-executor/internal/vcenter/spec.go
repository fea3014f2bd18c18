package vcenter

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
)

const (
	mebi = 1 << 20
	kibi = 1 << 10
	// memoryStep: vSphere takes memory in steps of 4 MiB.
	memoryStep = 4
)

// cloneSpec puts everything into the clone itself, before the first
// power-on: guestinfo that is set while a VM is on is lost when it goes off.
func cloneSpec(t *executor.Task, p *place) (types.VirtualMachineCloneSpec, error) {
	config, err := configSpec(t, p.template.devices, p)
	if err != nil {
		return types.VirtualMachineCloneSpec{}, err
	}
	move := types.VirtualMachineRelocateDiskMoveOptionsMoveAllDiskBackingsAndDisallowSharing
	if p.template.snapshot != nil {
		move = types.VirtualMachineRelocateDiskMoveOptionsCreateNewChildDiskBacking
	}
	return types.VirtualMachineCloneSpec{
		Location: types.VirtualMachineRelocateSpec{
			Folder:       &p.folder,
			Pool:         &p.pool,
			Host:         p.host,
			Datastore:    p.store,
			DiskMoveType: string(move),
		},
		Snapshot: p.template.snapshot,
		Config:   config,
	}, nil
}

// configSpec is what distinguishes the job's VM from devices, those of its
// template or of the VM itself.
func configSpec(t *executor.Task, devices object.VirtualDeviceList, p *place) (*types.VirtualMachineConfigSpec, error) {
	v := t.Job.VSphere
	memory, err := v.Memory.Bytes()
	if err != nil {
		return nil, fault.Newf(fault.Permanent, fault.SpecUnsupported, "vsphere.memory: %w", err)
	}
	spec := &types.VirtualMachineConfigSpec{
		InstanceUuid: t.Job.MachineUUID,
		NumCPUs:      int32(v.CPUs), //nolint:gosec // bounded by the document's rules
		MemoryMB:     (memory/mebi + memoryStep - 1) / memoryStep * memoryStep,
		ExtraConfig:  extraConfig(t),
		// A vApp environment would win over guestinfo in coreos-cloudinit.
		VAppConfigRemoved: new(true),
	}
	spec.Annotation = note(t.Job)
	diskEdit, err := growDisk(v, devices)
	if err != nil {
		return nil, err
	}
	if diskEdit != nil {
		spec.DeviceChange = append(spec.DeviceChange, diskEdit)
	}
	added, err := addDisks(v, devices, p.template)
	if err != nil {
		return nil, err
	}
	spec.DeviceChange = append(spec.DeviceChange, added...)
	spec.DeviceChange = append(spec.DeviceChange, plugCards(t.Job, devices, p)...)
	return spec, nil
}

// note tells people in vCenter whose the VM is.
func note(j *plan.Job) string {
	text := fmt.Sprintf("Made by Yardmaster: node %s-%s of fleet %s. What is changed here is lost when the node is replaced.", j.Fleet, j.Node, j.Fleet)
	if own := j.VSphere.Annotation; own != "" {
		text = own + "\n\n" + text
	}
	return text
}

// plugCards returns the changes that give the job's VM its network cards.
func plugCards(j *plan.Job, devices object.VirtualDeviceList, p *place) []types.BaseVirtualDeviceConfigSpec {
	macs := []string{j.MAC}
	for _, n := range j.Networks {
		for len(macs) <= n.Card && len(macs) < fleet.MaxCards {
			macs = append(macs, "")
		}
		if n.MAC != "" && n.Card < len(macs) {
			macs[n.Card] = n.MAC
		}
	}
	have := inOrder(cards(devices), macs)
	var out []types.BaseVirtualDeviceConfigSpec
	for i, mac := range macs {
		if mac == "" && p.networks[i] == nil && have[i] != nil {
			continue
		}
		out = append(out, plugCard(mac, have[i], -1-int32(i), p.networks[i]))
	}
	return out
}

// inOrder says which card is to be which: one keeps the address that it has,
// the others go by vCenter's order. Nil is one that is missing.
func inOrder(cards []types.BaseVirtualEthernetCard, macs []string) []types.BaseVirtualEthernetCard {
	out := make([]types.BaseVirtualEthernetCard, len(macs))
	cards = slices.DeleteFunc(cards, func(c types.BaseVirtualEthernetCard) bool {
		i := slices.Index(macs, c.GetVirtualEthernetCard().MacAddress)
		if i < 0 || out[i] != nil {
			return false
		}
		out[i] = c
		return true
	})
	for i := range out {
		if out[i] == nil && len(cards) > 0 {
			out[i], cards = cards[0], cards[1:]
		}
	}
	return out
}

// ownerConfig says whose the VM is.
func ownerConfig(t *executor.Task) []types.BaseOptionValue {
	return []types.BaseOptionValue{
		&types.OptionValue{Key: keyOwner, Value: t.Owner.String()},
		&types.OptionValue{Key: keyEpoch, Value: strconv.FormatInt(t.Epoch, 10)},
	}
}

func extraConfig(t *executor.Task) []types.BaseOptionValue {
	values := append(ownerConfig(t),
		&types.OptionValue{Key: keyConfig, Value: t.Config.Digest},
		// Gives the guest /dev/disk/by-id, which storage drivers need.
		&types.OptionValue{Key: "disk.EnableUUID", Value: "TRUE"},
	)
	for _, key := range slices.Sorted(maps.Keys(t.Config.GuestInfo)) {
		values = append(values, &types.OptionValue{Key: key, Value: t.Config.GuestInfo[key]})
	}
	return values
}

// growDisk returns the change that makes the first disk as large as the pool
// wants it, nil if it is.
func growDisk(v *fleet.VSphere, devices object.VirtualDeviceList) (types.BaseVirtualDeviceConfigSpec, error) {
	want, err := v.Disk.Bytes()
	if err != nil {
		return nil, fault.Newf(fault.Permanent, fault.SpecUnsupported, "vsphere.disk: %w", err)
	}
	old := disk(devices)
	if want == 0 || old == nil {
		return nil, nil //nolint:nilnil // no change is an answer
	}
	have := max(old.CapacityInBytes, old.CapacityInKB*kibi)
	switch {
	case want == have:
		return nil, nil //nolint:nilnil // no change is an answer
	case want < have:
		return nil, fault.WithHint(fault.Newf(fault.Permanent, fault.SpecUnsupported, "disk: %s is smaller than the template's %d MiB", v.Disk, have/mebi),
			"a disk can only grow; raise vsphere.disk of the pool or leave it out")
	case linked(v):
		return nil, fault.WithHint(fault.Newf(fault.Permanent, fault.SpecUnsupported, "disk: %s cannot be had with clone: linked, the template has %d MiB", v.Disk, have/mebi),
			"the disk of a linked clone cannot grow; use clone: full or a larger template")
	}
	grown := *old
	// vCenter reads one field or the other, depending on its age.
	grown.CapacityInBytes, grown.CapacityInKB = want, want/kibi
	return &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: &grown}, nil
}

// plugCard returns the change that gives a network card our address and
// network; where there is none (nil), one is added under the key.
func plugCard(mac string, card types.BaseVirtualEthernetCard, key int32, network types.BaseVirtualDeviceBackingInfo) types.BaseVirtualDeviceConfigSpec {
	operation := types.VirtualDeviceConfigSpecOperationEdit
	device, c := copyCard(card)
	if device == nil {
		operation = types.VirtualDeviceConfigSpecOperationAdd
		added := &types.VirtualVmxnet3{}
		added.Key = key
		device, c = added, &added.VirtualEthernetCard
	}
	if mac != "" {
		c.AddressType = string(types.VirtualEthernetCardMacTypeManual)
		c.MacAddress = mac
	}
	if network != nil {
		c.Backing = network
	}
	c.Connectable = &types.VirtualDeviceConnectInfo{StartConnected: true, Connected: true, AllowGuestControl: true}
	return &types.VirtualDeviceConfigSpec{Operation: operation, Device: device}
}

// copyCard copies a card of one of the kinds that templates have: the
// template's own is shared by all clones.
func copyCard(c types.BaseVirtualEthernetCard) (types.BaseVirtualDevice, *types.VirtualEthernetCard) {
	switch c := c.(type) {
	case *types.VirtualVmxnet3:
		v := *c
		return &v, &v.VirtualEthernetCard
	case *types.VirtualE1000:
		v := *c
		return &v, &v.VirtualEthernetCard
	case *types.VirtualE1000e:
		v := *c
		return &v, &v.VirtualEthernetCard
	case *types.VirtualVmxnet2:
		v := *c
		return &v, &v.VirtualEthernetCard
	case *types.VirtualPCNet32:
		v := *c
		return &v, &v.VirtualEthernetCard
	}
	return nil, nil
}
