package simulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/vmware/govmomi/simulator"
	vapi "github.com/vmware/govmomi/vapi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// World is a simulated vCenter with its guests.
type World struct {
	cfg Config
	log *slog.Logger
	ctx context.Context //nolint:containedctx // the simulator calls back without one
	svc *simulator.Service
	reg *simulator.Registry
	inv inventory
	// base holds what the inventory was built with; it is not journaled.
	base map[types.ManagedObjectReference]bool

	// gate lets what changes folders run alone, and look-ups beside each
	// other. It is always taken before any lock of the simulator.
	gate    sync.RWMutex
	pending pending
	filling filling
	faults  faultBook
	rights  rights
	room    room
	meter   *meter
	guests  *guests
	journal *journal
	http    *http.Client

	addresses addresses
	away      sync.WaitGroup

	failed   chan error
	failOnce sync.Once
}

// New builds the world and puts back what its journal kept. It does nothing
// yet: [World.Serve] does.
func New(ctx context.Context, cfg Config, log *slog.Logger) (*World, error) {
	cfg = cfg.withDefaults()
	if err := loopback(cfg.Control); err != nil {
		return nil, err
	}
	w := &World{
		cfg:     cfg,
		log:     log,
		ctx:     ctx,
		pending: pending{ops: map[types.ManagedObjectReference]operation{}},
		filling: filling{names: map[string]bool{}},
		meter:   newMeter(),
		room:    newRoom(),
		http:    guestClient(),
		failed:  make(chan error, 1),
		base:    map[types.ManagedObjectReference]bool{},
	}
	w.guests = newGuests(w)
	if err := errors.Join(w.faults.set(cfg.Faults), w.rights.set(cfg.Denied), w.room.resize(cfg.Inventory.DatastoreSize)); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "console"), 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	j, kept, err := openJournal(ctx, cfg.journalFile())
	if err != nil {
		return nil, err
	}
	w.journal = j
	if err := w.build(kept); err != nil {
		return nil, errors.Join(err, j.close())
	}
	return w, nil
}

// guestClient is the curl of all guests together. They are many, so that each
// closes its connection.
func guestClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, Proxy: nil},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (w *World) build(kept *contents) error {
	w.svc = newService(w.cfg)
	w.reg = w.svc.Context.Map
	w.svc.Context.Context = w.ctx
	w.svc.Listen = &url.URL{Scheme: "https", Host: w.cfg.Listen, Path: "/sdk", User: url.UserPassword(w.cfg.User, w.cfg.Password)}
	var err error
	if w.inv, err = buildInventory(w.svc, w.cfg); err != nil {
		return err
	}
	for _, e := range w.reg.All("") {
		w.base[e.Reference()] = true
	}
	if err := w.restore(kept); err != nil {
		return err
	}
	for _, m := range kept.machines {
		w.guests.resume(m)
	}
	for _, e := range w.reg.All("VirtualMachine") {
		if vm, ok := e.(*simulator.VirtualMachine); ok {
			w.occupy(&vm.VirtualMachine)
		}
	}
	w.rest()
	w.showRoom()
	w.reg.SessionManager().ValidLogin = w.validLogin
	w.reg.SessionManager().ServiceHostName = w.cfg.Listen
	w.reg.Handler = w.route
	w.reg.AddHandler(w)
	w.svc.RegisterSDK(w.reg, w.reg.Path+"/vimService")
	w.svc.ServeMux.HandleFunc(w.reg.Path+"/vimServiceVersions.xml", w.svc.ServiceVersions)
	w.svc.ServeMux.HandleFunc(filesPath, w.files)
	w.svc.ServeMux.HandleFunc("/nfc/", w.upload)
	if w.cfg.ESXi {
		return nil // a host has no REST interface of vCenter's
	}
	patterns, rest := vapi.New(w.svc.Listen, w.reg)
	for _, p := range patterns {
		w.svc.Handle(p, rest)
	}
	return nil
}

// rest waits for the tasks that building the world began: some remove files
// after those that began them have ended.
func (w *World) rest() {
	for _, e := range w.reg.AllReference("Task") {
		if t, ok := e.(*simulator.Task); ok {
			t.Wait()
		}
	}
}

func (w *World) validLogin(req *types.Login) bool {
	if w.faults.strike(OnLogin, "").On == OnLogin {
		return false
	}
	return req.UserName == w.cfg.User && req.Password == w.cfg.Password
}

// context is a fresh identity for the simulator's locks.
func (w *World) context() *simulator.Context {
	return &simulator.Context{Context: w.ctx, Map: w.reg}
}

// fail stops the world: it can no longer keep what it promises.
func (w *World) fail(err error) {
	w.failOnce.Do(func() { w.failed <- err })
}

// save journals vm, whose lock the caller holds. Templates and the like that
// the inventory begins with are not kept.
func (w *World) save(vm *mo.VirtualMachine) {
	w.occupy(vm)
	if w.base[vm.Self] || vm.Name == "" {
		return
	}
	m := capture(vm)
	m.Guest = w.guests.of(m.Ref)
	if err := w.journal.put(entry{Machine: &m}); err != nil {
		w.fail(err)
	}
}

// Reference names the world among the simulator's handlers.
func (w *World) Reference() types.ManagedObjectReference {
	return reference("Simulated", "world")
}

// PutObject is called by the simulator for every new object, before anybody
// else sees it.
func (w *World) PutObject(_ *simulator.Context, item mo.Reference) {
	switch x := item.(type) {
	case *simulator.Task:
		w.adopt(x)
	case *simulator.Folder:
		w.saveFolder(&x.Folder)
	}
}

// UpdateObject is called by the simulator after every change, under the
// object's lock.
func (w *World) UpdateObject(_ *simulator.Context, item mo.Reference, changes []types.PropertyChange) {
	switch x := item.(type) {
	case *mo.VirtualMachine:
		for _, c := range changes {
			if c.Name == "runtime.powerState" {
				w.guests.powered(x.Self.Value, x.Name, x.Runtime.PowerState)
				w.save(x)
			}
		}
	case *mo.Folder:
		w.saveFolder(x)
	}
}

// RemoveObject is called by the simulator when an object goes.
func (w *World) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	if ref.Type != "VirtualMachine" && ref.Type != "Folder" {
		return
	}
	w.room.take(ref, 0)
	w.guests.gone(ref.Value)
	if err := w.journal.remove(ref.Value); err != nil {
		w.fail(err)
	}
}

func (w *World) saveFolder(f *mo.Folder) {
	if w.base[f.Self] || f.Parent == nil {
		return
	}
	if err := w.journal.put(entry{Folder: &folder{Ref: f.Self.Value, Name: f.Name, Parent: f.Parent.Value}}); err != nil {
		w.fail(err)
	}
}
