package vcenter

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	vfault "github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fault"
)

// is matches errors that hold a vCenter fault of type T, which is a pointer
// to a fault or, for a whole family, its Base interface: Go's faults have no
// inheritance but by these.
func is[T any](err error) bool {
	var target T
	_, ok := vfault.As(err, &target)
	return ok
}

// busyHint is for what somebody else is at.
const busyHint = "another task holds the VM or its template; see the tasks in vCenter if it lasts"

// faults says what each vCenter fault means for a job. The first match wins,
// so that a fault stands above its family.
var faults = []struct {
	is     func(error) bool
	kind   fault.Kind
	reason fault.Reason
	hint   string
}{
	{isStopped, fault.Cancelled, fault.Stopped, ""},

	// The account and the line: nobody's job can be done, so the breaker
	// opens and no attempt is used up.
	{is[*types.InvalidLogin], fault.Busy, fault.LoginRefused, loginHint},
	{is[*types.NotAuthenticated], fault.Busy, fault.BackendDown, "the session is refused right after a login; look at the vCenter's own health"},
	{is[*types.NoPermission], fault.Permanent, fault.PermissionDenied, "grant the privilege to the executor's account (yardctl doctor lists all that it lacks), then yardctl retry"},
	{isStatus(http.StatusUnauthorized), fault.Busy, fault.BackendDown, "the REST session is refused right after a login; look at the vCenter's own health"},
	{isStatus(http.StatusForbidden), fault.Permanent, fault.PermissionDenied, "grant the privilege to the executor's account (for tags InventoryService.Tagging.AttachTag), then yardctl retry"},
	{soap.IsCertificateUntrusted, fault.Busy, fault.BackendDown, "set spec.vsphere.thumbprint (SHA-256) or caFile in the Site"},
	{isTransport, fault.Busy, fault.BackendDown, "vCenter must be reachable from the executor at the Site's url"},

	// Somebody else is at it: our turn comes.
	{is[*types.TooManyConcurrentNativeClones], fault.Transient, fault.BackendBusy, "the storage clones too much at once; lower clones or perDatastore in the Site's limits if it lasts"},
	{is[types.BaseTaskInProgress], fault.Transient, fault.MachineBusy, busyHint},
	{is[*types.ConcurrentAccess], fault.Transient, fault.MachineBusy, busyHint},
	{is[*types.FileLocked], fault.Transient, fault.MachineBusy, "a host holds the file; if no task of the VM or its template is under way, a host kept the lock: see vmkfstools -D"},
	{is[types.BaseResourceInUse], fault.Transient, fault.MachineBusy, busyHint},
	{is[*types.MethodDisabled], fault.Transient, fault.MachineBusy, "another solution holds the VM, such as a backup"},
	{is[*types.QuestionPending], fault.Transient, fault.MachineBusy, "answer the VM's question in vCenter"},
	{is[types.BaseHostCommunication], fault.Transient, fault.BackendBusy, "vCenter lost a host; reconnect it, or put it in maintenance"},
	{is[types.BaseTimedout], fault.Transient, fault.Timeout, "vCenter gave up waiting, such as for a host; see its task"},
	{is[*types.RequestCanceled], fault.Transient, fault.Unknown, "somebody cancelled the task in vCenter"},
	{is[*types.SystemError], fault.Transient, fault.Unknown, "vCenter or a host went wrong by itself; see its task and vpxd's log"},

	// Room: comes and goes.
	{is[*types.NoDiskSpace], fault.Transient, fault.NoSpace, "free some of the datastore, or name another in the pool"},
	{is[*types.InsufficientStorageSpace], fault.Transient, fault.NoSpace, "free some of the datastore, or name another in the pool"},
	{is[types.BaseDatastoreNotWritableOnHost], fault.Transient, fault.NoSpace, "make the datastore writable, or name another in the pool"},
	{is[types.BaseInaccessibleDatastore], fault.Transient, fault.NoSpace, "make the datastore accessible, or name another in the pool"},
	{is[types.BaseInsufficientResourcesFault], fault.Transient, fault.NoResources, "free CPU or memory, or name another cluster in the pool"},
	{is[*types.NoActiveHostInCluster], fault.Transient, fault.NoResources, "take a host out of maintenance, or name another cluster"},
	{is[*types.GenericDrsFault], fault.Transient, fault.NoResources, "vCenter found no host for the VM; see its task"},

	// What was asked for cannot be done here.
	{is[*types.FileAlreadyExists], fault.Permanent, fault.NameTaken, "files of that name lie in the datastore; remove them or rename the fleet or pool"},
	{is[*types.DuplicateName], fault.Permanent, fault.NameTaken, "rename the fleet or pool, or move the other VM away"},
	{is[*types.ManagedObjectNotFound], fault.Transient, fault.MachineLost, ""},
	{is[*types.NotFound], fault.Permanent, fault.NotFound, "correct the name in the fleet, then yardctl retry"},
	{is[types.BaseNotEnoughLicenses], fault.Permanent, fault.PermissionDenied, "add licences in vCenter"},
	{is[*types.RestrictedVersion], fault.Permanent, fault.PermissionDenied, "its licence does not allow it: the interface of an ESXi with the free licence only reads; give it a licence, or put it under a vCenter; then yardctl retry"},
	{is[types.BaseCustomizationFault], fault.Permanent, fault.SpecUnsupported, "vCenter cannot customize the guest; the template must be Flatcar's"},
	{is[*types.CpuHotPlugNotSupported], fault.Permanent, fault.HotRefused, ""},
	{is[*types.MemoryHotPlugNotSupported], fault.Permanent, fault.HotRefused, ""},
	{is[types.BaseVmConfigFault], fault.Permanent, fault.SpecUnsupported, "vCenter refuses the VM's hardware; correct the pool's vsphere section"},
	{is[types.BaseInvalidArgument], fault.Permanent, fault.SpecUnsupported, "correct the pool's vsphere section"},
	{is[*types.InvalidName], fault.Permanent, fault.SpecUnsupported, "vCenter refuses the name; rename the fleet, its pool or folder"},
	{is[*types.NotSupported], fault.Permanent, fault.SpecUnsupported, "vCenter or the host cannot do this; correct the pool's vsphere section"},

	// A host in maintenance, a VM that just changed: the next look tells.
	{is[types.BaseInvalidState], fault.Transient, fault.MachineBusy, "see whether the host is in maintenance, and the VM's tasks in vCenter"},
}

// classify says what an error of vCenter means and puts the fault's own words
// in its text. Errors that are classified already stay as they are.
func classify(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	for _, f := range faults {
		if f.is(err) {
			return &fault.Error{Kind: f.kind, Reason: f.reason, Hint: f.hint, Err: told(err)}
		}
	}
	return &fault.Error{Kind: fault.Transient, Reason: fault.Unknown, Err: told(err)}
}

// told adds the fault's type and subject: vCenter's localized text is often
// empty, or only says that a task failed.
func told(err error) error {
	var f types.BaseMethodFault
	if _, ok := vfault.As(err, &f); !ok {
		return err
	}
	name := reflect.TypeOf(f).Elem().Name()
	text := name
	switch f := f.(type) {
	case *types.NoPermission:
		text = fmt.Sprintf("%s: privilege %s on %s", name, f.PrivilegeId, f.Object)
	case *types.InvalidArgument:
		text = fmt.Sprintf("%s: %s", name, f.InvalidProperty)
	case *types.InvalidVmConfig:
		text = fmt.Sprintf("%s: %s", name, f.Property)
	case *types.InvalidPowerState:
		text = fmt.Sprintf("%s: it is %s", name, f.ExistingState)
	case *types.NoDiskSpace:
		text = fmt.Sprintf("%s: datastore %s", name, f.Datastore)
	case *types.SystemError:
		text = fmt.Sprintf("%s: %s", name, f.Reason)
	}
	if strings.Contains(err.Error(), text) {
		return err
	}
	return fmt.Errorf("%s: %w", text, err)
}

// isStatus matches an answer of vCenter's REST interface.
func isStatus(code int) func(error) bool {
	return func(err error) bool { return status(err, code) }
}

// isFull matches what another datastore may help against.
func isFull(err error) bool { return fault.Of(classify(err)).Reason == fault.NoSpace }

func isStopped(err error) bool { return errors.Is(err, context.Canceled) }

// isTransport matches what went wrong before vCenter could answer; for a call
// that changes something the outcome is then unknown.
func isTransport(err error) bool {
	if _, ok := errors.AsType[*url.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*xml.SyntaxError](err); ok {
		return true // such as a proxy's error page
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}
