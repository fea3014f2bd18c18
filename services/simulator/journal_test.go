package simulator

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func TestJournal(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "j")
	j, _, err := openJournal(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	put := func(e entry) {
		t.Helper()
		if err := j.put(e); err != nil {
			t.Fatal(err)
		}
	}
	put(entry{Folder: &folder{Ref: "group-30", Name: "web"}})
	put(entry{Machine: &machine{Ref: "vm-31", Name: "a", CPUs: 1}})
	put(entry{Machine: &machine{Ref: "vm-32", Name: "b"}})
	put(entry{Machine: &machine{Ref: "vm-31", Name: "a", CPUs: 2}})
	if err := j.remove("vm-32"); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	if err := j.put(entry{Gone: "vm-31"}); err == nil {
		t.Error("put after close was accepted")
	}
	// Cut at every byte: what was whole before is there, the rest is not.
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for size := len(lines[0]); size <= len(whole); size++ {
		checkCut(t, whole[:size])
	}
	damaged := bytes.Replace(whole, []byte(`"machine"`), []byte(`"mach}ne`), 1)
	if err := os.WriteFile(name, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openJournal(t.Context(), name); err == nil || !strings.Contains(err.Error(), "j:3: the journal is damaged") {
		t.Errorf("openJournal of a damaged file = %v; want line 3 named", err)
	}
}

// checkCut opens a journal that was cut, twice: the second time it is one
// that was compacted.
func checkCut(t *testing.T, body []byte) {
	t.Helper()
	want := newContents()
	full := bytes.Count(body, []byte("\n")) - 1
	if full >= 1 {
		want.folders["group-30"], want.highest = folder{Ref: "group-30", Name: "web"}, 30
	}
	if full >= 2 {
		want.machines["vm-31"], want.highest = machine{Ref: "vm-31", Name: "a", CPUs: 1}, 31
	}
	if full >= 3 {
		want.machines["vm-32"], want.highest = machine{Ref: "vm-32", Name: "b"}, 32
	}
	if full >= 4 {
		want.machines["vm-31"] = machine{Ref: "vm-31", Name: "a", CPUs: 2}
	}
	if full >= 5 {
		delete(want.machines, "vm-32")
	}
	name := filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(name, body, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		j, got, err := openJournal(t.Context(), name)
		if err != nil {
			t.Fatalf("openJournal after %d bytes: %v", len(body), err)
		}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(contents{})); d != "" {
			t.Errorf("journal cut at %d bytes differs (-want +got):\n%s", len(body), d)
		}
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOneWorldPerFolder(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	_, err := New(t.Context(), Config{Dir: r.cfg.Dir, Control: "127.0.0.1:0"}, r.log)
	if err == nil || !strings.Contains(err.Error(), "in use by another simulated world") {
		t.Errorf("New in a folder that is in use = %v", err)
	}
	r.stop()
	w, err := New(t.Context(), Config{Dir: r.cfg.Dir}, r.log)
	if err != nil {
		t.Fatalf("New after the other ended: %v", err)
	}
	if err := w.journal.close(); err != nil {
		t.Error(err)
	}
}

func TestBrokenJournalAcknowledgesNothing(t *testing.T) {
	t.Parallel()
	w, err := New(t.Context(), Config{Dir: t.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.journal.file.Close(); err != nil { // a disk that fails
		t.Fatal(err)
	}
	vm := w.inv.templates[0]
	op := operation{verb: OnReconfigure, ctx: w.context()}
	_, fault := w.perform(op, vm.Self, func() (types.AnyType, types.BaseMethodFault) {
		w.saveFolder(&mo.Folder{ManagedEntity: mo.ManagedEntity{
			ExtensibleManagedObject: mo.ExtensibleManagedObject{Self: reference("Folder", "group-77")}, Parent: &w.inv.vmFolder.Self,
		}})
		return nil, nil
	})
	if _, ok := fault.(*types.SystemError); !ok {
		t.Errorf("a task that could not be journaled ended with %T; want SystemError", fault)
	}
	select {
	case <-w.failed:
	default:
		t.Error("the world does not stop")
	}
}

func TestJournalCompacts(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "j")
	j, _, err := openJournal(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 64<<10)
	for i := range 3 * compactAt / len(big) {
		if err := j.put(entry{Machine: &machine{Ref: "vm-31", CPUs: int32(i), Annotation: big}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.remove("vm-31"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Size() > 2*compactAt {
		t.Errorf("journal of one machine is %v, %v; want it compacted", info, err)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	_, kept, err := openJournal(t.Context(), name)
	if err != nil || len(kept.machines) != 0 || kept.highest != 31 {
		t.Errorf("openJournal = %d machines, highest %d, %v; want 0, 31", len(kept.machines), kept.highest, err)
	}
}
