package simulator

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/service"
)

// patience bounds every wait for a condition.
const patience = 60 * time.Second

// running is a world that serves, and a client that logged in.
type running struct {
	*World
	control ControlClient
	client  *govmomi.Client
	stop    func()
}

// start serves a world over HTTPS on ports of its own.
func start(t *testing.T, cfg Config) *running {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	cfg.Listen, cfg.Control = "127.0.0.1:0", "127.0.0.1:0"
	ctx, cancel := context.WithCancel(t.Context())
	w, err := New(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	health := service.NewHealth()
	done := make(chan error, 1)
	go func() { done <- w.Serve(ctx, health) }()
	r := &running{World: w}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(r.stop)
	eventually(t, "an address", func() bool { return w.URL() != "" })
	_, r.control.Address = w.addresses.get()
	if err := r.control.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.client = login(t, w, url.UserPassword(DefaultUser, DefaultSecret))
	return r
}

// connect makes a client that trusts the world's own certificate.
func connect(t *testing.T, w *World) *govmomi.Client {
	t.Helper()
	u, err := url.Parse(w.URL())
	if err != nil {
		t.Fatal(err)
	}
	s := soap.NewClient(u, false)
	if err := s.SetRootCAs(w.cfg.CAFile()); err != nil {
		t.Fatal(err)
	}
	c, err := vim25.NewClient(t.Context(), s)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	return &govmomi.Client{Client: c, SessionManager: session.NewManager(c)}
}

func login(t *testing.T, w *World, user *url.Userinfo) *govmomi.Client {
	t.Helper()
	c := connect(t, w)
	if err := c.Login(t.Context(), user); err != nil {
		t.Fatalf("login: %v", err)
	}
	return c
}

// eventually waits for ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %s", what, patience)
		}
		time.Sleep(2 * time.Millisecond) // between two looks, not for a result
	}
}

// find resolves an inventory path by the SearchIndex.
func (r *running) find(t *testing.T, path string) types.ManagedObjectReference {
	t.Helper()
	ref, err := object.NewSearchIndex(r.client.Client).FindByInventoryPath(t.Context(), path)
	if err != nil || ref == nil {
		t.Fatalf("find %s: %v, %v", path, ref, err)
	}
	return ref.Reference()
}

func (r *running) vm(ref types.ManagedObjectReference) *object.VirtualMachine {
	return object.NewVirtualMachine(r.client.Client, ref)
}

// template returns the template of a name.
func (r *running) template(t *testing.T, name string) *object.VirtualMachine {
	t.Helper()
	return r.vm(r.find(t, "/dc1/vm/"+name))
}

// folder makes the folder web below the datacenter's VM folder.
func (r *running) folder(t *testing.T) *object.Folder {
	t.Helper()
	root := object.NewFolder(r.client.Client, r.find(t, "/dc1/vm"))
	f, err := root.CreateFolder(t.Context(), "web")
	if err != nil {
		t.Fatalf("CreateFolder(web): %v", err)
	}
	return f
}

// wait polls a task as an executor does.
func (r *running) wait(ctx context.Context, task *object.Task) (types.ManagedObjectReference, error) {
	for {
		var out mo.Task
		if err := r.client.RetrieveOne(ctx, task.Reference(), []string{"info"}, &out); err != nil {
			return types.ManagedObjectReference{}, err
		}
		switch out.Info.State {
		case types.TaskInfoStateSuccess:
			ref, _ := out.Info.Result.(types.ManagedObjectReference)
			return ref, nil
		case types.TaskInfoStateError:
			return types.ManagedObjectReference{}, taskError{out.Info.Error}
		case types.TaskInfoStateQueued, types.TaskInfoStateRunning:
		}
		select {
		case <-time.After(5 * time.Millisecond): // as an executor polls
		case <-ctx.Done():
			return types.ManagedObjectReference{}, ctx.Err()
		}
	}
}

type taskError struct{ *types.LocalizedMethodFault }

func (e taskError) Error() string { return fmt.Sprintf("task ended with %T", e.Fault()) }

// Fault makes it readable for fault.As.
func (e taskError) Fault() types.BaseMethodFault { return e.LocalizedMethodFault.Fault }

// cloneSpec is a clone as the executor asks for it.
type cloneSpec struct {
	name   string
	folder *object.Folder
	extra  map[string]string
	mac    string
	linked bool
}

func (r *running) cloneRequest(ctx context.Context, template *object.VirtualMachine, c cloneSpec) (types.VirtualMachineCloneSpec, error) {
	pool, ds := r.inv.pool.Self, r.inv.datastore.Self
	spec := types.VirtualMachineCloneSpec{
		Location: types.VirtualMachineRelocateSpec{Pool: &pool, Datastore: &ds},
		Config: &types.VirtualMachineConfigSpec{
			NumCPUs: 4, MemoryMB: 8192, Annotation: "made by a test",
			Flags: &types.VirtualMachineFlagInfo{DiskUuidEnabled: new(true)},
		},
	}
	for k, v := range c.extra {
		spec.Config.ExtraConfig = append(spec.Config.ExtraConfig, &types.OptionValue{Key: k, Value: v})
	}
	if c.linked {
		snap, err := template.FindSnapshot(ctx, snapshotName)
		if err != nil {
			return spec, err
		}
		spec.Snapshot = snap
		spec.Location.DiskMoveType = string(types.VirtualMachineRelocateDiskMoveOptionsCreateNewChildDiskBacking)
	}
	if c.mac == "" {
		return spec, nil
	}
	devices, err := template.Device(ctx)
	if err != nil {
		return spec, err
	}
	nic := devices.SelectByType((*types.VirtualVmxnet3)(nil))[0]
	card := nic.(*types.VirtualVmxnet3).GetVirtualEthernetCard()
	card.MacAddress, card.AddressType = c.mac, string(types.VirtualEthernetCardMacTypeManual)
	spec.Location.DeviceChange = []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
		Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: nic,
	}}
	return spec, nil
}

// clone makes a VM and waits for it.
func (r *running) clone(ctx context.Context, template *object.VirtualMachine, c cloneSpec) (*object.VirtualMachine, error) {
	spec, err := r.cloneRequest(ctx, template, c)
	if err != nil {
		return nil, err
	}
	task, err := template.Clone(ctx, c.folder, c.name, spec)
	if err != nil {
		return nil, err
	}
	ref, err := r.wait(ctx, task)
	return r.vm(ref), err
}

func (r *running) powerOn(ctx context.Context, vm *object.VirtualMachine) error {
	task, err := vm.PowerOn(ctx)
	if err != nil {
		return err
	}
	_, err = r.wait(ctx, task)
	return err
}

func (r *running) powerOff(ctx context.Context, vm *object.VirtualMachine) error {
	task, err := vm.PowerOff(ctx)
	if err != nil {
		return err
	}
	_, err = r.wait(ctx, task)
	return err
}

// properties reads a VM as a client sees it.
func (r *running) properties(t *testing.T, vm *object.VirtualMachine) mo.VirtualMachine {
	t.Helper()
	var out mo.VirtualMachine
	names := []string{"name", "parent", "config", "guest", "runtime", "summary", "network", "resourcePool", "datastore", "snapshot"}
	if err := vm.Properties(t.Context(), vm.Reference(), names, &out); err != nil {
		t.Fatalf("properties of %s: %v", vm.Reference(), err)
	}
	return out
}

func extraConfig(vm mo.VirtualMachine) map[string]string {
	out := map[string]string{}
	for _, o := range vm.Config.ExtraConfig {
		out[o.GetOptionValue().Key], _ = o.GetOptionValue().Value.(string)
	}
	return out
}

// machine waits until the control endpoint shows the VM as ok wants it.
func (r *running) machine(t *testing.T, name string, ok func(Machine) bool) Machine {
	t.Helper()
	var seen Machine
	eventually(t, name+" as wanted", func() bool {
		all, err := r.control.Machines(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if m.Name == name {
				seen = m
				return ok(m)
			}
		}
		return false
	})
	return seen
}

func reported(m Machine) bool { return m.Reported }

// gateway is where guests phone home; it answers status until told.
type gateway struct {
	*httptest.Server
	mu sync.Mutex
	// order is what reports are answered with.
	order  string
	status int
	calls  map[string][]call
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{status: http.StatusOK, calls: map[string][]call{}}
	g.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body := new(bytes.Buffer)
		_, _ = body.ReadFrom(r.Body)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.calls[r.URL.Path] = append(g.calls[r.URL.Path], call{method: r.Method, url: r.URL.String(), body: body.String(), header: r.Header})
		rw.WriteHeader(g.status)
		if strings.HasSuffix(r.URL.Path, "/report") {
			_, _ = rw.Write([]byte(g.order))
		}
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gateway) answer(status int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status = status
}

func (g *gateway) of(node string) []call {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls["/v1/nodes/"+node+"/phone-home"]
}

const phoneHomeUnit = `[Unit]
Description=Report first successful boot to the provisioner
ConditionPathExists=/etc/yardmaster/phone-home.env
StartLimitIntervalSec=0

[Service]
Type=oneshot
EnvironmentFile=/etc/yardmaster/phone-home.env
EnvironmentFile=/etc/os-release
ExecStart=/usr/bin/curl --fail --silent --show-error --max-time 30 --retry 0 -H "Authorization: Bearer ${PHONE_HOME_TOKEN}" -H "Content-Type: application/json" --data-raw "{\"machine_id\":\"%m\",\"boot_id\":\"%b\",\"hostname\":\"%H\",\"os_version\":\"${VERSION_ID}\"}" ${PHONE_HOME_URL}
ExecStartPost=/usr/bin/rm -f /etc/yardmaster/phone-home.env
Restart=on-failure
RestartSec=15

[Install]
WantedBy=multi-user.target
`

// ignitionConfig is what the renderer makes for a node: base and static-net.
func ignitionConfig(node, gateway, mac, address string) string {
	file := func(path, content string) map[string]any {
		return map[string]any{"path": path, "mode": 420, "overwrite": true, "contents": map[string]any{"source": "data:," + url.PathEscape(content)}}
	}
	cfg := map[string]any{
		"ignition": map[string]any{"version": "3.3.0"},
		"storage": map[string]any{"files": []any{
			file("/etc/hostname", node+".example"),
			file("/etc/yardmaster/phone-home.env", "PHONE_HOME_URL="+gateway+"/v1/nodes/"+node+"/phone-home\nPHONE_HOME_TOKEN=token-of-"+node+"\n"),
			file("/etc/systemd/network/00-yardmaster.network", "[Match]\nMACAddress="+mac+"\n\n[Network]\nAddress="+address+"/24\nGateway=10.20.30.254\n"),
		}},
		"systemd": map[string]any{"units": []any{map[string]any{
			"name": "yardmaster-phone-home.service", "enabled": true, "contents": phoneHomeUnit,
		}}},
	}
	out, err := json.Marshal(cfg)
	if err != nil {
		panic(err)
	}
	return string(out)
}

// guestinfo encodes a config as the executor puts it into extra config.
func guestinfo(config string) map[string]string {
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	_, _ = zw.Write([]byte(config))
	_ = zw.Close()
	return map[string]string{
		keyData:     base64.StdEncoding.EncodeToString(z.Bytes()),
		keyEncoding: "gzip+base64",
	}
}

func readConsole(t *testing.T, w *World, vm string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Clean(w.cfg.ConsoleFile(vm)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}
