package vcenter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	"google.golang.org/protobuf/proto"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/guest"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

// hypervisorLog is the file in which the hypervisor itself writes what
// happens to a VM.
const hypervisorLog = "vmware.log"

// The properties that say where a VM's console is written.
const (
	pathFiles     = "config.files"
	pathDevices   = "config.hardware.device"
	pathDatastore = "datastore"
)

// Console answers what the console of a node's VM says: the end of the file
// that its serial port writes, else of the hypervisor's log.
func (b *Backend) Console(ctx context.Context, q *ymv1.ConsoleQuestion) (answer proto.Message, err error) {
	err = b.with(ctx, func(c *connection) error {
		answer, err = c.console(ctx, q)
		return err
	})
	return answer, err
}

func (c *connection) console(ctx context.Context, q *ymv1.ConsoleQuestion) (*ymv1.ConsoleAnswer, error) {
	r, err := c.machineOf(ctx, q)
	if err != nil {
		return nil, err
	}
	objects, err := retrieve(ctx, c.vim, []ref{r}, pathFiles, pathDevices, pathDatastore)
	if err != nil {
		return nil, fmt.Errorf("read where VM %s logs: %w", r.Value, err)
	}
	if len(objects) == 0 {
		return nil, fault.New(fault.Permanent, fault.NotFound, errNoMachine)
	}
	o := objects[0]
	stores, err := c.datastores(ctx, value[types.ArrayOfManagedObjectReference](o, pathDatastore).ManagedObjectReference)
	if err != nil {
		return nil, err
	}
	file := consoleFile(value[types.VirtualMachineFileInfo](o, pathFiles), value[types.ArrayOfVirtualDevice](o, pathDevices).VirtualDevice)
	store, ok := stores[file.Datastore]
	if !ok {
		return nil, fault.Newf(fault.Permanent, fault.NotFound, "the console %s is on no datastore of VM %s", file.String(), r.Value)
	}
	text, err := tail(ctx, object.NewDatastore(c.vim, store), file.Path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file.String(), err)
	}
	return &ymv1.ConsoleAnswer{File: file.String(), Lines: guest.ConsoleLines(text)}, nil
}

var errNoMachine = errors.New("the VM is not there")

// machineOf finds the VM, which must be the node's: the asker's word alone
// opens no other VM's log.
func (c *connection) machineOf(ctx context.Context, q *ymv1.ConsoleQuestion) (ref, error) {
	r := ref{Type: "VirtualMachine", Value: q.GetMachineId()}
	if r.Value == "" {
		found, err := object.NewSearchIndex(c.vim).FindByUuid(ctx, nil, q.GetMachineUuid(), true, new(true))
		if err != nil {
			return ref{}, fmt.Errorf("look for VM %s-%s by UUID %s: %w", q.GetFleet(), q.GetNode(), q.GetMachineUuid(), err)
		}
		if found == nil {
			return ref{}, fault.New(fault.Permanent, fault.NotFound, errNoMachine)
		}
		r = found.Reference()
	}
	m, err := read(ctx, c.vim, r)
	if err != nil {
		return ref{}, err
	}
	if m == nil {
		return ref{}, fault.New(fault.Permanent, fault.NotFound, errNoMachine)
	}
	o, err := executor.ParseOwner(m.owner)
	if err != nil || o.Node != q.GetNode() || o.Incarnation != int(q.GetIncarnation()) {
		return ref{}, fault.Newf(fault.Permanent, fault.NotFound, "VM %s (%s) is not the machine of %s-%s in incarnation %d", m.name, r.Value, q.GetFleet(), q.GetNode(), q.GetIncarnation())
	}
	return r, nil
}

// datastores returns the datastores by their names.
func (c *connection) datastores(ctx context.Context, refs []ref) (map[string]ref, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	objects, err := retrieve(ctx, c.vim, refs, "name")
	if err != nil {
		return nil, fmt.Errorf("name the VM's datastores: %w", err)
	}
	out := map[string]ref{}
	for _, o := range objects {
		out[value[string](o, "name")] = o.Obj
	}
	return out, nil
}

// consoleFile is where the VM's console is written.
func consoleFile(files types.VirtualMachineFileInfo, devices []types.BaseVirtualDevice) object.DatastorePath {
	var p object.DatastorePath
	for _, d := range devices {
		port, ok := d.(*types.VirtualSerialPort)
		if !ok {
			continue
		}
		if b, ok := port.Backing.(*types.VirtualSerialPortFileBackingInfo); ok && p.FromString(b.FileName) && p.Path != "" {
			return p
		}
	}
	if !p.FromString(files.LogDirectory) {
		p.FromString(files.VmPathName)
		p.Path = path.Dir(p.Path)
	}
	p.Path = path.Join(p.Path, hypervisorLog)
	return p
}

// tail reads the end of a file of a datastore.
func tail(ctx context.Context, store *object.Datastore, name string) ([]byte, error) {
	f, err := store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, noFile(err)
	}
	if size == 0 {
		return nil, nil // a range of nothing is refused
	}
	if _, err := f.Seek(max(0, size-guest.MaxConsole), io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, guest.MaxConsole))
}

// noFile says what it means that vCenter does not give a file out.
func noFile(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Permanent, fault.NotFound, err)
	}
	return fault.WithHint(fault.New(fault.Transient, fault.Unknown, err),
		"the executor's account needs Datastore.Browse, and the executor a way to the vCenter's /folder")
}
