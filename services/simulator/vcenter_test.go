package simulator

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"golang.org/x/sync/errgroup"
)

func TestThumbprintHolds(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	file, err := os.ReadFile(r.cfg.ThumbprintFile())
	if err != nil {
		t.Fatal(err)
	}
	connectBy := func(w *World, thumbprint string) error {
		u, err := soap.ParseURL(w.URL())
		if err != nil {
			return err
		}
		s := soap.NewClient(u, false)
		s.SetThumbprint(u.Host, thumbprint)
		_, err = vim25.NewClient(t.Context(), s)
		return err
	}
	if err := connectBy(r.World, strings.TrimSpace(string(file))); err != nil {
		t.Errorf("connect by thumbprint %q: %v", file, err)
	}
	if err := connectBy(r.World, strings.Repeat("AA:", 31)+"AA"); err == nil {
		t.Error("a wrong thumbprint was accepted")
	}
	again := start(t, Config{Dir: copyDir(t, r.cfg.Dir)})
	if err := connectBy(again.World, strings.TrimSpace(string(file))); err != nil {
		t.Errorf("connect by thumbprint after a restart: %v", err)
	}
}

func TestReadyz(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	status, err := r.control.Status(t.Context())
	if err != nil || status.URL != r.URL() || status.Sessions != 1 || status.User != DefaultUser {
		t.Errorf("Status() = %+v, %v", status, err)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/nope": 404} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.control.Address+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("GET %s = %d; want %d", path, res.StatusCode, want)
		}
	}
}

func TestTakenPortIsNamed(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	front, _ := r.addresses.get()
	w, err := New(t.Context(), Config{Dir: t.TempDir(), Listen: front, Control: "127.0.0.1:0"}, r.log)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Serve(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "taken by") {
		t.Errorf("Serve on a taken port = %v; want its owner named", err)
	}
}

func TestControlOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	for addr, fine := range map[string]bool{
		"127.0.0.1:0": true, "[::1]:0": true, "localhost:0": true,
		"0.0.0.0:0": false, ":8990": false, "192.0.2.1:0": false, "host.example:0": false, "8990": false,
	} {
		if err := loopback(addr); (err == nil) != fine {
			t.Errorf("loopback(%q) = %v; want fine %v", addr, err, fine)
		}
	}
}

func TestLinkedCloneNeedsSnapshot(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	folder := r.folder(t)
	template := r.template(t, "flatcar-4593.2.5")
	vm, err := r.clone(t.Context(), template, cloneSpec{name: "linked", folder: folder, linked: true})
	if err != nil {
		t.Fatal(err)
	}
	devices := object.VirtualDeviceList(r.properties(t, vm).Config.Hardware.Device)
	backing := devices.SelectByType((*types.VirtualDisk)(nil))[0].GetVirtualDevice().Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	if backing.Parent == nil || !strings.Contains(backing.Parent.FileName, "flatcar-4593.2.5") {
		t.Errorf("linked disk's parent = %+v; want the template's disk", backing.Parent)
	}
	spec, err := r.cloneRequest(t.Context(), template, cloneSpec{})
	if err != nil {
		t.Fatal(err)
	}
	spec.Location.DiskMoveType = string(types.VirtualMachineRelocateDiskMoveOptionsCreateNewChildDiskBacking)
	task, err := template.Clone(t.Context(), folder, "no-snapshot", spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.wait(t.Context(), task); !isFault[*types.InvalidArgument](err) {
		t.Errorf("linked clone without a snapshot = %v; want InvalidArgument", err)
	}
}

func TestDeadReferences(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	folder := r.folder(t)
	template := r.template(t, "flatcar-4593.2.5")
	dead := reference("Datastore", "datastore-999")
	spec, err := r.cloneRequest(t.Context(), template, cloneSpec{})
	if err != nil {
		t.Fatal(err)
	}
	spec.Location.Datastore = &dead
	if _, err := template.Clone(t.Context(), folder, "x", spec); !isFault[*types.ManagedObjectNotFound](err) {
		t.Errorf("clone to a dead datastore = %v; want ManagedObjectNotFound", err)
	}
	gone := object.NewFolder(r.client.Client, reference("Folder", "group-999"))
	spec.Location.Datastore = nil
	if _, err := template.Clone(t.Context(), gone, "x", spec); !isFault[*types.ManagedObjectNotFound](err) {
		t.Errorf("clone into a dead folder = %v; want ManagedObjectNotFound", err)
	}
	if _, err := r.clone(t.Context(), template, cloneSpec{name: "x", folder: folder}); err != nil {
		t.Errorf("clone afterwards = %v: the template hangs", err)
	}
}

func TestDuplicateName(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	folder := r.folder(t)
	template := r.template(t, "flatcar-4593.2.5")
	if _, err := r.clone(t.Context(), template, cloneSpec{name: "x", folder: folder}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.clone(t.Context(), template, cloneSpec{name: "x", folder: folder}); !isFault[*types.DuplicateName](err) {
		t.Errorf("second clone = %v; want DuplicateName", err)
	}
	foreign, err := templateSpec("x", "ds1")
	if err != nil {
		t.Fatal(err)
	}
	pool := object.NewResourcePool(r.client.Client, r.inv.pool.Self)
	if _, err := folder.CreateVM(t.Context(), foreign, pool, nil); !isFault[*types.DuplicateName](err) {
		t.Errorf("CreateVM of a taken name = %v; want DuplicateName", err)
	}
	foreign.Name = "y"
	task, err := folder.CreateVM(t.Context(), foreign, pool, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.wait(t.Context(), task); err != nil {
		t.Fatalf("CreateVM: %v", err)
	}
	again := start(t, Config{Dir: copyDir(t, r.cfg.Dir)})
	again.find(t, "/dc1/vm/web/y")
	destroy, err := object.NewFolder(again.client.Client, folder.Reference()).Destroy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.wait(t.Context(), destroy); !isFault[*types.ResourceInUse](err) {
		t.Errorf("destroy a folder in use = %v; want ResourceInUse", err)
	}
}

// TestPortgroup puts a clone's card on a distributed portgroup, over a
// restart.
func TestPortgroup(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	template := r.template(t, "flatcar-4593.2.5")
	pg := object.NewDistributedVirtualPortgroup(r.client.Client, r.find(t, "/dc1/network/dmz"))
	backing, err := pg.EthernetCardBackingInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	devices, err := template.Device(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nic := devices.SelectByType((*types.VirtualVmxnet3)(nil))[0]
	nic.GetVirtualDevice().Backing = backing
	spec, err := r.cloneRequest(t.Context(), template, cloneSpec{})
	if err != nil {
		t.Fatal(err)
	}
	spec.Location.DeviceChange = []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
		Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: nic,
	}}
	task, err := template.Clone(t.Context(), r.folder(t), "x", spec)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := r.wait(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	before := r.see(t, r.vm(ref))
	if fmt.Sprint(before.Networks) != fmt.Sprint([]string{pg.Reference().String()}) {
		t.Errorf("networks = %v; want %v", before.Networks, pg.Reference())
	}
	again := start(t, Config{Dir: copyDir(t, r.cfg.Dir)})
	if after := again.see(t, again.vm(ref)); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("after a restart %+v; want %+v", after, before)
	}
}

// crowd is many clones at the same time, from several templates.
type crowd struct {
	*running
	folder    *object.Folder
	templates []*object.VirtualMachine
	gateway   string
	each      int
}

func (c *crowd) size() int { return c.each * len(c.templates) }

// make clones and powers on every node.
func (c *crowd) make(ctx context.Context, workers int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for n := range c.size() {
		group.Go(func() error {
			node, mac := fmt.Sprintf("node-%d", n), ""
			if n%2 == 0 { // the others get one from the vCenter
				mac = fmt.Sprintf("02:00:00:00:%02x:%02x", n>>8, n&0xff)
			}
			vm, err := c.clone(ctx, c.templates[n%len(c.templates)], cloneSpec{
				name: node, folder: c.folder, mac: mac, extra: guestinfo(ignitionConfig(node, c.gateway, mac, "10.20.30.41")),
			})
			if err != nil {
				return fmt.Errorf("clone %s: %w", node, err)
			}
			return c.powerOn(ctx, vm)
		})
	}
	return group.Wait()
}

// look searches until stop ends, and returns how often.
func (c *crowd) look(ctx, stop context.Context) (int, error) {
	index := object.NewSearchIndex(c.client.Client)
	looked := 0
	for ; stop.Err() == nil; looked++ {
		if _, err := index.FindChild(ctx, c.folder, fmt.Sprintf("node-%d", looked%c.size())); err != nil {
			return looked, fmt.Errorf("FindChild: %w", err)
		}
		if _, err := index.FindByUuid(ctx, nil, "none", true, new(true)); err != nil {
			return looked, fmt.Errorf("FindByUuid: %w", err)
		}
	}
	return looked, nil
}

// TestManyClones is what kills govmomi's simulator by itself: clones from
// several templates into one folder beside look-ups.
func TestManyClones(t *testing.T) {
	t.Parallel()
	names := []string{"t1", "t2", "t3", "t4"}
	r := start(t, Config{Inventory: Inventory{Templates: names}})
	c := &crowd{running: r, folder: r.folder(t), gateway: newGateway(t).URL, each: 60}
	for _, name := range names {
		c.templates = append(c.templates, r.template(t, name))
	}
	stop, done := context.WithCancel(t.Context())
	looked := make(chan int, 1)
	var group errgroup.Group
	group.Go(func() error {
		n, err := c.look(t.Context(), stop)
		looked <- n
		return err
	})
	begin := time.Now()
	if err := c.make(t.Context(), 8); err != nil {
		t.Error(err)
	}
	took := time.Since(begin)
	done()
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	n := <-looked
	t.Logf("%d clones in %s beside %d look-ups", c.size(), took, n)
	macs := map[string]bool{}
	eventually(t, "every machine has reported", func() bool {
		all, err := r.control.Machines(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		reported := 0
		for _, m := range all {
			macs[m.MAC] = true
			if m.Reported {
				reported++
			}
		}
		return reported == c.size()
	})
	if len(macs) != c.size() || n == 0 {
		t.Errorf("%d distinct MACs of %d machines, %d look-ups", len(macs), c.size(), n)
	}
}
