package vcenter

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vmdk"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/services/vsphere-executor/internal/image"
	"yardmaster.dev/services/vsphere-executor/internal/ova/ovatest"
)

const testLibrary = "Flatcar"

// librarian keeps the content library of a world.
type librarian struct {
	*library.Manager
	id string
}

func (w *world) librarian(t *testing.T) *librarian {
	t.Helper()
	client := rest.NewClient(w.client.Client)
	if err := client.Login(t.Context(), w.url.User); err != nil {
		t.Fatal(err)
	}
	l := &librarian{Manager: library.NewManager(client)}
	var err error
	l.id, err = l.CreateLibrary(t.Context(), library.Library{
		Name: testLibrary, Type: "LOCAL",
		Storage: []library.StorageBacking{{DatastoreID: w.datastore(t).Reference().Value, Type: "DATASTORE"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (w *world) datastore(t *testing.T) *object.Datastore {
	t.Helper()
	found, err := object.NewSearchIndex(w.client.Client).FindByInventoryPath(t.Context(), "/DC0/datastore/LocalDS_0")
	if err != nil || found == nil {
		t.Fatalf("find the datastore: %v", err)
	}
	return found.(*object.Datastore)
}

// keep puts the files of an image into the library as an item.
func (l *librarian) keep(t *testing.T, item string) {
	t.Helper()
	ctx := t.Context()
	id, err := l.CreateLibraryItem(ctx, library.Item{Name: item, LibraryID: l.id, Type: library.ItemTypeOVF})
	if err != nil {
		t.Fatal(err)
	}
	session, err := l.CreateLibraryItemUpdateSession(ctx, library.Session{LibraryItemID: id})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range ovatest.Entries(ovatest.Options{Disk: emptyDisk(t)}) {
		to, err := l.AddLibraryItemFile(ctx, session, library.UpdateFile{Name: file.Name, SourceType: "PUSH", Size: int64(len(file.Body))})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(to.UploadEndpoint.URI)
		if err != nil {
			t.Fatal(err)
		}
		p := soap.DefaultUpload
		p.ContentLength = int64(len(file.Body))
		if err := l.Upload(ctx, bytes.NewReader(file.Body), u, &p); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.CompleteLibraryItemUpdateSession(ctx, session); err != nil {
		t.Fatal(err)
	}
}

// emptyDisk is a whole one: unlike a host, a library reads what it is given.
func emptyDisk(t *testing.T) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.vmdk")
	w, err := vmdk.NewStreamOptimizedWriter(name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(bytes.NewReader(make([]byte, 1<<20))), w.Close()); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// borrowing is a backend whose Site takes images from a content library.
func (w *world) borrowing(t *testing.T, from string) *Backend {
	t.Helper()
	b := w.backend(t)
	b.imports = newImports(&image.Store{Dir: t.TempDir()})
	site := w.site()
	site.Images = &fleet.SiteImages{From: from, Network: "DC0_DVPG0"}
	b.Use(t.Context(), site)
	return b
}

func TestLibraryItemsBecomeTemplates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.librarian(t)
	l.keep(t, newTemplate)
	b := w.borrowing(t, "library:"+testLibrary+"/flatcar-{version}")
	for range 2 { // the second finds it
		if s := bringOnce(t.Context(), b, permit); s.State != wire.ImageReady || s.Fingerprint != "" {
			t.Fatalf("import = %+v; want it ready, and signed by nobody", s)
		}
		w.oneTemplate(t)
	}
	wantCheck(t, b.Examine(t.Context(), nil), LevelOK, "content library "+testLibrary, "images come from it")
	wantCheck(t, w.borrowing(t, "library:Other").Examine(t.Context(), nil), LevelFail, "content library Other", "there is none")
}

func TestLibraryIsTheSitesAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.librarian(t)
	for name, c := range map[string]struct {
		site, image string
		reason      fault.Reason
		words       string
	}{
		"no such item":          {"library:" + testLibrary, "", fault.ImageMissing, "it holds no such item"},
		"no such library":       {"library:Other", "", fault.ImageMissing, "there is no such library"},
		"of the image's choice": {"library:" + testLibrary, "library:Other/x", fault.ImageUntrusted, `"Other" is good`},
		"of nobody":             {"/srv/flatcar", "library:Other/x", fault.ImageUntrusted, `"Other" is good`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newImage()
			i.From = c.image
			_, err := importOf(t, w.borrowing(t, c.site), i)
			if f := fault.Of(err); f.Reason != c.reason || f.Kind != fault.Permanent || !strings.Contains(err.Error(), c.words) {
				t.Errorf("import = %v (%s); want %s with %q", err, f.Reason, c.reason, c.words)
			}
		})
	}
}

// importOf runs one import as the loop does.
func importOf(t *testing.T, b *Backend, i fleet.Image) (made wire.ImageState, err error) {
	t.Helper()
	err = b.with(t.Context(), func(c *connection) error {
		made, err = b.importImage(t.Context(), c, i, testYard, permit)
		return err
	})
	return made, err
}

// What vCenter was making of an item when its executor died is no template,
// whatever state it is in, and does not stay.
func TestLibraryDraftsAreMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.librarian(t).keep(t, newTemplate)
	draft := (&importer{image: newImage(), owner: testYard + "/" + newTemplate}).draftName()
	finder := find.NewFinder(w.client.Client)
	pool, err := finder.ResourcePool(t.Context(), "/DC0/host/DC0_C0/Resources")
	if err != nil {
		t.Fatal(err)
	}
	folder, err := finder.Folder(t.Context(), "/DC0/vm")
	if err != nil {
		t.Fatal(err)
	}
	done(t)(w.vm(t, testTemplate).Clone(t.Context(), folder, draft, types.VirtualMachineCloneSpec{
		Location: types.VirtualMachineRelocateSpec{Pool: new(pool.Reference())},
	}))
	if s := bringOnce(t.Context(), w.borrowing(t, "library:"+testLibrary), permit); s.State != wire.ImageReady {
		t.Fatalf("import = %+v; want it ready", s)
	}
	w.oneTemplate(t)
	for _, vm := range w.machines(t) {
		if vm.Name == draft {
			t.Errorf("%s is left", draft)
		}
	}
}

// Several executors, each of which dies before a step or another: one
// template is what comes of it.
func TestLibraryItemsUnderTwins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.librarian(t).keep(t, newTemplate)
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			b := w.borrowing(t, "library:"+testLibrary)
			for deaths := 0; ; deaths++ {
				steps := 0
				dies := func(context.Context) error {
					if steps++; deaths < 4 && steps > deaths {
						return context.Canceled
					}
					return nil
				}
				if s := bringOnce(t.Context(), b, dies); s.State == wire.ImageReady {
					return
				}
			}
		})
	}
	group.Wait()
	w.oneTemplate(t)
}
