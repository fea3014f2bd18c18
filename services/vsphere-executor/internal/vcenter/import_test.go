package vcenter

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/services/vsphere-executor/internal/image"
	"yardmaster.dev/services/vsphere-executor/internal/image/imagetest"
	"yardmaster.dev/services/vsphere-executor/internal/ova/ovatest"
)

const (
	newRelease  = "4593.2.5"
	newTemplate = "flatcar-" + newRelease
)

// publisher is a folder of signed images at the executor.
type publisher struct {
	dir  string
	key  *imagetest.Key
	body []byte
}

func newPublisher(t *testing.T, o ovatest.Options) *publisher {
	t.Helper()
	p := &publisher{dir: t.TempDir(), body: ovatest.Make(o)}
	var err error
	if p.key, err = imagetest.NewKey("publisher", time.Now().Add(-time.Hour), 0); err != nil {
		t.Fatal(err)
	}
	signature, err := p.key.Sign(p.body, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "key.asc", p.key.Armored)
	p.write(t, filepath.Join(newRelease, fleet.ImageFile), p.body)
	p.write(t, filepath.Join(newRelease, fleet.ImageFile+".sig"), signature)
	return p
}

func (p *publisher) write(t *testing.T, name string, body []byte) {
	t.Helper()
	name = filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, body, 0o600); err != nil {
		t.Fatal(err)
	}
}

// importing is a backend whose Site takes images from p; it keeps them in dir.
func (w *world) importing(t *testing.T, p *publisher, dir string) *Backend {
	t.Helper()
	b := w.backend(t)
	b.imports = newImports(&image.Store{Dir: dir})
	site := w.site()
	site.Images = &fleet.SiteImages{From: p.dir, KeyFile: filepath.Join(p.dir, "key.asc"), Fingerprint: p.key.Fingerprint, Network: "DC0_DVPG0"}
	b.Use(t.Context(), site)
	return b
}

func newImage() fleet.Image { return fleet.Image{Name: newTemplate, Version: newRelease} }

// bringOnce runs one import to its end.
func bringOnce(ctx context.Context, b *Backend, permit func(context.Context) error) wire.ImageState {
	b.imports.mu.Lock()
	b.imports.begin(newImage(), time.Time{}).running = true
	b.imports.mu.Unlock()
	b.bring(ctx, newImage(), testYard, permit)
	b.imports.mu.Lock()
	defer b.imports.mu.Unlock()
	return b.imports.jobs[newTemplate].state
}

// made returns all VMs that bear the image's name.
func (w *world) made(t *testing.T) []mo.VirtualMachine {
	t.Helper()
	return slices.DeleteFunc(w.machines(t), func(vm mo.VirtualMachine) bool { return vm.Name != newTemplate })
}

// oneTemplate checks that there is exactly one template, and a whole one.
func (w *world) oneTemplate(t *testing.T) {
	t.Helper()
	all := w.made(t)
	if len(all) != 1 || !all[0].Config.Template {
		t.Fatalf("%d VMs are called %s; want one, and a template", len(all), newTemplate)
	}
	o, err := retrieve(t.Context(), w.client.Client, []types.ManagedObjectReference{all[0].Self}, draftPaths...)
	if err != nil || len(o) != 1 {
		t.Fatalf("read the template: %v", err)
	}
	if d := draftOf(o[0]); !d.whole || d.owner != testYard+"/"+newTemplate {
		t.Errorf("the template is %+v", d)
	}
}

func TestImportMakesATemplateThatCanBeCloned(t *testing.T) {
	t.Parallel()
	w, p := newWorld(t), newPublisher(t, ovatest.Options{SHA256: true})
	dir := t.TempDir()
	b := w.importing(t, p, dir)
	s := bringOnce(t.Context(), b, permit)
	if want := fmt.Sprintf("%x", sha256.Sum256(p.body)); s.State != wire.ImageReady || s.Fingerprint != p.key.Fingerprint || s.SHA256 != want {
		t.Fatalf("the import ended as %+v", s)
	}
	w.oneTemplate(t)
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("the store still holds %v", left)
	}
	for i, clone := range []string{fleet.CloneLinked, fleet.CloneFull} {
		job := jobOf(i, 1)
		job.Job.VSphere.Source.Template, job.Job.VSphere.Clone, job.Job.VSphere.Disk = newTemplate, clone, ""
		if _, err := b.Create(t.Context(), job); err != nil {
			t.Errorf("a %s clone: %v", clone, err)
		}
	}
	if again := bringOnce(t.Context(), b, permit); again.State != wire.ImageReady || again.SHA256 != s.SHA256 {
		t.Errorf("the second import ended as %+v", again)
	}
	w.oneTemplate(t)
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil  func(t *testing.T, w *world, p *publisher)
		ova    ovatest.Options
		reason fault.Reason
	}{
		"another image than the signed one": {func(t *testing.T, _ *world, p *publisher) {
			t.Helper()
			p.write(t, filepath.Join(newRelease, fleet.ImageFile), ovatest.Make(ovatest.Options{DiskBytes: 1024}))
		}, ovatest.Options{}, fault.ImageUntrusted},
		"a manifest that lies": {func(*testing.T, *world, *publisher) {}, ovatest.Options{WrongDigest: true}, fault.ImageUntrusted},
		"a truncated image": {func(t *testing.T, _ *world, p *publisher) {
			t.Helper()
			p.write(t, filepath.Join(newRelease, fleet.ImageFile), p.body[:len(p.body)/2])
		}, ovatest.Options{}, fault.ImageUntrusted},
		"an image that is not there": {func(t *testing.T, _ *world, p *publisher) {
			t.Helper()
			if err := os.Remove(filepath.Join(p.dir, newRelease, fleet.ImageFile)); err != nil {
				t.Fatal(err)
			}
		}, ovatest.Options{}, fault.ImageMissing},
		"a foreign VM of the name": {func(t *testing.T, w *world, _ *publisher) { t.Helper(); w.alien(t, newTemplate) }, ovatest.Options{}, fault.NameTaken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, p := newWorld(t), newPublisher(t, c.ova)
			c.spoil(t, w, p)
			before := len(w.machines(t))
			s := bringOnce(t.Context(), w.importing(t, p, t.TempDir()), permit)
			if s.State != wire.ImageFailed || s.Reason != c.reason || s.Message == "" || s.Hint == "" {
				t.Errorf("the import ended as %+v; want %s", s, c.reason)
			}
			if after := len(w.machines(t)); after != before {
				t.Errorf("%d VMs before, %d after", before, after)
			}
		})
	}
}

// TestImportSurvivesCrashes kills imports at every step, in the middle of
// calls and of transfers, again and again; a frozen twin runs beside.
func TestImportSurvivesCrashes(t *testing.T) {
	t.Parallel()
	w, p := newWorld(t), newPublisher(t, ovatest.Options{DiskBytes: 256 << 10})
	const twins, lives = 2, 12
	var group sync.WaitGroup
	for range twins {
		dir := t.TempDir()
		group.Go(func() {
			for range lives {
				w.dyingImport(t, p, dir)
			}
		})
	}
	group.Wait()
	b := w.importing(t, p, t.TempDir())
	if s := bringOnce(t.Context(), b, permit); s.State != wire.ImageReady {
		t.Fatalf("after the crashes the import ended as %+v", s)
	}
	w.oneTemplate(t)
}

// dyingImport is one life of an executor that ends in a crash, or not.
func (w *world) dyingImport(t *testing.T, p *publisher, dir string) {
	t.Helper()
	ctx, crash := context.WithTimeoutCause(t.Context(), time.Duration(rand.Int64N(int64(200*time.Millisecond))), errCrash)
	defer crash()
	b := w.importing(t, p, dir)
	defer b.Close(context.WithoutCancel(ctx))
	bringOnce(ctx, b, func(ctx context.Context) error {
		if rand.IntN(3) == 0 {
			crash()
		}
		return context.Cause(ctx)
	})
	for _, vm := range w.made(t) {
		if vm.Config.Template && len(vm.Config.Hardware.Device) == 0 {
			t.Errorf("a half-made template: %v", vm.Self)
		}
	}
}

// runImports runs the loop that a seat's holder runs.
func runImports(t *testing.T, b *Backend) (states func() map[string]wire.ImageState) {
	t.Helper()
	states, stop := startImports(t, b)
	t.Cleanup(stop)
	return states
}

// startImports is runImports for who loses the seat.
func startImports(t *testing.T, b *Backend) (states func() map[string]wire.ImageState, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	stop = func() { cancel(); group.Wait() }
	var mu sync.Mutex
	last := map[string]wire.ImageState{}
	group.Go(func() {
		err := b.Import(ctx, testYard, permit, func(all wire.SiteImages) {
			mu.Lock()
			defer mu.Unlock()
			clear(last)
			for _, i := range all.Images {
				last[i.Name] = i
			}
		})
		if err != nil {
			t.Error(err)
		}
	})
	group.Go(func() { _ = b.Watch(ctx, testYard, func(executor.Sighting) {}) })
	return func() map[string]wire.ImageState {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(last)
	}, stop
}

func TestAJobBringsItsImage(t *testing.T) {
	t.Parallel()
	w, p := newWorld(t), newPublisher(t, ovatest.Options{})
	b := w.importing(t, p, t.TempDir())
	states := runImports(t, b)
	job := jobOf(0, 1)
	job.Job.VSphere.Source.Template, job.Job.OSVersion = newTemplate, newRelease
	_, err := b.Create(t.Context(), job)
	wantFault(t, err, fault.Busy, fault.ImageImporting, newTemplate)
	waitFor(t, func() bool { return states()[newTemplate].State == wire.ImageReady })
	if _, err := b.Create(t.Context(), job); err != nil {
		t.Errorf("Create once the image is there: %v", err)
	}
	// What is not named by release is not guessed at.
	job = jobOf(1, 1)
	job.Job.VSphere.Source.Template = "my-own"
	_, err = b.Create(t.Context(), job)
	wantFault(t, err, fault.Permanent, fault.TemplateMissing)
}

func TestAJobIsToldWhyItsImageFailed(t *testing.T) {
	t.Parallel()
	w, p := newWorld(t), newPublisher(t, ovatest.Options{WrongDigest: true})
	b := w.importing(t, p, t.TempDir())
	states := runImports(t, b)
	job := jobOf(0, 1)
	job.Job.VSphere.Source.Template, job.Job.OSVersion = newTemplate, newRelease
	_, err := b.Create(t.Context(), job)
	wantFault(t, err, fault.Busy, fault.ImageImporting)
	waitFor(t, func() bool { return states()[newTemplate].State == wire.ImageFailed })
	_, err = b.Create(t.Context(), job)
	wantFault(t, err, fault.Permanent, fault.ImageUntrusted, "is damaged")
}

func TestWishesAreFulfilledAndRenewed(t *testing.T) {
	t.Parallel()
	w, p := newWorld(t), newPublisher(t, ovatest.Options{})
	b := w.importing(t, p, t.TempDir())
	hidden := filepath.Join(p.dir, newRelease, fleet.ImageFile)
	if err := os.Rename(hidden, hidden+".away"); err != nil {
		t.Fatal(err)
	}
	states := runImports(t, b)
	waitFor(t, func() bool { return states()[testTemplate].State == wire.ImageReady })
	wish := plan.WantedImage{Image: newImage(), Asked: time.Now()}
	b.Want([]plan.WantedImage{wish})
	waitFor(t, func() bool { return states()[newTemplate].State == wire.ImageFailed })
	if s := states()[newTemplate]; s.Reason != fault.ImageMissing || !s.Asked.Equal(wish.Asked) {
		t.Errorf("a missing image: %+v", s)
	}
	if err := os.Rename(hidden+".away", hidden); err != nil {
		t.Fatal(err)
	}
	wish.Asked = wish.Asked.Add(time.Second)
	b.Want([]plan.WantedImage{wish})
	waitFor(t, func() bool { return states()[newTemplate].State == wire.ImageReady })
	if s := states()[newTemplate]; !s.Asked.Equal(wish.Asked) {
		t.Errorf("the state answers the wish of %v; want %v", s.Asked, wish.Asked)
	}
	w.oneTemplate(t)
}
