package vcenter

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// addDisks returns the changes that add a pool's own disks, as far as the
// devices (the template's, or those of a VM that was begun) lack them: a VM's
// disks are its template's and then ours, in order.
func addDisks(v *fleet.VSphere, devices object.VirtualDeviceList, from *template) ([]types.BaseVirtualDeviceConfigSpec, error) {
	first := disk(devices)
	if len(v.Disks) == 0 {
		return nil, nil
	}
	if first == nil {
		return nil, fault.WithHint(fault.Newf(fault.Permanent, fault.SpecUnsupported, "disks: template %s has no disk, so no controller for others", from.name),
			"use a template with a disk")
	}
	devices = slices.Clone(devices) // with each new disk, its place is taken
	var out []types.BaseVirtualDeviceConfigSpec
	for i := max(0, countDisks(devices)-from.disks); i < len(v.Disks); i++ {
		d, err := newDisk(v.Disks[i])
		if err != nil {
			return nil, fault.Newf(fault.Permanent, fault.SpecUnsupported, "vsphere.disks[%d]: %w", i, err)
		}
		unit, ok := freeUnit(devices, first.ControllerKey)
		if !ok {
			return nil, fault.WithHint(fault.Newf(fault.Permanent, fault.SpecUnsupported, "vsphere.disks[%d]: the template's disk controller is full", i),
				"ask for fewer disks, or use a template with fewer")
		}
		d.Key, d.ControllerKey, d.UnitNumber = firstNewDisk-int32(i), first.ControllerKey, &unit
		devices = append(devices, d)
		out = append(out, &types.VirtualDeviceConfigSpec{
			Operation:     types.VirtualDeviceConfigSpecOperationAdd,
			FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate,
			Device:        d,
		})
	}
	return out, nil
}

// firstNewDisk is below the keys of new network cards: vCenter gives others.
const firstNewDisk = -100

func newDisk(d fleet.Disk) (*types.VirtualDisk, error) {
	size, err := d.Size.Bytes()
	if err != nil {
		return nil, fmt.Errorf("size: %w", err)
	}
	size = (size + kibi - 1) / kibi * kibi
	how := cmp.Or(d.Provisioning, fleet.ProvisionThin)
	disk := &types.VirtualDisk{CapacityInBytes: size, CapacityInKB: size / kibi}
	disk.Backing = &types.VirtualDiskFlatVer2BackingInfo{
		DiskMode:        string(types.VirtualDiskModePersistent),
		ThinProvisioned: new(how == fleet.ProvisionThin), EagerlyScrub: new(how == fleet.ProvisionEager),
	}
	return disk, nil
}

// A SCSI controller has 16 places, of which one is its own.
const (
	unitsPerController = 16
	unitOfController   = 7
)

// freeUnit is the lowest free place on a disk controller.
func freeUnit(devices object.VirtualDeviceList, controller int32) (int32, bool) {
	taken := map[int32]bool{unitOfController: true}
	for _, d := range devices {
		if v := d.GetVirtualDevice(); v.ControllerKey == controller && v.UnitNumber != nil {
			taken[*v.UnitNumber] = true
		}
	}
	for unit := range int32(unitsPerController) {
		if !taken[unit] {
			return unit, true
		}
	}
	return 0, false
}

func countDisks(devices object.VirtualDeviceList) int {
	count := 0
	for _, d := range devices {
		if _, ok := d.(*types.VirtualDisk); ok {
			count++
		}
	}
	return count
}
