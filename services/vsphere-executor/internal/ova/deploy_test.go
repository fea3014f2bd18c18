package ova

import (
	"context"
	"errors"
	"slices"
	"testing"

	vfault "github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/services/vsphere-executor/internal/ova/ovatest"
)

const keyProof = "test.owner"

// target finds a place in a simulated vCenter.
func target(ctx context.Context, t *testing.T, c *vim25.Client) Target {
	t.Helper()
	finder := find.NewFinder(c)
	dc, err := finder.DefaultDatacenter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	finder.SetDatacenter(dc)
	pool, err1 := finder.ResourcePool(ctx, "DC0_C0/Resources")
	store, err2 := finder.DefaultDatastore(ctx)
	folders, err3 := dc.Folders(ctx)
	network, err4 := finder.Network(ctx, "DC0_DVPG0")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	folder, net := folders.VmFolder.Reference(), network.Reference()
	return Target{
		Name: "flatcar-1.2.3", Pool: pool.Reference(), Datastore: store.Reference(), Folder: &folder, Network: &net,
		Edit: func(s *types.VirtualMachineConfigSpec) error {
			s.ExtraConfig = append(s.ExtraConfig, &types.OptionValue{Key: keyProof, Value: "me"})
			return nil
		},
	}
}

func TestDeployMakesTheMachine(t *testing.T) {
	simulator.Test(func(ctx context.Context, c *vim25.Client) {
		p, err := open(ovatest.Make(ovatest.Options{DiskBytes: 300 << 10}))
		if err != nil {
			t.Fatal(err)
		}
		where := target(ctx, t, c)
		var done, total int64
		where.Progress = func(d, all int64) { done, total = d, all }
		made, err := p.Deploy(ctx, c, where)
		if err != nil {
			t.Fatal(err)
		}
		var vm mo.VirtualMachine
		if err := object.NewVirtualMachine(c, made).Properties(ctx, made, []string{"name", "config", "network"}, &vm); err != nil {
			t.Fatal(err)
		}
		if vm.Name != where.Name || vm.Config.Hardware.MemoryMB != 2048 || len(vm.Network) != 1 || vm.Network[0] != *where.Network {
			t.Errorf("made %s with %d MiB on %v", vm.Name, vm.Config.Hardware.MemoryMB, vm.Network)
		}
		if done != 300<<10 || total != done {
			t.Errorf("the last progress was %d of %d bytes", done, total)
		}
		if !slices.ContainsFunc(vm.Config.ExtraConfig, func(o types.BaseOptionValue) bool { return o.GetOptionValue().Key == keyProof }) {
			t.Error("what Edit wrote is not in the VM")
		}
		if _, err = p.Deploy(ctx, c, where); !isTaken(err) {
			t.Errorf("the second Deploy = %v; want the name to be taken", err)
		}
	})
}

// isTaken reports whether a name is in use: a vCenter looks at the folder
// first, the simulator at the files.
func isTaken(err error) bool {
	return vfault.Is(err, &types.DuplicateName{}) || vfault.Is(err, &types.FileAlreadyExists{})
}

func TestDeployAsksFirst(t *testing.T) {
	simulator.Test(func(ctx context.Context, c *vim25.Client) {
		p, err := open(ovatest.Make(ovatest.Options{}))
		if err != nil {
			t.Fatal(err)
		}
		forbidden := errors.New("no")
		where := target(ctx, t, c)
		where.Permit = func(context.Context) error { return forbidden }
		if _, err := p.Deploy(ctx, c, where); !errors.Is(err, forbidden) {
			t.Errorf("Deploy = %v; want the refusal", err)
		}
		if _, err := find.NewFinder(c).VirtualMachine(ctx, "/DC0/vm/"+where.Name); err == nil {
			t.Error("Deploy made a VM although it must not")
		}
	})
}
