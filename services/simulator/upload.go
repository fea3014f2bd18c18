package simulator

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// filling are the names of VMs whose disks are on their way: they cannot be
// switched on. The simulator would let them.
type filling struct {
	mu    sync.Mutex
	names map[string]bool
}

func (f *filling) begin(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names[name] = true
}

func (f *filling) end(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.names, name)
}

func (f *filling) has(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.names[name]
}

// filled notes that a lease was completed.
func (w *World) filled(ctx *simulator.Context, lease types.ManagedObjectReference) {
	l, ok := ctx.Session.Get(lease).(*simulator.HttpNfcLease)
	if !ok || l.Info == nil {
		return
	}
	if vm, ok := w.reg.Get(l.Info.Entity).(*simulator.VirtualMachine); ok {
		w.reg.WithLock(ctx, vm, func() { w.filling.end(vm.Name) })
	}
}

// upload takes a file of an import, as slowly as the line is.
func (w *World) upload(rw http.ResponseWriter, r *http.Request) {
	if d := w.jitter(w.cfg.UploadDelay.Duration); d > 0 && r.ContentLength > 0 {
		r.Body = &line{ReadCloser: r.Body, w: w, began: time.Now(), takes: d, total: r.ContentLength}
	}
	simulator.ServeNFC(rw, r)
}

// line lets bytes through evenly.
type line struct {
	io.ReadCloser
	w           *World
	began       time.Time
	takes       time.Duration
	done, total int64
}

// lineBytes is how much comes through at a time.
const lineBytes = 64 << 10

// Read implements io.Reader.
func (l *line) Read(b []byte) (int, error) {
	n, err := l.ReadCloser.Read(b[:min(len(b), lineBytes)])
	l.done += int64(n)
	l.w.sleep(time.Until(l.began.Add(time.Duration(float64(l.takes) * float64(l.done) / float64(l.total)))))
	return n, err
}
