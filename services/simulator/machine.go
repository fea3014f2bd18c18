package simulator

import (
	"time"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// machine is what the journal keeps of a VM: all that a client can have set,
// and how its guest stands. The rest is as the first template has it.
type machine struct {
	Ref          string    `json:"ref"`
	Name         string    `json:"name"`
	Folder       string    `json:"folder"`
	Host         string    `json:"host"`
	UUID         string    `json:"uuid"`
	InstanceUUID string    `json:"instanceUuid"`
	Path         string    `json:"path"`
	Created      time.Time `json:"created,omitzero"`
	Template     bool      `json:"template,omitempty"`
	CPUs         int32     `json:"cpus"`
	MemoryMB     int32     `json:"memoryMB"`
	// NoHotCPU and NoHotMemory are what a template has by default turned off.
	NoHotCPU    bool       `json:"noHotCPU,omitempty"`
	NoHotMemory bool       `json:"noHotMemory,omitempty"`
	Annotation  string     `json:"annotation,omitempty"`
	EnableUUID  *bool      `json:"enableUuid,omitempty"`
	Extra       []option   `json:"extra,omitempty"`
	NICs        []nic      `json:"nics,omitempty"`
	Disks       []disk     `json:"disks,omitempty"`
	Snapshot    *snapshot  `json:"snapshot,omitempty"`
	Power       string     `json:"power"`
	BootTime    *time.Time `json:"bootTime,omitempty"`
	Guest       guest      `json:"guest"`
}

// serial is the highest number in the machine's own morefs.
func (m *machine) serial() int64 {
	if m.Snapshot == nil {
		return serial(m.Ref)
	}
	return max(serial(m.Ref), serial(m.Snapshot.Ref))
}

// snapshot is the current snapshot, such as a template's that linked clones
// branch off.
type snapshot struct {
	Ref  string `json:"ref"`
	Name string `json:"name"`
}

type option struct {
	Key   string `json:"k"`
	Value string `json:"v"`
}

// nic is a network card. Portgroup and Switch are set on a distributed
// switch, Network otherwise.
type nic struct {
	Key       int32  `json:"key"`
	MAC       string `json:"mac"`
	Type      string `json:"type,omitempty"`
	Name      string `json:"name,omitempty"`
	Network   string `json:"network,omitempty"`
	Portgroup string `json:"portgroup,omitempty"`
	Switch    string `json:"switch,omitempty"`
}

type disk struct {
	Key    int32  `json:"key"`
	Bytes  int64  `json:"bytes"`
	File   string `json:"file,omitempty"`
	Parent string `json:"parent,omitempty"`
}

// capture makes the record of vm, whose lock the caller holds.
func capture(vm *mo.VirtualMachine) machine {
	m := machine{
		Ref:          vm.Self.Value,
		Name:         vm.Name,
		UUID:         vm.Config.Uuid,
		InstanceUUID: vm.Config.InstanceUuid,
		Path:         vm.Config.Files.VmPathName,
		Template:     vm.Config.Template,
		CPUs:         vm.Config.Hardware.NumCPU,
		MemoryMB:     vm.Config.Hardware.MemoryMB,
		Annotation:   vm.Config.Annotation,
		NoHotCPU:     !yes(vm.Config.CpuHotAddEnabled),
		NoHotMemory:  !yes(vm.Config.MemoryHotAddEnabled),
		EnableUUID:   vm.Config.Flags.DiskUuidEnabled,
		Power:        string(vm.Runtime.PowerState),
		BootTime:     vm.Summary.Runtime.BootTime,
	}
	if vm.Parent != nil {
		m.Folder = vm.Parent.Value
	}
	if vm.Runtime.Host != nil {
		m.Host = vm.Runtime.Host.Value
	}
	if vm.Config.CreateDate != nil {
		m.Created = *vm.Config.CreateDate
	}
	m.Snapshot = captureSnapshot(vm.Snapshot)
	for _, o := range vm.Config.ExtraConfig {
		v := o.GetOptionValue()
		if s, ok := v.Value.(string); ok {
			m.Extra = append(m.Extra, option{v.Key, s})
		}
	}
	for _, d := range vm.Config.Hardware.Device {
		switch x := d.(type) {
		case types.BaseVirtualEthernetCard:
			m.NICs = append(m.NICs, captureNIC(x.GetVirtualEthernetCard()))
		case *types.VirtualDisk:
			m.Disks = append(m.Disks, captureDisk(x))
		}
	}
	return m
}

func yes(b *bool) bool { return b != nil && *b }

func captureSnapshot(all *types.VirtualMachineSnapshotInfo) *snapshot {
	if all == nil || all.CurrentSnapshot == nil {
		return nil
	}
	s := &snapshot{Ref: all.CurrentSnapshot.Value}
	for list := all.RootSnapshotList; len(list) > 0; list = list[0].ChildSnapshotList {
		s.Name = list[0].Name
	}
	return s
}

func captureNIC(card *types.VirtualEthernetCard) nic {
	n := nic{Key: card.Key, MAC: card.MacAddress, Type: card.AddressType}
	switch b := card.Backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		n.Name = b.DeviceName
		if b.Network != nil {
			n.Network = b.Network.Value
		}
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		n.Portgroup, n.Switch = b.Port.PortgroupKey, b.Port.SwitchUuid
	}
	return n
}

func captureDisk(x *types.VirtualDisk) disk {
	d := disk{Key: x.Key, Bytes: x.CapacityInBytes}
	if b, ok := x.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
		d.File = b.FileName
		if b.Parent != nil {
			d.Parent = b.Parent.FileName
		}
	}
	return d
}
