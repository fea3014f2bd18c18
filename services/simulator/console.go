package simulator

import (
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/object"
)

const consoleLimit = 1 << 20

// console returns a function that writes lines to a machine's console: to the
// log for whoever runs this world, and to the hypervisor's log of the VM,
// where a client of the vCenter finds it. A log that cannot be written is not
// worth stopping a guest for.
func (w *World) console(vm machine) func(format string, args ...any) {
	names := []string{w.cfg.ConsoleFile(vm.Name)}
	var p object.DatastorePath
	if p.FromString(vm.Path) {
		names = append(names, filepath.Join(w.cfg.datastoreDir(), filepath.Clean("/"+path.Dir(p.Path)), "vmware.log"))
	}
	return func(format string, args ...any) {
		text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ")
		for _, name := range names {
			appendLine(name, time.Now().UTC().Format(time.RFC3339Nano)+" "+text+"\n")
		}
	}
}

func appendLine(name, line string) {
	if info, err := os.Stat(name); err == nil && info.Size() > consoleLimit {
		return
	}
	f, err := os.OpenFile(filepath.Clean(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	_, _ = f.WriteString(line)
}

// filesPath is where a vCenter gives out the files of its datastores.
const filesPath = "GET /folder/{path...}"

// files serves the datastore to whoever has a session. The simulator's own
// handler looks names up, which must not happen while a clone runs.
func (w *World) files(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	cookie, err := r.Cookie("vmware_soap_session")
	switch {
	case err != nil || !slices.Contains(w.sessions(), strings.Trim(cookie.Value, `"`)):
		http.Error(rw, "log in first", http.StatusUnauthorized)
	case q.Get("dsName") != w.cfg.Inventory.Datastore || strings.Trim(q.Get("dcPath"), "/") != w.cfg.Inventory.Datacenter:
		http.NotFound(rw, r)
	default:
		root, err := os.OpenRoot(w.cfg.datastoreDir())
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
		defer func() { _ = root.Close() }()
		http.ServeFileFS(rw, r, root.FS(), r.PathValue("path"))
	}
}
