package vcenter

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fault"
)

// taskFault is an error as a failed task gives it.
func taskFault(f types.BaseMethodFault) error {
	return fmt.Errorf("clone web-edge-0: %w", task.Error{LocalizedMethodFault: &types.LocalizedMethodFault{Fault: f, LocalizedMessage: "told by vCenter"}})
}

// callFault is an error as a refused call gives it.
func callFault(f types.BaseMethodFault) error {
	s := &soap.Fault{String: "told by vCenter"}
	s.Detail.Fault = f
	return fmt.Errorf("clone web-edge-0: %w", soap.WrapSoapFault(s))
}

// TestFaults goes through the table line by line, with the faults' relatives.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault  types.BaseMethodFault
		kind   fault.Kind
		reason fault.Reason
	}{
		{&types.InvalidLogin{}, fault.Busy, fault.LoginRefused},
		{&types.NotAuthenticated{}, fault.Busy, fault.BackendDown},
		{&types.NoPermission{PrivilegeId: "VirtualMachine.Interact.PowerOn"}, fault.Permanent, fault.PermissionDenied},
		{&types.TooManyConcurrentNativeClones{}, fault.Transient, fault.BackendBusy},
		{&types.TaskInProgress{}, fault.Transient, fault.MachineBusy},
		{&types.VAppTaskInProgress{}, fault.Transient, fault.MachineBusy},
		{&types.ConcurrentAccess{}, fault.Transient, fault.MachineBusy},
		{&types.FileLocked{}, fault.Transient, fault.MachineBusy},
		{&types.ResourceInUse{}, fault.Transient, fault.MachineBusy},
		{&types.MethodDisabled{}, fault.Transient, fault.MachineBusy},
		{&types.QuestionPending{}, fault.Transient, fault.MachineBusy},
		{&types.HostNotReachable{}, fault.Transient, fault.BackendBusy},
		{&types.HostNotConnected{}, fault.Transient, fault.BackendBusy},
		{&types.Timedout{}, fault.Transient, fault.Timeout},
		{&types.RequestCanceled{}, fault.Transient, fault.Unknown},
		{&types.SystemError{Reason: "disk on fire"}, fault.Transient, fault.Unknown},
		{&types.NoDiskSpace{Datastore: "ds1"}, fault.Transient, fault.NoSpace},
		{&types.InsufficientStorageSpace{}, fault.Transient, fault.NoSpace},
		{&types.DatastoreNotWritableOnHost{}, fault.Transient, fault.NoSpace},
		{&types.InaccessibleDatastore{}, fault.Transient, fault.NoSpace},
		{&types.InsufficientResourcesFault{}, fault.Transient, fault.NoResources},
		{&types.InsufficientMemoryResourcesFault{}, fault.Transient, fault.NoResources},
		{&types.InsufficientHostCapacityFault{}, fault.Transient, fault.NoResources},
		{&types.NoActiveHostInCluster{}, fault.Transient, fault.NoResources},
		{&types.GenericDrsFault{}, fault.Transient, fault.NoResources},
		{&types.FileAlreadyExists{}, fault.Permanent, fault.NameTaken},
		{&types.DuplicateName{}, fault.Permanent, fault.NameTaken},
		{&types.ManagedObjectNotFound{}, fault.Transient, fault.MachineLost},
		{&types.NotFound{}, fault.Permanent, fault.NotFound},
		{&types.NotEnoughLicenses{}, fault.Permanent, fault.PermissionDenied},
		{&types.VmLimitLicense{}, fault.Permanent, fault.PermissionDenied},
		{&types.RestrictedVersion{}, fault.Permanent, fault.PermissionDenied},
		{&types.CustomizationFault{}, fault.Permanent, fault.SpecUnsupported},
		{&types.InvalidVmConfig{Property: "memoryMB"}, fault.Permanent, fault.SpecUnsupported},
		{&types.InvalidDeviceSpec{}, fault.Permanent, fault.SpecUnsupported},
		{&types.InvalidArgument{InvalidProperty: "spec.location.pool"}, fault.Permanent, fault.SpecUnsupported},
		{&types.InvalidName{}, fault.Permanent, fault.SpecUnsupported},
		{&types.NotSupported{}, fault.Permanent, fault.SpecUnsupported},
		{&types.InvalidState{}, fault.Transient, fault.MachineBusy},
		{&types.InvalidPowerState{}, fault.Transient, fault.MachineBusy},
		{&types.InvalidHostState{}, fault.Transient, fault.MachineBusy},
		{&types.VimFault{}, fault.Transient, fault.Unknown},
	} {
		for _, err := range []error{taskFault(c.fault), callFault(c.fault)} {
			got := fault.Of(classify(err))
			if got.Kind != c.kind || got.Reason != c.reason {
				t.Errorf("classify(%T) = %v, %v; want %v, %v", c.fault, got.Kind, got.Reason, c.kind, c.reason)
			}
			name := strings.TrimPrefix(fmt.Sprintf("%T", c.fault), "*types.")
			if !strings.Contains(got.Error(), name) {
				t.Errorf("classify(%T) says %q; it must name the fault", c.fault, got.Error())
			}
		}
	}
}

func TestFaultsSayWhatIsMeant(t *testing.T) {
	t.Parallel()
	for fragment, f := range map[string]types.BaseMethodFault{
		"VirtualMachine.Interact.PowerOn": &types.NoPermission{PrivilegeId: "VirtualMachine.Interact.PowerOn"},
		"spec.location.pool":              &types.InvalidArgument{InvalidProperty: "spec.location.pool"},
		"memoryMB":                        &types.InvalidVmConfig{Property: "memoryMB"},
		"ds1":                             &types.NoDiskSpace{Datastore: "ds1"},
		"disk on fire":                    &types.SystemError{Reason: "disk on fire"},
	} {
		if got := classify(taskFault(f)).Error(); !strings.Contains(got, fragment) {
			t.Errorf("classify(%T) = %q; want %q in it", f, got, fragment)
		}
	}
}

func TestFaultsOfTheLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err    error
		kind   fault.Kind
		reason fault.Reason
	}{
		"stopped":   {context.Canceled, fault.Cancelled, fault.Stopped},
		"refused":   {&url.Error{Op: "Post", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}, fault.Busy, fault.BackendDown},
		"reset":     {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, fault.Busy, fault.BackendDown},
		"cut":       {io.ErrUnexpectedEOF, fault.Busy, fault.BackendDown},
		"not soap":  {&xml.SyntaxError{Msg: "bad"}, fault.Busy, fault.BackendDown},
		"slow":      {context.DeadlineExceeded, fault.Busy, fault.BackendDown},
		"other":     {errors.New("what"), fault.Transient, fault.Unknown},
		"ours":      {fault.Newf(fault.Permanent, fault.NoAddress, "x"), fault.Permanent, fault.NoAddress},
		"stop wins": {&url.Error{Op: "Post", Err: context.Canceled}, fault.Cancelled, fault.Stopped},
	} {
		got := fault.Of(classify(fmt.Errorf("look: %w", c.err)))
		if got.Kind != c.kind || got.Reason != c.reason {
			t.Errorf("%s: classify = %v, %v; want %v, %v", name, got.Kind, got.Reason, c.kind, c.reason)
		}
	}
}
