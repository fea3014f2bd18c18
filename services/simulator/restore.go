package simulator

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
	"github.com/vmware/govmomi/vmdk"
)

// folder is what the journal keeps of a VM folder that a client made.
type folder struct {
	Ref    string `json:"ref"`
	Name   string `json:"name"`
	Parent string `json:"parent"`
}

// restorer puts back what the journal kept. It builds the objects itself:
// through the API each would take 10 ms and get another moref.
type restorer struct {
	w *World
}

func (w *World) restore(kept *contents) error {
	if len(kept.machines) > 0 && len(w.inv.prototype) == 0 {
		return errors.New("the journal holds machines, but the inventory has no template to shape them after")
	}
	r := restorer{w: w}
	for _, f := range kept.foldersInOrder() {
		r.folder(f)
	}
	for _, m := range kept.machinesInOrder() {
		if err := r.machine(m); err != nil {
			return fmt.Errorf("restore %s: %w", m.Name, err)
		}
	}
	r.countOn(kept.highest)
	return nil
}

func (r *restorer) folder(f folder) {
	parent, ok := r.w.reg.Get(reference("Folder", f.Parent)).(*simulator.Folder)
	if !ok {
		parent = r.w.inv.vmFolder
	}
	made := &simulator.Folder{}
	made.Self = reference("Folder", f.Ref)
	made.Name = f.Name
	made.ChildType = parent.ChildType
	parent.ChildEntity = append(parent.ChildEntity, made.Self)
	r.w.reg.PutEntity(parent, made)
}

func (r *restorer) machine(m machine) error {
	vm := &simulator.VirtualMachine{DataSets: map[string]*simulator.DataSet{}}
	dec := xml.NewDecoder(bytes.NewReader(r.w.inv.prototype))
	dec.TypeFunc = types.TypeFunc()
	if err := dec.Decode(&vm.VirtualMachine); err != nil {
		return fmt.Errorf("copy the prototype: %w", err)
	}
	host, ok := r.w.reg.Get(reference("HostSystem", m.Host)).(*simulator.HostSystem)
	if !ok {
		host, _ = r.w.reg.Get(r.w.inv.hosts[0]).(*simulator.HostSystem)
	}
	parent, ok := r.w.reg.Get(reference("Folder", m.Folder)).(*simulator.Folder)
	if !ok {
		parent = r.w.inv.vmFolder
	}
	r.shape(&vm.VirtualMachine, m)
	r.snapshot(&vm.VirtualMachine, m)
	if err := r.placeFiles(m); err != nil {
		return err
	}
	vm.Runtime.Host, vm.Summary.Runtime.Host = &host.Self, &host.Self
	if m.Template {
		vm.ResourcePool = nil
	} else {
		vm.ResourcePool = &r.w.inv.pool.Self
		r.w.inv.pool.Vm = append(r.w.inv.pool.Vm, vm.Self)
	}
	host.Vm = append(host.Vm, vm.Self)
	ds := r.w.inv.datastore
	ds.Vm = append(ds.Vm, vm.Self)
	parent.ChildEntity = append(parent.ChildEntity, vm.Self)
	r.w.reg.PutEntity(parent, vm)
	return nil
}

// shape writes the record over a copy of the prototype.
func (r *restorer) shape(vm *mo.VirtualMachine, m machine) {
	vm.Self = reference("VirtualMachine", m.Ref)
	vm.Name, vm.Config.Name, vm.Summary.Config.Name = m.Name, m.Name, m.Name
	vm.Summary.Vm = &vm.Self
	vm.Config.Uuid, vm.Summary.Config.Uuid = m.UUID, m.UUID
	vm.Config.InstanceUuid, vm.Summary.Config.InstanceUuid = m.InstanceUUID, m.InstanceUUID
	vm.Config.Template, vm.Summary.Config.Template = m.Template, m.Template
	vm.Config.Annotation, vm.Config.Flags.DiskUuidEnabled = m.Annotation, m.EnableUUID
	vm.Config.Hardware.NumCPU, vm.Summary.Config.NumCpu = m.CPUs, m.CPUs
	vm.Config.Hardware.MemoryMB, vm.Summary.Config.MemorySizeMB = m.MemoryMB, m.MemoryMB
	vm.Config.CpuHotAddEnabled, vm.Config.MemoryHotAddEnabled = new(!m.NoHotCPU), new(!m.NoHotMemory)
	vm.Config.CreateDate = &m.Created
	vm.Config.Files.VmPathName, vm.Summary.Config.VmPathName = m.Path, m.Path
	var p object.DatastorePath
	p.FromString(m.Path)
	p.Path, _, _ = strings.Cut(p.Path, "/")
	vm.Config.Files.LogDirectory, vm.Config.Files.SnapshotDirectory, vm.Config.Files.SuspendDirectory = p.String(), p.String(), p.String()
	vm.Config.ExtraConfig = nil
	for _, o := range m.Extra {
		vm.Config.ExtraConfig = append(vm.Config.ExtraConfig, &types.OptionValue{Key: o.Key, Value: o.Value})
	}
	vm.Snapshot, vm.RootSnapshot, vm.Layout.Snapshot, vm.LayoutEx.Snapshot = nil, nil, nil, nil
	vm.LayoutEx.File = nil
	vm.Runtime.PowerState = types.VirtualMachinePowerState(m.Power)
	vm.Runtime.BootTime = m.BootTime
	vm.Summary.Runtime = vm.Runtime
	r.devices(vm, m)
	if m.Guest.Phase == PhaseUp {
		mo.ApplyPropertyChange(vm, toolsUp(vm, m.Guest))
	}
}

// snapshot puts back the current snapshot; of its elders nothing was kept.
func (r *restorer) snapshot(vm *mo.VirtualMachine, m machine) {
	if m.Snapshot == nil {
		return
	}
	made := &simulator.VirtualMachineSnapshot{DataSets: map[string]*simulator.DataSet{}}
	made.Self, made.Vm, made.Config = reference("VirtualMachineSnapshot", m.Snapshot.Ref), vm.Self, *vm.Config
	r.w.reg.Put(made)
	vm.Snapshot = &types.VirtualMachineSnapshotInfo{
		CurrentSnapshot: &made.Self,
		RootSnapshotList: []types.VirtualMachineSnapshotTree{{
			Snapshot: made.Self, Vm: vm.Self, Name: m.Snapshot.Name, Id: 1, CreateTime: m.Created,
			State: types.VirtualMachinePowerStatePoweredOff,
		}},
	}
	vm.RootSnapshot = []types.ManagedObjectReference{made.Self}
}

// placeFiles makes the placeholders that the simulator wants to see when it
// changes or removes a disk.
func (r *restorer) placeFiles(m machine) error {
	for _, d := range m.Disks {
		var p object.DatastorePath
		if !p.FromString(d.File) {
			continue
		}
		name := filepath.Join(r.w.cfg.datastoreDir(), filepath.Clean("/"+p.Path))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return fmt.Errorf("disk file: %w", err)
		}
		flat := simulator.VirtualDiskBackingFileName(name)
		var descriptor bytes.Buffer
		extent := vmdk.Extent{Info: filepath.Base(flat), Size: d.Bytes / vmdk.SectorSize}
		err := vmdk.NewDescriptor(extent).Write(&descriptor)
		if err = errors.Join(err, os.WriteFile(name, descriptor.Bytes(), 0o600), os.WriteFile(flat, nil, 0o600)); err != nil {
			return fmt.Errorf("disk file: %w", err)
		}
	}
	return nil
}

// devices keeps the prototype's controllers and makes disks and network
// cards after its first ones.
func (r *restorer) devices(vm *mo.VirtualMachine, m machine) {
	var devices []types.BaseVirtualDevice
	var disk0 *types.VirtualDisk
	var card0 types.BaseVirtualDevice
	for _, d := range vm.Config.Hardware.Device {
		switch x := d.(type) {
		case types.BaseVirtualEthernetCard:
			card0 = d
		case *types.VirtualDisk:
			disk0 = x
		default:
			devices = append(devices, d)
		}
	}
	vm.Guest.Net, vm.Network = nil, nil
	for i, d := range m.Disks {
		devices = append(devices, shapeDisk(disk0, d, int32(i)))
	}
	on := types.VirtualMachinePowerState(m.Power) == types.VirtualMachinePowerStatePoweredOn
	for i, n := range m.NICs {
		card := copyDevice(card0)
		ref := shapeNIC(card.(types.BaseVirtualEthernetCard).GetVirtualEthernetCard(), n, int32(i)) //nolint:errcheck // the loop above found it so
		card.GetVirtualDevice().Connectable = &types.VirtualDeviceConnectInfo{StartConnected: true, Connected: on}
		vm.Network = append(vm.Network, ref)
		vm.Guest.Net = append(vm.Guest.Net, types.GuestNicInfo{Network: n.Name, MacAddress: n.MAC, Connected: on, DeviceConfigId: n.Key})
		devices = append(devices, card)
	}
	vm.Config.Hardware.Device = devices
	vm.Summary.Config.NumEthernetCards = int32(len(m.NICs))
	vm.Summary.Config.NumVirtualDisks = int32(len(m.Disks))
}

func shapeDisk(like *types.VirtualDisk, d disk, unit int32) *types.VirtualDisk {
	x := *like
	x.Key, x.CapacityInBytes, x.CapacityInKB = d.Key, d.Bytes, d.Bytes>>10
	if unit > 0 {
		x.UnitNumber = &unit
	}
	if b, ok := like.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
		own := *b
		own.FileName, own.Uuid, own.Parent = d.File, "", nil
		if d.Parent != "" {
			parent := *b
			parent.FileName, parent.Parent = d.Parent, nil
			own.Parent = &parent
		}
		x.Backing = &own
	}
	return &x
}

func shapeNIC(card *types.VirtualEthernetCard, n nic, index int32) types.ManagedObjectReference {
	card.Key, card.MacAddress, card.AddressType = n.Key, n.MAC, n.Type
	if index > 0 && card.UnitNumber != nil {
		unit := *card.UnitNumber + index
		card.UnitNumber = &unit
	}
	if n.Portgroup != "" {
		card.Backing = &types.VirtualEthernetCardDistributedVirtualPortBackingInfo{
			Port: types.DistributedVirtualSwitchPortConnection{PortgroupKey: n.Portgroup, SwitchUuid: n.Switch},
		}
		return reference("DistributedVirtualPortgroup", n.Portgroup)
	}
	ref := reference("Network", n.Network)
	card.Backing = &types.VirtualEthernetCardNetworkBackingInfo{
		VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: n.Name},
		Network:                        &ref,
	}
	return ref
}

// countOn makes the simulator count morefs on from the highest that was ever
// given out: one that a destroyed VM had must not come again.
func (r *restorer) countOn(highest int64) {
	mark := reference("VirtualMachine", "vm-"+strconv.FormatInt(highest, 10))
	if r.w.reg.Get(mark) == nil {
		vm := &simulator.VirtualMachine{}
		vm.Self = mark
		r.w.reg.Put(vm)
		defer r.w.reg.Remove(r.w.context(), mark)
	}
	_ = r.w.reg.AlignCounter() // it has no error to give
}

func reference(kind, value string) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: kind, Value: value}
}

// serial is the number in a moref such as vm-42 or group-42.
func serial(ref string) int64 {
	_, digits, _ := strings.Cut(ref, "-")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func bySerial[T any](items []T, ref func(T) string) []T {
	slices.SortFunc(items, func(a, b T) int { return int(serial(ref(a)) - serial(ref(b))) })
	return items
}
