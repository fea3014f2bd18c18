package simulator

import (
	"errors"
	"fmt"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fleet"
)

// Datastore is how full the datastore is. Disks count with all their size, as
// thick ones do; those of linked clones count nothing.
type Datastore struct {
	Name string `json:"name,omitempty"`
	// Size may be set; Free is what the machines leave of it.
	Size fleet.Quantity `json:"size"`
	Free fleet.Quantity `json:"free,omitempty"`
}

// room accounts for the datastore, which the simulator by itself never finds
// full.
type room struct {
	mu   sync.Mutex
	size int64
	used int64
	by   map[types.ManagedObjectReference]int64

	// working is held while the datastore is changed for clients to see; busy
	// are the tasks at work, which read it without its lock, and shown is what
	// clients see: how large it is, and how much is free.
	working sync.Mutex
	busy    int
	shown   [2]int64
}

func newRoom() room {
	return room{size: datastoreBytes, by: map[types.ManagedObjectReference]int64{}}
}

var errNoSize = errors.New("a datastore holds something, such as 500Gi")

// resize says how large the datastore is; what lies there stays.
func (r *room) resize(to fleet.Quantity) error {
	size, err := to.Bytes()
	if err == nil && size == 0 {
		err = errNoSize
	}
	if err != nil {
		return fmt.Errorf("datastore size: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size = size
	return nil
}

// take notes what a VM's disks take.
func (r *room) take(vm types.ManagedObjectReference, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used += bytes - r.by[vm]
	if r.by[vm] = bytes; bytes == 0 {
		delete(r.by, vm)
	}
}

func (r *room) free() int64 {
	_, free := r.now()
	return free
}

// now is how large the datastore is and how much of it is free.
func (r *room) now() (size, free int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.size, max(r.size-r.used, 0)
}

// enter is called by a task that begins its work.
func (r *room) enter() {
	r.working.Lock()
	defer r.working.Unlock()
	r.busy++
}

// occupy accounts for the disks of vm, whose lock the caller holds.
func (w *World) occupy(vm *mo.VirtualMachine) {
	var bytes int64
	for _, d := range vm.Config.Hardware.Device {
		if disk, ok := d.(*types.VirtualDisk); ok && captureDisk(disk).Parent == "" {
			bytes += sizeOf(disk)
		}
	}
	w.room.take(vm.Self, bytes)
}

// datastore tells how full it is.
func (w *World) datastore() Datastore {
	size, free := w.room.now()
	return Datastore{Name: w.cfg.Inventory.Datastore, Size: quantity(size), Free: quantity(free)}
}

func quantity(bytes int64) fleet.Quantity { return fleet.Quantity(fmt.Sprintf("%dMi", bytes>>20)) }

// leaveRoom is called by a task that has ended its work.
func (w *World) leaveRoom() {
	w.room.working.Lock()
	w.room.busy--
	w.room.working.Unlock()
	w.showRoom()
}

// showRoom has clients see how full the datastore is, or leaves that to the
// last task at work. The caller holds no lock of the simulator.
func (w *World) showRoom() {
	r := &w.room
	r.working.Lock()
	defer r.working.Unlock()
	size, free := r.now()
	if r.busy > 0 || r.shown == [2]int64{size, free} {
		return
	}
	r.shown = [2]int64{size, free}
	ds := w.inv.datastore
	w.reg.WithLock(w.context(), ds, func() {
		ds.Summary.Capacity, ds.Summary.FreeSpace = size, free
		ds.Info.GetDatastoreInfo().FreeSpace = free
	})
}

// full is the fault of an operation that the datastore has no room for.
func (w *World) full(op operation) types.BaseMethodFault {
	if op.needs <= w.room.free() {
		return nil
	}
	name := w.cfg.Inventory.Datastore
	return &types.NoDiskSpace{Datastore: name, FileFault: types.FileFault{File: fmt.Sprintf("[%s] %s/%s.vmdk", name, op.vm, op.vm)}}
}

// cloneNeeds is the room that a clone takes: the disks of its template, in the
// sizes that they get, and those that are added.
func cloneNeeds(req *types.CloneVM_Task, template *mo.VirtualMachine, sizes map[int32]int64) int64 {
	var bytes int64
	for _, d := range template.Config.Hardware.Device {
		if disk, ok := d.(*types.VirtualDisk); ok && !linked(req) {
			bytes += max(sizeOf(disk), sizes[disk.Key])
		}
	}
	if req.Spec.Config != nil {
		bytes += changeNeeds(req.Spec.Config.DeviceChange, template)
	}
	return bytes + changeNeeds(req.Spec.Location.DeviceChange, template)
}

// changeNeeds is the room that changes of devices take.
func changeNeeds(changes []types.BaseVirtualDeviceConfigSpec, vm *mo.VirtualMachine) int64 {
	var bytes int64
	for _, c := range changes {
		edit := c.GetVirtualDeviceConfigSpec()
		disk, ok := edit.Device.(*types.VirtualDisk)
		if !ok || edit.Operation == types.VirtualDeviceConfigSpecOperationRemove {
			continue
		}
		bytes += sizeOf(disk)
		if edit.Operation == types.VirtualDeviceConfigSpecOperationEdit {
			bytes -= diskSize(vm, disk.Key)
		}
	}
	return max(bytes, 0)
}

func sizeOf(disk *types.VirtualDisk) int64 { return max(disk.CapacityInBytes, disk.CapacityInKB<<10) }

// need is a privilege that a call takes on an object.
type need struct {
	privilege string
	on        types.ManagedObjectReference
}

// simpleNeeds are the privileges that calls take on the object that they are
// made of.
var simpleNeeds = map[string]string{
	"PowerOnVM_Task":       "VirtualMachine.Interact.PowerOn",
	"PowerOffVM_Task":      "VirtualMachine.Interact.PowerOff",
	"ShutdownGuest":        "VirtualMachine.Interact.PowerOff",
	"ResetVM_Task":         "VirtualMachine.Interact.Reset",
	"Destroy_Task":         "VirtualMachine.Inventory.Delete",
	"UnregisterVM":         "VirtualMachine.Inventory.Unregister",
	"MarkAsTemplate":       "VirtualMachine.Provisioning.MarkAsTemplate",
	"MarkAsVirtualMachine": "VirtualMachine.Provisioning.MarkAsVM",
	"CreateSnapshot_Task":  "VirtualMachine.State.CreateSnapshot",
	"CreateVM_Task":        "VirtualMachine.Inventory.Create",
	"CreateFolder":         "Folder.Create",
	"ImportVApp":           "VApp.Import",
}

// needsOf are the privileges that a call takes.
func (w *World) needsOf(m *simulator.Method) []need {
	switch req := m.Body.(type) {
	case *types.CloneVM_Task:
		return w.cloneRights(req)
	case *types.ReconfigVM_Task:
		return configRights(&req.Spec, req.This)
	case *types.SetField:
		return []need{{"Global.SetCustomField", req.Entity}}
	}
	privilege := simpleNeeds[m.Name]
	if privilege == "" {
		return nil
	}
	if m.Name == "Destroy_Task" && m.This.Type == "Folder" {
		privilege = "Folder.Delete"
	}
	return []need{{privilege, m.This}}
}

func (w *World) cloneRights(req *types.CloneVM_Task) []need {
	needs := []need{
		{"VirtualMachine.Provisioning.DeployTemplate", req.This},
		{"VirtualMachine.Inventory.CreateFromExisting", req.Folder},
	}
	store := w.inv.datastore.Self
	if at := req.Spec.Location.Datastore; at != nil {
		store = *at
	}
	needs = append(needs, need{"Datastore.AllocateSpace", store})
	if pool := req.Spec.Location.Pool; pool != nil {
		needs = append(needs, need{"Resource.AssignVMToPool", *pool})
	}
	if req.Spec.Config != nil {
		needs = append(needs, configRights(req.Spec.Config, req.Folder)...)
	}
	return needs
}

// configRights are the privileges that a change of a VM's config takes.
func configRights(spec *types.VirtualMachineConfigSpec, on types.ManagedObjectReference) []need {
	var needs []need
	when := func(changed bool, privilege string) {
		if changed {
			needs = append(needs, need{"VirtualMachine.Config." + privilege, on})
		}
	}
	when(spec.NumCPUs != 0, "CPUCount")
	when(spec.MemoryMB != 0, "Memory")
	when(len(spec.ExtraConfig) > 0, "AdvancedConfig")
	when(spec.Annotation != "", "Annotation")
	for _, c := range spec.DeviceChange {
		edit := c.GetVirtualDeviceConfigSpec()
		_, disk := edit.Device.(*types.VirtualDisk)
		added, edited := edit.Operation == types.VirtualDeviceConfigSpecOperationAdd, edit.Operation == types.VirtualDeviceConfigSpecOperationEdit
		when(disk && added, "AddNewDisk")
		when(disk && edited, "DiskExtend")
		when(!disk && !edited, "AddRemoveDevice")
		when(!disk && edited, "EditDevice")
		if card, ok := edit.Device.(types.BaseVirtualEthernetCard); ok {
			needs = append(needs, cardRights(card.GetVirtualEthernetCard())...)
		}
	}
	return needs
}

func cardRights(card *types.VirtualEthernetCard) []need {
	switch b := card.Backing.(type) {
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		return []need{{"Network.Assign", reference("DistributedVirtualPortgroup", b.Port.PortgroupKey)}}
	case *types.VirtualEthernetCardNetworkBackingInfo:
		if b.Network != nil {
			return []need{{"Network.Assign", *b.Network}}
		}
	}
	return nil
}

// forbids is the fault of a call that the account lacks a privilege for.
func (w *World) forbids(ctx *simulator.Context, m *simulator.Method) types.BaseMethodFault {
	if !w.rights.any() {
		return nil
	}
	for _, n := range w.needsOf(m) {
		if w.rights.denies(n.privilege, w.lineage(ctx, n.on)) {
			return &types.NoPermission{Object: &n.on, PrivilegeId: n.privilege}
		}
	}
	return nil
}

// lineage are the names of an object and of all that it lies in: what is
// denied there is denied for it.
func (w *World) lineage(ctx *simulator.Context, ref types.ManagedObjectReference) []string {
	var names []string
	for at := &ref; at != nil; {
		e, ok := w.reg.Get(*at).(mo.Entity)
		if !ok {
			break
		}
		ctx.WithLock(e, func() {
			names = append(names, e.Entity().Name)
			at = e.Entity().Parent
		})
	}
	if names == nil {
		names = []string{""}
	}
	return names
}
