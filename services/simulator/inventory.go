package simulator

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/simulator/vpx"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

// The shape of Flatcar's OVA: reference flatcar.org/docs, "Running on VMware".
const (
	templateCPUs    = 2
	templateMemory  = 2048        // MiB
	templateDiskKiB = 12800 << 10 // 12.5 GiB
	templateGuest   = "other3xLinux64Guest"
	templateVersion = "vmx-13"
	snapshotName    = "base"
	vmNetwork       = "VM Network"

	// As much as anybody asks for: the host's own disk says nothing about the
	// simulated datastore.
	datastoreBytes = 1 << 50
)

// building keeps two worlds of one process (in tests) from being built at the
// same time: govmomi copies package-level prototypes while doing so.
var building sync.Mutex

// inventory is what the world was built with; none of it is journaled,
// because building it again gives the same morefs.
type inventory struct {
	datacenter *simulator.Datacenter
	hosts      []types.ManagedObjectReference
	pool       *simulator.ResourcePool
	datastore  *simulator.Datastore
	vmFolder   *simulator.Folder
	templates  []*simulator.VirtualMachine
	// prototype is what machines that the journal kept are shaped after, in
	// XML: marshalled once, unmarshalled for each, it is a deep copy that
	// nothing shares.
	prototype []byte
}

// builder makes the inventory by calling the simulator's methods directly,
// one after the other: that is what makes the morefs the same each time.
type builder struct {
	ctx *simulator.Context
	reg *simulator.Registry
	cfg Config
	inventory
	err error
}

// newService makes a vCenter with nothing in it, or a lone host.
func newService(cfg Config) *simulator.Service {
	building.Lock()
	defer building.Unlock()
	if cfg.ESXi {
		return simulator.New(simulator.NewServiceInstance(simulator.NewContext(), esx.ServiceContent, esx.RootFolder))
	}
	return simulator.New(simulator.NewServiceInstance(simulator.NewContext(), vpx.ServiceContent, vpx.RootFolder))
}

func buildInventory(svc *simulator.Service, cfg Config) (inventory, error) {
	building.Lock()
	defer building.Unlock()
	// The files are placeholders of no content; a fresh folder means that no
	// name in it is taken.
	dir := cfg.datastoreDir()
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return inventory{}, fmt.Errorf("datastore folder: %w", err)
	}
	b := &builder{ctx: svc.Context, reg: svc.Context.Map, cfg: cfg}
	steps := []func(){b.makeDatacenter, b.makeCluster, b.makeDatastore, b.makePortgroups, b.makeTemplates}
	if cfg.ESXi {
		steps = []func(){b.findHost, b.makeDatastore, b.makeHostPortgroups, b.makePrototype}
	}
	for _, step := range steps {
		if step(); b.err != nil {
			return inventory{}, fmt.Errorf("build the inventory: %w", b.err)
		}
	}
	return b.inventory, nil
}

// task waits for the task that res began and returns its result.
func (b *builder) task(res soap.HasFault, ref func() types.ManagedObjectReference) types.AnyType {
	if !b.check(res) {
		return nil
	}
	t, ok := b.reg.Get(ref()).(*simulator.Task)
	if !ok {
		b.err = errors.New("the simulator lost a task")
		return nil
	}
	t.Wait()
	if t.Info.Error != nil {
		b.err = fmt.Errorf("%s: %T", t.Info.DescriptionId, t.Info.Error.Fault)
	}
	return t.Info.Result
}

func (b *builder) check(res soap.HasFault) bool {
	if f := res.Fault(); f != nil {
		b.err = fmt.Errorf("%T: %s %T", res, f.String, f.VimFault())
		return false
	}
	return true
}

// get returns the object of ref, which must be a T.
func get[T any](b *builder, ref types.ManagedObjectReference) (out T) {
	out, ok := b.reg.Get(ref).(T)
	if !ok {
		b.err = fmt.Errorf("%s is not a %T", ref, out)
	}
	return out
}

func (b *builder) makeDatacenter() {
	root := get[*simulator.Folder](b, vpx.RootFolder.Self)
	res := root.CreateDatacenter(b.ctx, &types.CreateDatacenter{This: root.Self, Name: b.cfg.Inventory.Datacenter})
	if !b.check(res) {
		return
	}
	b.datacenter = get[*simulator.Datacenter](b, res.(*methods.CreateDatacenterBody).Res.Returnval) //nolint:errcheck // what the method always returns
	b.vmFolder = get[*simulator.Folder](b, b.datacenter.VmFolder)
}

func (b *builder) makeCluster() {
	folder := get[*simulator.Folder](b, b.datacenter.HostFolder)
	cluster, fault := simulator.CreateClusterComputeResource(b.ctx, folder, b.cfg.Inventory.Cluster, types.ClusterConfigSpecEx{})
	if fault != nil {
		b.err = fmt.Errorf("cluster: %T", fault)
		return
	}
	b.pool = get[*simulator.ResourcePool](b, *cluster.ResourcePool)
	for i := range b.cfg.Inventory.Hosts {
		res := cluster.AddHostTask(b.ctx, &types.AddHost_Task{
			This: cluster.Self, AsConnected: true,
			Spec: types.HostConnectSpec{HostName: fmt.Sprintf("esx-%d.sim.invalid", i+1)},
		})
		b.task(res, func() types.ManagedObjectReference { return res.(*methods.AddHost_TaskBody).Res.Returnval }) //nolint:errcheck // as above
	}
	b.hosts = cluster.Host
}

func (b *builder) makeDatastore() {
	for _, ref := range b.hosts {
		host := get[*simulator.HostSystem](b, ref)
		system := get[*simulator.HostDatastoreSystem](b, *host.ConfigManager.DatastoreSystem)
		res := system.CreateLocalDatastore(b.ctx, &types.CreateLocalDatastore{
			This: system.Self, Name: b.cfg.Inventory.Datastore, Path: b.cfg.datastoreDir(),
		})
		if !b.check(res) {
			return
		}
	}
	b.datastore = get[*simulator.Datastore](b, get[*simulator.HostSystem](b, b.hosts[0]).Datastore[0])
}

func (b *builder) makePortgroups() {
	if len(b.cfg.Inventory.Portgroups) == 0 {
		return
	}
	folder := get[*simulator.Folder](b, b.datacenter.NetworkFolder)
	res := folder.CreateDVSTask(b.ctx, &types.CreateDVS_Task{This: folder.Self, Spec: types.DVSCreateSpec{
		ConfigSpec: &types.VMwareDVSConfigSpec{DVSConfigSpec: types.DVSConfigSpec{Name: "dvs1"}},
	}})
	made := b.task(res, func() types.ManagedObjectReference { return res.(*methods.CreateDVS_TaskBody).Res.Returnval }) //nolint:errcheck // as above
	ref, ok := made.(types.ManagedObjectReference)
	if !ok {
		return
	}
	dvs := get[*simulator.DistributedVirtualSwitch](b, ref)
	for _, name := range b.cfg.Inventory.Portgroups {
		res := dvs.AddDVPortgroupTask(b.ctx, &types.AddDVPortgroup_Task{This: ref, Spec: []types.DVPortgroupConfigSpec{{
			Name: name, NumPorts: 1, Type: string(types.DistributedVirtualPortgroupPortgroupTypeEarlyBinding),
		}}})
		b.task(res, func() types.ManagedObjectReference { return res.(*methods.AddDVPortgroup_TaskBody).Res.Returnval }) //nolint:errcheck // as above
	}
	members := make([]types.DistributedVirtualSwitchHostMemberConfigSpec, len(b.hosts))
	for i, host := range b.hosts {
		members[i] = types.DistributedVirtualSwitchHostMemberConfigSpec{Operation: string(types.ConfigSpecOperationAdd), Host: host}
	}
	join := dvs.ReconfigureDvsTask(b.ctx, &types.ReconfigureDvs_Task{This: ref, Spec: &types.DVSConfigSpec{Host: members}})
	b.task(join, func() types.ManagedObjectReference { return join.(*methods.ReconfigureDvs_TaskBody).Res.Returnval }) //nolint:errcheck // as above
}

func (b *builder) makeTemplates() {
	for _, name := range b.cfg.Inventory.Templates {
		b.makeTemplate(name)
		if b.err != nil {
			return
		}
	}
}

func (b *builder) makeTemplate(name string) {
	vm := b.makeMachine(name)
	if vm == nil {
		return
	}
	snap := vm.CreateSnapshotTask(b.ctx, &types.CreateSnapshot_Task{This: vm.Self, Name: snapshotName, Description: "for linked clones"})
	b.task(snap, func() types.ManagedObjectReference { return snap.(*methods.CreateSnapshot_TaskBody).Res.Returnval }) //nolint:errcheck // as above
	if b.check(vm.MarkAsTemplate(&types.MarkAsTemplate{This: vm.Self})) {
		b.templates = append(b.templates, vm)
		b.shapeAfter(b.templates[0])
	}
}

// shapeAfter makes vm the prototype.
func (b *builder) shapeAfter(vm *simulator.VirtualMachine) {
	var err error
	if b.prototype, err = xml.Marshal(&vm.VirtualMachine); err != nil {
		b.err = fmt.Errorf("prototype: %w", err)
	}
}

// makeMachine makes a VM of the shape of Flatcar's; nil if that failed.
func (b *builder) makeMachine(name string) *simulator.VirtualMachine {
	spec, err := templateSpec(name, b.cfg.Inventory.Datastore)
	if err != nil {
		b.err = err
		return nil
	}
	res := b.vmFolder.CreateVMTask(b.ctx, &types.CreateVM_Task{
		This: b.vmFolder.Self, Config: spec, Pool: b.pool.Self, Host: &b.hosts[0],
	})
	made := b.task(res, func() types.ManagedObjectReference { return res.(*methods.CreateVM_TaskBody).Res.Returnval }) //nolint:errcheck // as above
	ref, ok := made.(types.ManagedObjectReference)
	if !ok {
		return nil
	}
	return get[*simulator.VirtualMachine](b, ref)
}

func templateSpec(name, datastore string) (types.VirtualMachineConfigSpec, error) {
	var devices object.VirtualDeviceList
	scsi, err := devices.CreateSCSIController("pvscsi")
	if err != nil {
		return types.VirtualMachineConfigSpec{}, err
	}
	devices = append(devices, scsi)
	controller, err := devices.FindDiskController("")
	if err != nil {
		return types.VirtualMachineConfigSpec{}, err
	}
	disk := devices.CreateDisk(controller, types.ManagedObjectReference{}, "")
	disk.CapacityInKB = templateDiskKiB
	devices = append(devices, disk)
	nic, err := devices.CreateEthernetCard("vmxnet3", &types.VirtualEthernetCardNetworkBackingInfo{
		VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: vmNetwork},
	})
	if err != nil {
		return types.VirtualMachineConfigSpec{}, err
	}
	nic.(types.BaseVirtualEthernetCard).GetVirtualEthernetCard().AddressType = string(types.VirtualEthernetCardMacTypeAssigned) //nolint:errcheck // CreateEthernetCard makes nothing else
	devices = append(devices, nic)
	changes, err := devices.ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
	return types.VirtualMachineConfigSpec{
		Name:         name,
		GuestId:      templateGuest,
		Version:      templateVersion,
		NumCPUs:      templateCPUs,
		MemoryMB:     templateMemory,
		Files:        &types.VirtualMachineFileInfo{VmPathName: "[" + datastore + "]"},
		DeviceChange: changes,
		// As Flatcar's OVA has them.
		CpuHotAddEnabled:    new(true),
		MemoryHotAddEnabled: new(true),
	}, err
}
