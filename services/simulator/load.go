package simulator

import (
	"fmt"
	"maps"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Busy is how much of a kind runs at once, and how much did at most.
type Busy struct {
	Now  int `json:"now"`
	Most int `json:"most"`
}

func (b Busy) plus(n int) Busy {
	b.Now += n
	b.Most = max(b.Most, b.Now)
	return b
}

// Load is what clients have the vCenter do, since the world began or since it
// was last reset.
type Load struct {
	// Operations are tasks of any kind, from the call that begins one to its
	// end; Clones those that clone, from each template and to each datastore.
	Operations Busy            `json:"operations"`
	Clones     Busy            `json:"clones"`
	Templates  map[string]Busy `json:"templates"`
	Datastores map[string]Busy `json:"datastores"`
	// Calls counts the calls of each method, retrievals of properties by what
	// they are about: RetrievePropertiesEx(VirtualMachine).
	Calls map[string]int `json:"calls"`
}

// meter counts the load.
type meter struct {
	mu   sync.Mutex
	load Load
}

func newMeter() *meter {
	return &meter{load: Load{Templates: map[string]Busy{}, Datastores: map[string]Busy{}, Calls: map[string]int{}}}
}

func (m *meter) read() Load {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.load
	l.Templates, l.Datastores, l.Calls = maps.Clone(l.Templates), maps.Clone(l.Datastores), maps.Clone(l.Calls)
	return l
}

// reset forgets the calls and the peaks, and returns what they were.
func (m *meter) reset() Load {
	was := m.read()
	m.mu.Lock()
	defer m.mu.Unlock()
	calm := func(b Busy) Busy { return Busy{Now: b.Now, Most: b.Now} }
	m.load.Operations, m.load.Clones = calm(m.load.Operations), calm(m.load.Clones)
	for _, all := range []map[string]Busy{m.load.Templates, m.load.Datastores} {
		for name, b := range all {
			all[name] = calm(b)
		}
	}
	clear(m.load.Calls)
	return was
}

// place is what a task counts for.
type place struct {
	clone               bool
	template, datastore string
}

// begin counts a task; end must be called before its client can see its end.
func (m *meter) begin(p place) (end func()) {
	m.add(p, 1)
	return func() { m.add(p, -1) }
}

func (m *meter) add(p place, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load.Operations = m.load.Operations.plus(n)
	if !p.clone {
		return
	}
	m.load.Clones = m.load.Clones.plus(n)
	m.load.Templates[p.template] = m.load.Templates[p.template].plus(n)
	m.load.Datastores[p.datastore] = m.load.Datastores[p.datastore].plus(n)
}

func (m *meter) called(call *simulator.Method) {
	name := call.Name
	switch body := call.Body.(type) {
	case *types.RetrievePropertiesEx:
		name = fmt.Sprintf("%s(%s)", name, subject(body.SpecSet))
	case *types.RetrieveProperties:
		name = fmt.Sprintf("%s(%s)", name, subject(body.SpecSet))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load.Calls[name]++
}

// subject is the type of what a retrieval begins with.
func subject(specs []types.PropertyFilterSpec) string {
	for _, s := range specs {
		for _, o := range s.ObjectSet {
			return o.Obj.Type
		}
	}
	return ""
}

// placeOf says what a task counts for; target is what it is called on.
func (w *World) placeOf(op operation, target types.ManagedObjectReference) place {
	if op.verb != OnClone {
		return place{}
	}
	p := place{clone: true}
	source, ok := w.reg.Get(target).(*simulator.VirtualMachine)
	if !ok {
		return p
	}
	p.template = source.Name
	store := op.clone.Spec.Location.Datastore
	if store == nil && len(source.Datastore) > 0 {
		store = &source.Datastore[0]
	}
	if store != nil {
		if d, ok := w.reg.Get(*store).(*simulator.Datastore); ok {
			p.datastore = d.Name
		}
	}
	return p
}
