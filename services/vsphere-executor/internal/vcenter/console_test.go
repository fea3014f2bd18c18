package vcenter

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fault"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

// ask asks for the console of node edge-0.
func (b *Backend) ask(t *testing.T, change func(*ymv1.ConsoleQuestion)) (*ymv1.ConsoleAnswer, error) {
	t.Helper()
	q := &ymv1.ConsoleQuestion{Fleet: "web", Node: "edge-0", Incarnation: 1, MachineUuid: jobOf(0, 1).Job.MachineUUID}
	change(q)
	m, err := b.Console(t.Context(), q)
	if err != nil {
		return nil, err
	}
	answer, ok := m.(*ymv1.ConsoleAnswer)
	if !ok {
		t.Fatalf("Console = %T", m)
	}
	return answer, nil
}

func asIs(*ymv1.ConsoleQuestion) {}

// Without a serial port there is at least the hypervisor's log.
func TestConsole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	if _, err := b.Create(t.Context(), jobOf(0, 1)); err != nil {
		t.Fatal(err)
	}
	got, err := b.ask(t, asIs)
	if err != nil || !strings.HasSuffix(got.GetFile(), "/vmware.log") || len(got.GetLines()) == 0 {
		t.Fatalf("Console = %v, %v; want lines of the hypervisor's log", got, err)
	}
}

// The end of what a serial port wrote is shown, and as it can be shown.
func TestConsoleOfASerialPort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	if _, err := b.Create(t.Context(), jobOf(0, 1)); err != nil {
		t.Fatal(err)
	}
	vm := w.vm(t, "web-edge-0")
	const file = "[LocalDS_0] web-edge-0/serial.log"
	port := &types.VirtualSerialPort{VirtualDevice: types.VirtualDevice{Backing: &types.VirtualSerialPortFileBackingInfo{
		VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: file},
	}}}
	if err := vm.AddDevice(t.Context(), port); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ask(t, asIs); fault.Of(err).Reason != fault.NotFound {
		t.Errorf("Console of a port that wrote nothing = %v; want not_found", err)
	}
	var now mo.VirtualMachine
	if err := vm.Properties(t.Context(), vm.Reference(), []string{"datastore"}, &now); err != nil {
		t.Fatal(err)
	}
	store := object.NewDatastore(w.client.Client, now.Datastore[0])
	long := strings.Repeat("older\n", 20000) + "[    0.0] Linux\r\nlogin: \x1b[0m"
	if err := store.Upload(t.Context(), strings.NewReader(long), "web-edge-0/serial.log", &soap.DefaultUpload); err != nil {
		t.Fatal(err)
	}
	got, err := b.ask(t, func(q *ymv1.ConsoleQuestion) { q.MachineId = vm.Reference().Value })
	if err != nil || got.GetFile() != file || len(got.GetLines()) != 200 {
		t.Fatalf("Console = %d lines of %s, %v; want 200 of %s", len(got.GetLines()), got.GetFile(), err, file)
	}
	if d := cmp.Diff([]string{"older", "[    0.0] Linux", "login:"}, got.GetLines()[197:]); d != "" {
		t.Errorf("the last lines differ (-want +got):\n%s", d)
	}
}

// No question opens the log of a VM that is not the node's.
func TestConsoleOfTheNodeOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	for i := range 2 {
		if _, err := b.Create(t.Context(), jobOf(i, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(*ymv1.ConsoleQuestion){
		"no VM":               func(q *ymv1.ConsoleQuestion) { q.MachineUuid = jobOf(7, 1).Job.MachineUUID },
		"no such reference":   func(q *ymv1.ConsoleQuestion) { q.MachineId = "vm-4711" },
		"another node's VM":   func(q *ymv1.ConsoleQuestion) { q.MachineId = w.vm(t, "web-edge-1").Reference().Value },
		"the template":        func(q *ymv1.ConsoleQuestion) { q.MachineId = w.vm(t, testTemplate).Reference().Value },
		"another incarnation": func(q *ymv1.ConsoleQuestion) { q.Incarnation = 2 },
	} {
		if got, err := b.ask(t, change); fault.Of(err).Reason != fault.NotFound {
			t.Errorf("%s: Console = %v, %v; want not_found", name, got, err)
		}
	}
}
