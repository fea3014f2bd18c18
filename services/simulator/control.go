package simulator

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/service"
)

// Machine is a VM and its guest as the control endpoint tells of them.
type Machine struct {
	Name      string `json:"name"`
	Ref       string `json:"ref"`
	Power     string `json:"power"`
	Phase     Phase  `json:"phase"`
	Address   string `json:"address,omitempty"`
	Hostname  string `json:"hostname,omitempty"`
	MAC       string `json:"mac,omitempty"`
	MachineID string `json:"machineId,omitempty"`
	// Reported means that its phone-home was answered.
	Reported bool `json:"reported,omitempty"`
	// Reason says why it is not up, or why its phone-home failed last.
	Reason string `json:"reason,omitempty"`
}

// Status says where the world is and what it holds.
type Status struct {
	URL        string `json:"url"`
	CAFile     string `json:"caFile"`
	Thumbprint string `json:"thumbprintFile"`
	User       string `json:"user"`
	Machines   int    `json:"machines"`
	Sessions   int    `json:"sessions"`
}

// addresses are where the world listens in fact; a port of 0 is chosen late.
type addresses struct {
	mu             sync.Mutex
	front, control string
}

func (a *addresses) set(front, control string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.front, a.control = front, control
}

func (a *addresses) get() (front, control string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.front, a.control
}

// URL is the vCenter's SDK endpoint; empty until it listens.
func (w *World) URL() string {
	front, _ := w.addresses.get()
	if front == "" {
		return ""
	}
	return "https://" + front + "/sdk"
}

// away and rename are the bodies of their requests.
type away struct {
	For fleet.Duration `json:"for"`
}

type rename struct {
	From string `json:"from"`
	To   string `json:"to"`
}

type count struct {
	Count int `json:"count"`
}

const bodyLimit = 1 << 20

// loopback refuses an address that others could reach: whoever reaches the
// control endpoint can switch the vCenter off.
func loopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("control address: %w", err)
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return fmt.Errorf("control address %s is not a loopback address; use %s", addr, DefaultControl)
	}
	return nil
}

func (w *World) controlHandler(ctx context.Context, front *door, health *service.Health) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("ok\n")) })
	mux.Handle("GET /readyz", health)
	mux.HandleFunc("GET /status", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.status()) })
	mux.HandleFunc("GET /machines", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.machines()) })
	mux.HandleFunc("GET /faults", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.faults.list()) })
	mux.HandleFunc("PUT /faults", func(rw http.ResponseWriter, r *http.Request) {
		var rules []Rule
		if !body(rw, r, &rules) {
			return
		}
		if err := w.faults.set(rules); err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		answer(rw, w.faults.list())
	})
	mux.HandleFunc("GET /denied", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.rights.list()) })
	mux.HandleFunc("PUT /denied", func(rw http.ResponseWriter, r *http.Request) {
		var denied []Denial
		if !body(rw, r, &denied) {
			return
		}
		if err := w.rights.set(denied); err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		answer(rw, w.rights.list())
	})
	mux.HandleFunc("GET /datastore", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.datastore()) })
	mux.HandleFunc("PUT /datastore", func(rw http.ResponseWriter, r *http.Request) {
		var req Datastore
		if !body(rw, r, &req) {
			return
		}
		if err := w.room.resize(req.Size); err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		w.showRoom()
		answer(rw, w.datastore())
	})
	mux.HandleFunc("GET /load", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.meter.read()) })
	mux.HandleFunc("POST /load/reset", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.meter.reset()) })
	mux.HandleFunc("POST /sessions/kill", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, count{w.killSessions()}) })
	mux.HandleFunc("POST /away", func(rw http.ResponseWriter, r *http.Request) {
		var req away
		if body(rw, r, &req) {
			w.goAway(ctx, front, req.For.Duration)
			answer(rw, req)
		}
	})
	mux.HandleFunc("POST /rename", func(rw http.ResponseWriter, r *http.Request) {
		var req rename
		if !body(rw, r, &req) {
			return
		}
		if err := w.rename(req.From, req.To); err != nil {
			http.Error(rw, err.Error(), http.StatusNotFound)
			return
		}
		answer(rw, req)
	})
	return mux
}

func answer(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(v) // the client is gone, who would care
}

func body(rw http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(rw, r.Body, bodyLimit))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		http.Error(rw, "request body: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func (w *World) status() Status {
	return Status{
		URL: w.URL(), CAFile: w.cfg.CAFile(), Thumbprint: w.cfg.ThumbprintFile(), User: w.cfg.User,
		Machines: len(w.machines()), Sessions: len(w.sessions()),
	}
}

// machines lists the VMs that clients made.
func (w *World) machines() []Machine {
	out := []Machine{}
	for _, e := range w.reg.All("VirtualMachine") {
		vm, ok := e.(*simulator.VirtualMachine)
		if !ok || w.base[vm.Reference()] {
			continue
		}
		m, ok := w.look(vm.Reference().Value)
		if !ok || m.Name == "" || m.Template || !w.journal.knows(m.Ref) {
			continue
		}
		g := w.guests.of(m.Ref)
		seen := Machine{
			Name: m.Name, Ref: m.Ref, Power: m.Power, Phase: g.Phase, Address: g.Address, Hostname: g.Hostname,
			MachineID: machineID(m), Reported: g.Disk.Reported, Reason: g.Reason,
		}
		if len(m.NICs) > 0 {
			seen.MAC = m.NICs[0].MAC
		}
		out = append(out, seen)
	}
	slices.SortFunc(out, func(a, b Machine) int { return int(serial(a.Ref) - serial(b.Ref)) })
	return out
}

func (w *World) sessions() []string {
	m, ok := w.svc.Context.Session.Get(w.reg.SessionManager().Self).(*simulator.SessionManager)
	if !ok {
		return nil
	}
	var keys []string
	for _, s := range m.SessionList {
		keys = append(keys, s.Key)
	}
	return keys
}

// killSessions ends every session, as an administrator can.
func (w *World) killSessions() int {
	keys := w.sessions()
	ctx := w.context()
	ctx.Session = w.svc.Context.Session
	for _, key := range keys {
		// One that ended meanwhile is as good.
		_ = w.reg.SessionManager().TerminateSession(ctx, &types.TerminateSession{SessionId: []string{key}})
	}
	return len(keys)
}

// goAway closes the vCenter's port and opens it again after d. It returns
// once the port is closed; whoever asks while it is closed changes nothing.
func (w *World) goAway(ctx context.Context, front *door, d time.Duration) {
	if !front.shut() {
		return
	}
	w.away.Go(func() {
		select {
		case <-time.After(d):
			_ = front.open(ctx) // it gives up only when the world ends
		case <-ctx.Done():
		}
	})
}

// rename gives a VM or template another name: a template that is renamed is
// missing.
func (w *World) rename(from, to string) error {
	w.gate.RLock()
	found := w.reg.FindByName(from, w.inv.vmFolder.ChildEntity)
	w.gate.RUnlock()
	vm, ok := found.(*simulator.VirtualMachine)
	if !ok {
		return fmt.Errorf("no VM or template %q in the datacenter's VM folder", from)
	}
	call := &machineCall{VirtualMachine: vm, w: w}
	res, ok := call.RenameTask(w.context(), &types.Rename_Task{This: vm.Self, NewName: to}).(*methods.Rename_TaskBody)
	if !ok || res.Fault() != nil {
		return fmt.Errorf("rename %s to %s: %v", from, to, res.Fault())
	}
	if t, ok := w.reg.Get(res.Res.Returnval).(*simulator.Task); ok {
		t.Wait()
		if t.Info.Error != nil {
			return fmt.Errorf("rename %s to %s: %T", from, to, t.Info.Error.Fault)
		}
	}
	return nil
}
