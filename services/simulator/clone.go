package simulator

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net"
	"reflect"
	"slices"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// finishClone does what a vCenter does for a clone and the simulator leaves
// out: flags and annotation of the spec, the template's extra config, a MAC
// of its own, the size and the parent of its disks.
func finishClone(clone, template *mo.VirtualMachine, op operation) {
	req := op.clone
	if spec := req.Spec.Config; spec != nil {
		if spec.Annotation != "" {
			clone.Config.Annotation = spec.Annotation
		}
		if spec.Flags != nil {
			clone.Config.Flags = *spec.Flags
		}
	}
	clone.Config.CpuHotAddEnabled = template.Config.CpuHotAddEnabled
	clone.Config.MemoryHotAddEnabled = template.Config.MemoryHotAddEnabled
	clone.Config.ExtraConfig = inherit(clone.Config.ExtraConfig, template.Config.ExtraConfig)
	for i, d := range clone.Config.Hardware.Device {
		switch x := d.(type) {
		case types.BaseVirtualEthernetCard:
			refreshMAC(clone, template, i, x.GetVirtualEthernetCard())
		case *types.VirtualDisk:
			if size, ok := op.disks[x.Key]; ok {
				x.CapacityInBytes, x.CapacityInKB = size, size>>10
			}
			if linked(req) {
				linkDisk(x, template)
			}
		}
	}
}

// takeDiskEdits takes the changes of disks out of a clone's spec and returns
// the sizes they ask for. They carry the template's disk with its file, which
// a vCenter does not mind; the simulator would give the clone the template's
// own file, and remove it with the clone.
func takeDiskEdits(req *types.CloneVM_Task, template *mo.VirtualMachine) (map[int32]int64, types.BaseMethodFault) {
	sizes := map[int32]int64{}
	var fault types.BaseMethodFault
	keep := func(changes []types.BaseVirtualDeviceConfigSpec) []types.BaseVirtualDeviceConfigSpec {
		return slices.DeleteFunc(changes, func(c types.BaseVirtualDeviceConfigSpec) bool {
			edit := c.GetVirtualDeviceConfigSpec()
			disk, ok := edit.Device.(*types.VirtualDisk)
			if !ok || edit.Operation != types.VirtualDeviceConfigSpecOperationEdit {
				return false
			}
			sizes[disk.Key] = max(disk.CapacityInBytes, disk.CapacityInKB<<10)
			if sizes[disk.Key] < diskSize(template, disk.Key) {
				fault = &types.InvalidDeviceOperation{}
			}
			return true
		})
	}
	req.Spec.Location.DeviceChange = keep(req.Spec.Location.DeviceChange)
	if req.Spec.Config != nil {
		req.Spec.Config.DeviceChange = keep(req.Spec.Config.DeviceChange)
	}
	return sizes, fault
}

func diskSize(vm *mo.VirtualMachine, key int32) int64 {
	if vm == nil {
		return 0
	}
	for _, d := range vm.Config.Hardware.Device {
		if disk, ok := d.(*types.VirtualDisk); ok && disk.Key == key {
			return disk.CapacityInBytes
		}
	}
	return 0
}

// inherit appends the options of the template whose keys the clone lacks.
func inherit(own, template []types.BaseOptionValue) []types.BaseOptionValue {
	out := slices.Clone(own)
	for _, o := range template {
		key := o.GetOptionValue().Key
		if !slices.ContainsFunc(own, func(x types.BaseOptionValue) bool { return x.GetOptionValue().Key == key }) {
			out = append(out, &types.OptionValue{Key: key, Value: o.GetOptionValue().Value})
		}
	}
	return out
}

// refreshMAC gives the clone's i-th device, a network card, a MAC of its own
// if it still has the template's.
func refreshMAC(clone, template *mo.VirtualMachine, i int, card *types.VirtualEthernetCard) {
	if card.AddressType == string(types.VirtualEthernetCardMacTypeManual) || !hasMAC(template, card.MacAddress) {
		return
	}
	mac := assignedMAC(clone.Config.InstanceUuid+clone.Self.Value, card.Key)
	// A reader may be writing the old device to its client.
	fresh := copyDevice(clone.Config.Hardware.Device[i])
	fresh.(types.BaseVirtualEthernetCard).GetVirtualEthernetCard().MacAddress = mac //nolint:errcheck // a copy of what the caller's switch found
	clone.Config.Hardware.Device = slices.Clone(clone.Config.Hardware.Device)
	clone.Config.Hardware.Device[i] = fresh
	clone.Guest.Net = slices.Clone(clone.Guest.Net)
	for j := range clone.Guest.Net {
		if clone.Guest.Net[j].DeviceConfigId == card.Key {
			clone.Guest.Net[j].MacAddress = mac
		}
	}
}

func hasMAC(vm *mo.VirtualMachine, mac string) bool {
	return slices.ContainsFunc(vm.Config.Hardware.Device, func(d types.BaseVirtualDevice) bool {
		card, ok := d.(types.BaseVirtualEthernetCard)
		return ok && card.GetVirtualEthernetCard().MacAddress == mac
	})
}

// assignedMAC makes an address of the range that vCenter assigns from,
// 00:50:56:80:00:00 to 00:50:56:bf:ff:ff.
func assignedMAC(seed string, key int32) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", seed, key))
	n := binary.BigEndian.Uint32(sum[:4])
	return net.HardwareAddr{0x00, 0x50, 0x56, 0x80 | byte(n>>16)&0x3f, byte(n >> 8), byte(n)}.String()
}

func copyDevice(d types.BaseVirtualDevice) types.BaseVirtualDevice {
	v := reflect.New(reflect.TypeOf(d).Elem())
	v.Elem().Set(reflect.ValueOf(d).Elem())
	return v.Interface().(types.BaseVirtualDevice) //nolint:errcheck // of the same type as d
}

// linkDisk says that disk is a child of the template's disk on the same
// controller slot.
func linkDisk(disk *types.VirtualDisk, template *mo.VirtualMachine) {
	backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	if !ok {
		return
	}
	for _, d := range template.Config.Hardware.Device {
		parent, ok := d.(*types.VirtualDisk)
		if !ok || parent.UnitNumber == nil || disk.UnitNumber == nil || *parent.UnitNumber != *disk.UnitNumber {
			continue
		}
		if b, ok := parent.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
			backing.Parent = &types.VirtualDiskFlatVer2BackingInfo{
				VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: b.FileName, Datastore: b.Datastore},
				DiskMode:                     b.DiskMode,
			}
		}
	}
}
