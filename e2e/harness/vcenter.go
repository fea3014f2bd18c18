package harness

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/url"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// VM is what vCenter says of a machine.
type VM struct {
	Ref      types.ManagedObjectReference
	Name     string
	Folder   string
	UUID     string // instance UUID
	Power    string
	Address  string
	Template bool
	CPUs     int
	Extra    map[string]string
}

// Owner is the key that says whose the VM is.
func (v *VM) Owner() string { return v.Extra["yardmaster.owner"] }

// Ignition decodes the config that waits in guestinfo; nil when there is
// none (blanked after the boot).
func (v *VM) Ignition() ([]byte, error) {
	data := v.Extra["guestinfo.ignition.config.data"]
	if data == "" {
		return nil, nil
	}
	raw, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return nil, fmt.Errorf("guestinfo of %s: %w", v.Name, err)
	}
	switch enc := v.Extra["guestinfo.ignition.config.data.encoding"]; enc {
	case "base64":
		return raw, nil
	case "gzip+base64":
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, fmt.Errorf("guestinfo of %s: %w", v.Name, err)
		}
		return io.ReadAll(z)
	case "":
		// The executor is between blanking the one key and the other.
		return nil, nil
	default:
		return nil, fmt.Errorf("guestinfo of %s: encoding %q", v.Name, enc)
	}
}

// VCenter is an administrator's session beside the product's. It reads by
// folders, because views and searches beside running clones hang the
// simulator (govmomi v0.56.0).
type VCenter struct {
	*govmomi.Client
	user *url.Userinfo
	// datacenter and folder, if set, hold all that is looked at.
	datacenterName, folderName string
}

// NewVCenter logs in.
func NewVCenter(tb testing.TB, address string) *VCenter {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := govmomi.NewClient(tb.Context(), u, true)
	if err != nil {
		tb.Fatalf("log in at %s: %v", u.Redacted(), err)
	}
	return &VCenter{Client: c, user: u.User}
}

// Open logs in at a vCenter that the suite did not start, and looks only at the
// folder that the suite works in: all else there is other people's.
func (t *Target) Open(tb testing.TB) *VCenter {
	tb.Helper()
	u, err := url.Parse(t.URL)
	if err != nil {
		tb.Fatal(err)
	}
	u.User = url.UserPassword(t.User, t.Password)
	v := NewVCenter(tb, u.String())
	v.datacenterName, v.folderName = t.Datacenter, t.Folder
	return v
}

// fresh logs in anew when the session was ended, as the fault tests do to
// everybody's.
func (v *VCenter) fresh(ctx context.Context) error {
	if s, err := v.SessionManager.UserSession(ctx); err == nil && s != nil {
		return nil
	}
	return v.Login(ctx, v.user)
}

// VMs lists every machine of the datacenters but the templates.
func (v *VCenter) VMs(ctx context.Context) ([]VM, error) {
	if err := v.fresh(ctx); err != nil {
		return nil, err
	}
	var roots []mo.Datacenter
	var top mo.Folder
	pc := property.DefaultCollector(v.Client.Client)
	if err := pc.RetrieveOne(ctx, v.ServiceContent.RootFolder, []string{"childEntity"}, &top); err != nil {
		return nil, err
	}
	if err := pc.Retrieve(ctx, top.ChildEntity, []string{"name", "vmFolder"}, &roots); err != nil {
		return nil, err
	}
	var vms []VM
	for _, dc := range roots {
		if v.folderName != "" {
			found, err := v.within(ctx, &dc)
			if err != nil {
				return nil, err
			}
			vms = append(vms, found...)
			continue
		}
		found, err := v.walk(ctx, dc.VmFolder, "")
		if err != nil {
			return nil, err
		}
		vms = append(vms, found...)
	}
	return vms, nil
}

// within walks the suite's folder, if it is there and the datacenter is ours.
func (v *VCenter) within(ctx context.Context, dc *mo.Datacenter) ([]VM, error) {
	if dc.Name != v.datacenterName {
		return nil, nil
	}
	found, err := object.NewSearchIndex(v.Client.Client).FindChild(ctx, dc.VmFolder, v.folderName)
	if err != nil || found == nil {
		return nil, err
	}
	return v.walk(ctx, found.Reference(), "")
}

func (v *VCenter) walk(ctx context.Context, folder types.ManagedObjectReference, path string) ([]VM, error) {
	pc := property.DefaultCollector(v.Client.Client)
	var f mo.Folder
	if err := pc.RetrieveOne(ctx, folder, []string{"name", "childEntity"}, &f); err != nil {
		return nil, err
	}
	var refs []types.ManagedObjectReference
	var vms []VM
	for _, child := range f.ChildEntity {
		switch child.Type {
		case "Folder":
			below, err := v.walk(ctx, child, path+"/"+f.Name)
			if err != nil {
				return nil, err
			}
			vms = append(vms, below...)
		case "VirtualMachine":
			refs = append(refs, child)
		}
	}
	if len(refs) == 0 {
		return vms, nil
	}
	var found []mo.VirtualMachine
	props := []string{"name", "config", "runtime.powerState", "guest.ipAddress"}
	if err := pc.Retrieve(ctx, refs, props, &found); err != nil {
		return nil, err
	}
	for i := range found {
		if vm := describe(&found[i], f.Name); !vm.Template {
			vms = append(vms, vm)
		}
	}
	return vms, nil
}

func describe(m *mo.VirtualMachine, folder string) VM {
	vm := VM{Ref: m.Self, Name: m.Name, Folder: folder, Power: string(m.Runtime.PowerState), Extra: map[string]string{}}
	if m.Guest != nil {
		vm.Address = m.Guest.IpAddress
	}
	if m.Config == nil {
		return vm
	}
	vm.CPUs = int(m.Config.Hardware.NumCPU)
	vm.UUID, vm.Template = m.Config.InstanceUuid, m.Config.Template
	for _, o := range m.Config.ExtraConfig {
		if kv := o.GetOptionValue(); kv != nil {
			if s, ok := kv.Value.(string); ok {
				vm.Extra[kv.Key] = s
			}
		}
	}
	return vm
}

// Clear removes what carries a yard's mark in the suite's folder: what a test
// that failed, or that takes no time to tidy up, left there.
func (v *VCenter) Clear(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 5*time.Minute)
	defer cancel()
	vms, err := v.VMs(ctx)
	if err != nil {
		tb.Errorf("look for what is left in folder %s: %v", v.folderName, err)
	}
	for i := range vms {
		if vms[i].Owner() == "" || v.folderName == "" {
			continue
		}
		if err := v.destroy(ctx, &vms[i]); err != nil {
			tb.Errorf("remove %s, which is left in folder %s: %v", vms[i].Name, v.folderName, err)
		}
	}
}

func (v *VCenter) destroy(ctx context.Context, vm *VM) error {
	o := object.NewVirtualMachine(v.Client.Client, vm.Ref)
	if vm.Power == string(types.VirtualMachinePowerStatePoweredOn) {
		off, err := o.PowerOff(ctx)
		if err == nil {
			err = off.Wait(ctx)
		}
		if err != nil {
			return err
		}
	}
	gone, err := o.Destroy(ctx)
	if err != nil {
		return err
	}
	return gone.Wait(ctx)
}

// Foreign clones a template under a name that belongs to nobody of ours.
func (v *VCenter) Foreign(ctx context.Context, template, folder, name string) error {
	if err := v.fresh(ctx); err != nil {
		return err
	}
	f, err := v.folder(ctx, folder)
	if err != nil {
		return err
	}
	t, pool, err := v.template(ctx, template)
	if err != nil {
		return err
	}
	spec := types.VirtualMachineCloneSpec{Location: types.VirtualMachineRelocateSpec{Pool: pool}}
	task, err := t.Clone(ctx, f, name, spec)
	if err != nil {
		return err
	}
	return task.Wait(ctx)
}

// folder returns the folder below the first datacenter's VMs, made if need
// be.
func (v *VCenter) folder(ctx context.Context, name string) (*object.Folder, error) {
	dc, err := v.datacenter(ctx)
	if err != nil {
		return nil, err
	}
	root := object.NewFolder(v.Client.Client, dc.VmFolder)
	var f mo.Folder
	if err := root.Properties(ctx, dc.VmFolder, []string{"childEntity"}, &f); err != nil {
		return nil, err
	}
	pc := property.DefaultCollector(v.Client.Client)
	for _, c := range f.ChildEntity {
		if c.Type != "Folder" {
			continue
		}
		var child mo.Folder
		if err := pc.RetrieveOne(ctx, c, []string{"name"}, &child); err != nil {
			return nil, err
		}
		if child.Name == name {
			return object.NewFolder(v.Client.Client, c), nil
		}
	}
	return root.CreateFolder(ctx, name)
}

func (v *VCenter) datacenter(ctx context.Context) (*mo.Datacenter, error) {
	pc := property.DefaultCollector(v.Client.Client)
	var top mo.Folder
	if err := pc.RetrieveOne(ctx, v.ServiceContent.RootFolder, []string{"childEntity"}, &top); err != nil {
		return nil, err
	}
	if len(top.ChildEntity) == 0 {
		return nil, fmt.Errorf("the vCenter has no datacenter")
	}
	var dc mo.Datacenter
	err := pc.RetrieveOne(ctx, top.ChildEntity[0], []string{"vmFolder", "hostFolder"}, &dc)
	return &dc, err
}

// template returns the template and the resource pool of the first cluster.
func (v *VCenter) template(ctx context.Context, name string) (*object.VirtualMachine, *types.ManagedObjectReference, error) {
	dc, err := v.datacenter(ctx)
	if err != nil {
		return nil, nil, err
	}
	pc := property.DefaultCollector(v.Client.Client)
	var hosts, vms mo.Folder
	if err := pc.RetrieveOne(ctx, dc.HostFolder, []string{"childEntity"}, &hosts); err != nil {
		return nil, nil, err
	}
	var cluster mo.ComputeResource
	if err := pc.RetrieveOne(ctx, hosts.ChildEntity[0], []string{"resourcePool"}, &cluster); err != nil {
		return nil, nil, err
	}
	if err := pc.RetrieveOne(ctx, dc.VmFolder, []string{"childEntity"}, &vms); err != nil {
		return nil, nil, err
	}
	for _, ref := range vms.ChildEntity {
		if ref.Type != "VirtualMachine" {
			continue
		}
		var vm mo.VirtualMachine
		if err := pc.RetrieveOne(ctx, ref, []string{"name"}, &vm); err != nil {
			return nil, nil, err
		}
		if vm.Name == name {
			return object.NewVirtualMachine(v.Client.Client, ref), cluster.ResourcePool, nil
		}
	}
	return nil, nil, fmt.Errorf("no template %s", name)
}

// Remove destroys the VM of that name.
func (v *VCenter) Remove(ctx context.Context, name string) error {
	vms, err := v.VMs(ctx)
	if err != nil {
		return err
	}
	for _, vm := range vms {
		if vm.Name != name {
			continue
		}
		task, err := object.NewVirtualMachine(v.Client.Client, vm.Ref).Destroy(ctx)
		if err != nil {
			return err
		}
		return task.Wait(ctx)
	}
	return fmt.Errorf("no VM %s", name)
}
