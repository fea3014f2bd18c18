package vcenter

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// taskHandler stands between us and the simulator: it makes tasks fail as a
// real vCenter's do, and keeps the simulator from showing VMs that it is still
// writing (it reads and writes them at once, and dies in FindChild).
type taskHandler struct {
	gate sync.RWMutex // written by clones, read by calls

	mu    sync.Mutex
	rules []*rule
	boots map[types.ManagedObjectReference]int
	// away makes every call fail on the way.
	away atomic.Bool
	// calls counts all calls.
	calls atomic.Int64
	// methods counts those that came to the simulator, by the method's name.
	methods map[string]int
	refuse  []*refused
	trips   []*trip
}

// refused makes the next call of a method end with a fault.
type refused struct {
	method string
	fault  types.BaseMethodFault
}

// trip spoils the way of the next call of a method.
type trip struct {
	method string
	// status is answered by something between us and vCenter; 0 is a cut line,
	// holeStatus nothing at all, and with passStatus the call goes on.
	status int
	// late lets the call through: only the answer is lost.
	late bool
	// told, if set, is called first.
	told func()
}

const (
	holeStatus = -1
	passStatus = -2
)

// called counts a call and refuses it if a test says so.
func (h *taskHandler) called(_ *simulator.Context, m *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.methods == nil {
		h.methods = map[string]int{}
	}
	h.methods[m.Name]++
	for i, r := range h.refuse {
		if r.method == m.Name {
			h.refuse = append(h.refuse[:i:i], h.refuse[i+1:]...)
			return nil, r.fault
		}
	}
	return nil, nil
}

// came is how often a method was called.
func (h *taskHandler) came(method string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.methods[method]
}

// tripOf returns what happens to a request on its way, nil if nothing does.
func (h *taskHandler) tripOf(r *http.Request) *trip {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.trips) == 0 {
		return nil
	}
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	for i, t := range h.trips {
		if bytes.Contains(body, []byte("<"+t.method+" ")) {
			h.trips = append(h.trips[:i:i], h.trips[i+1:]...)
			return t
		}
	}
	return nil
}

// spoil ends a call as the trip says.
func (t *trip) spoil(rw http.ResponseWriter, r *http.Request) {
	switch t.status {
	case holeStatus:
		<-r.Context().Done()
	case 0:
		panic(http.ErrAbortHandler)
	default:
		rw.WriteHeader(t.status)
		_, _ = rw.Write([]byte("<html>not vCenter</html>"))
	}
}

// rule makes the next task of a kind fail.
type rule struct {
	operation string // the simulator's name: cloneVm, powerOn, reconfigVm, destroy
	fault     types.BaseMethodFault
	// ghost has the work done all the same.
	ghost bool
	// hold, if set, must be closed before the work begins.
	hold chan struct{}
	// vanish has vCenter forget the task, once the work is done.
	vanish bool
}

func (h *taskHandler) add(r *rule) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rules = append(h.rules, r)
}

func (h *taskHandler) take(operation string) *rule {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, r := range h.rules {
		if r.operation == operation {
			h.rules = append(h.rules[:i:i], h.rules[i+1:]...)
			return r
		}
	}
	return &rule{}
}

// front serves the simulator through the gate.
func (h *taskHandler) front(t *testing.T, behind http.Handler) *url.URL {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if h.away.Load() {
			panic(http.ErrAbortHandler)
		}
		h.calls.Add(1)
		trip := h.tripOf(r)
		if trip != nil && trip.told != nil {
			trip.told()
		}
		if trip == nil || trip.status == passStatus {
			h.through(behind, rw, r)
			return
		}
		if trip.late {
			h.through(behind, httptest.NewRecorder(), r)
		}
		trip.spoil(rw, r)
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL + "/sdk")
	if err != nil {
		t.Fatal(err)
	}
	u.User = simulator.DefaultLogin
	return u
}

func (h *taskHandler) through(behind http.Handler, rw http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/rest/") {
		behind.ServeHTTP(rw, r) // it calls the SDK itself
		return
	}
	h.gate.RLock()
	defer h.gate.RUnlock()
	behind.ServeHTTP(rw, r)
}

func (h *taskHandler) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Test", Value: "tasks"}
}

func (h *taskHandler) PutObject(ctx *simulator.Context, o mo.Reference) {
	task, ok := o.(*simulator.Task)
	if !ok {
		return
	}
	operation := operationOf(task.Info.DescriptionId)
	makes := slices.Contains([]string{"cloneVm", "ImportVAppLRO"}, operation)
	if makes {
		// A task has its entity's lock while it waits for the gate, and whoever
		// reads the template has the gate while it waits for that lock.
		task.Info.Entity = &types.ManagedObjectReference{Type: "VirtualMachine", Value: "waiting-" + task.Self.Value}
	}
	work := task.Execute
	task.Execute = func(task *simulator.Task) (types.AnyType, types.BaseMethodFault) {
		r := h.take(operation)
		if r.hold != nil {
			<-r.hold
		}
		if makes {
			h.gate.Lock()
			defer h.gate.Unlock()
		}
		if r.fault != nil && !r.ghost {
			return nil, r.fault
		}
		result, failed := work(task)
		if failed == nil {
			h.done(ctx, operation, task, result)
		}
		if r.vanish {
			ctx.Map.Remove(ctx, task.Self)
		}
		if r.fault != nil {
			return nil, r.fault
		}
		return result, failed
	}
}

// done finishes what the simulator leaves undone, and counts boots.
func (h *taskHandler) done(ctx *simulator.Context, operation string, task *simulator.Task, result types.AnyType) {
	switch operation {
	case "cloneVm", "createVm":
		inheritHot(ctx, result)
	case "powerOn":
		h.booted(*task.Info.Entity)
	}
}

// inheritHot gives a VM what its template, or its image's descriptor, says that
// it takes while it runs: the simulator forgets the one and reads not the other.
func inheritHot(ctx *simulator.Context, clone types.AnyType) {
	r, _ := clone.(types.ManagedObjectReference)
	if vm, ok := ctx.Map.Get(r).(*simulator.VirtualMachine); ok {
		vm.Config.CpuHotAddEnabled, vm.Config.MemoryHotAddEnabled = new(true), new(true)
	}
}

func (h *taskHandler) booted(vm types.ManagedObjectReference) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.boots == nil {
		h.boots = map[types.ManagedObjectReference]int{}
	}
	h.boots[vm]++
}

// count says how often a VM was switched on.
func (h *taskHandler) count(vm types.ManagedObjectReference) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.boots[vm]
}

// operationOf is the last part of a task's description.
func operationOf(description string) string {
	return description[strings.LastIndexByte(description, '.')+1:]
}

func (h *taskHandler) UpdateObject(*simulator.Context, mo.Reference, []types.PropertyChange) {}

func (h *taskHandler) RemoveObject(*simulator.Context, types.ManagedObjectReference) {}
