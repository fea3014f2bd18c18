package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/service"
)

// childVariable holds the configuration of a world that this test binary runs
// as a process of its own, to be killed.
const childVariable = "SIMULATED_WORLD"

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		var cfg Config
		err := json.Unmarshal([]byte(text), &cfg)
		if err == nil {
			env := service.Env{Log: slog.New(slog.DiscardHandler), Health: service.NewHealth()}
			err = Run(context.Background(), cfg, env)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// freePort is free at the moment.
func freePort(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// process is a world in a process, seen through a client of it.
type process struct {
	*running
	cmd *exec.Cmd
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = p.cmd.Wait() // it says that it was killed
}

func startProcess(t *testing.T, cfg Config) *process {
	t.Helper()
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// What a client knows of a world it cannot look into.
	w := &World{cfg: cfg}
	w.addresses.set(cfg.Listen, cfg.Control)
	r := &running{World: w, control: ControlClient{Address: cfg.Control}}
	if err := r.control.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.client = login(t, w, url.UserPassword(DefaultUser, DefaultSecret))
	// Morefs are the same each time; a world built beside tells them.
	return &process{running: r, cmd: cmd}
}

// acknowledged is what the vCenter said was done.
type acknowledged struct {
	mu  sync.Mutex
	vms map[string]string // name to power state
}

func (a *acknowledged) set(name, power string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.vms[name] = power
}

func (a *acknowledged) copy() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.vms)
}

// work clones and powers on until the world is gone.
func (p *process) work(ctx context.Context, folder *object.Folder, template *object.VirtualMachine, ack *acknowledged, prefix string) {
	for i := 0; ; i++ {
		name := fmt.Sprintf("%s-%d", prefix, i)
		vm, err := p.clone(ctx, template, cloneSpec{name: name, folder: folder})
		if err != nil {
			return
		}
		ack.set(name, "poweredOff")
		if p.powerOn(ctx, vm) != nil {
			return
		}
		ack.set(name, "poweredOn")
	}
}

// TestKilledLosesNothing kills the process with -9 amid clones, round after
// round: what a task reported as done must be there again.
func TestKilledLosesNothing(t *testing.T) {
	t.Parallel()
	cfg := Config{Dir: t.TempDir(), Listen: freePort(t), Control: freePort(t)}.withDefaults()
	ack := &acknowledged{vms: map[string]string{}}
	beside := newInventory(t)
	for round := range 4 {
		p := startProcess(t, cfg)
		p.inv = beside
		checkAcknowledged(t, p, ack.copy())
		folder, err := p.sameFolder(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		template := p.template(t, "flatcar-4593.2.5")
		before := len(ack.copy())
		var group errgroup.Group
		for i := range 3 {
			group.Go(func() error {
				p.work(t.Context(), folder, template, ack, fmt.Sprintf("r%d-w%d", round, i))
				return nil
			})
		}
		eventually(t, "a few more machines", func() bool { return len(ack.copy()) >= before+7+round })
		p.kill(t)
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	p := startProcess(t, cfg)
	checkAcknowledged(t, p, ack.copy())
	t.Logf("%d machines acknowledged over 4 kills", len(ack.copy()))
	p.kill(t)
}

// newInventory builds the default inventory to learn its morefs.
func newInventory(t *testing.T) inventory {
	t.Helper()
	w, err := New(t.Context(), Config{Dir: t.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.journal.close(); err != nil {
		t.Fatal(err)
	}
	return w.inv
}

// sameFolder makes the folder web or finds it.
func (p *process) sameFolder(ctx context.Context) (*object.Folder, error) {
	index := object.NewSearchIndex(p.client.Client)
	ref, err := index.FindByInventoryPath(ctx, "/dc1/vm/web")
	if err == nil && ref != nil {
		return object.NewFolder(p.client.Client, ref.Reference()), nil
	}
	root, err2 := index.FindByInventoryPath(ctx, "/dc1/vm")
	if err2 != nil || root == nil {
		return nil, errors.Join(err, err2, errors.New("no VM folder"))
	}
	return object.NewFolder(p.client.Client, root.Reference()).CreateFolder(ctx, "web")
}

func checkAcknowledged(t *testing.T, p *process, want map[string]string) {
	t.Helper()
	for name, power := range want {
		ref := p.find(t, "/dc1/vm/web/"+name)
		var vm mo.VirtualMachine
		if err := p.vm(ref).Properties(t.Context(), ref, []string{"runtime.powerState"}, &vm); err != nil {
			t.Fatal(err)
		}
		// Off may have become on without anybody having been told.
		if got := string(vm.Runtime.PowerState); got != power && power == "poweredOn" {
			t.Errorf("%s is %s after a kill; want %s", name, got, power)
		}
	}
}
