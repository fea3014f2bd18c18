package simulator

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// hostDatacenter is the only datacenter of a lone host, which cannot be named
// otherwise.
const hostDatacenter = "ha-datacenter"

// needsVCenter are the methods that a host refuses by itself with
// NotSupported. The simulator refuses CreateFolder there and accepts the rest.
var needsVCenter = map[string]bool{
	"CloneVM_Task": true, "InstantClone_Task": true, "MarkAsTemplate": true, "MarkAsVirtualMachine": true,
	"RelocateVM_Task": true, "MigrateVM_Task": true, "CustomizeVM_Task": true,
	"CreateFolder": true, "CreateDatacenter": true, "CreateCluster": true, "CreateClusterEx": true, "AddStandaloneHost_Task": true,
	"CreateDVS_Task": true, "CreateStoragePod": true, "RecommendDatastores": true, "PlaceVm": true, "PowerOnMultiVM_Task": true,
}

// findHost takes up what a lone host is made with.
func (b *builder) findHost() {
	b.datacenter = get[*simulator.Datacenter](b, esx.Datacenter.Self)
	b.vmFolder = get[*simulator.Folder](b, esx.Datacenter.VmFolder)
	b.pool = get[*simulator.ResourcePool](b, esx.ResourcePool.Self)
	b.hosts = []types.ManagedObjectReference{esx.HostSystem.Self}
}

// makeHostPortgroups makes those of the host's own switch.
func (b *builder) makeHostPortgroups() {
	host := get[*simulator.HostSystem](b, b.hosts[0])
	system := get[*simulator.HostNetworkSystem](b, *host.ConfigManager.NetworkSystem)
	for _, name := range b.cfg.Inventory.Portgroups {
		b.check(system.AddPortGroup(b.ctx, &types.AddPortGroup{
			This: system.Self, Portgrp: types.HostPortGroupSpec{Name: name, VswitchName: "vSwitch0"},
		}))
	}
}

// makePrototype makes the machine that others are shaped after, and takes it
// away: a host has no templates.
func (b *builder) makePrototype() {
	vm := b.makeMachine("prototype")
	if vm == nil {
		return
	}
	b.shapeAfter(vm)
	res := vm.DestroyTask(b.ctx, &types.Destroy_Task{This: vm.Self})
	b.task(res, func() types.ManagedObjectReference { return res.(*methods.Destroy_TaskBody).Res.Returnval }) //nolint:errcheck // what the method always returns
}
