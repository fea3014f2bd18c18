package vsphereexecutor

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	"yardmaster.dev/services/vsphere-executor/internal/image/imagetest"
	"yardmaster.dev/services/vsphere-executor/internal/ova/ovatest"
)

// wish stores that the site shall have images.
func (s *stage) wish(images ...plan.WantedImage) {
	s.t.Helper()
	m, err := wire.Record(&plan.Images{Site: testSite, Wanted: images}, nil)
	s.store(s.planner, subject.Images(testSite), m, err)
}

// told waits until the executor says that an image is in a state.
func (s *stage) told(name, state string) wire.ImageState {
	s.t.Helper()
	var last wire.SiteImages
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		m, err := s.admin.Last(s.t.Context(), subject.StreamObservations, subject.SiteImages(testSite))
		if errors.Is(err, bus.ErrNotFound) {
			continue
		}
		if err == nil {
			last, err = wire.DecodeSiteImages(m.Type(), m.Version(), m.Data)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		for _, i := range last.Images {
			if i.Name == name && i.State == state {
				return i
			}
		}
	}
	s.t.Fatalf("%s is not %s; the executor says %+v; log:\n%s", name, state, last, s.log)
	return wire.ImageState{}
}

// TestServiceBringsImages goes from a record on the bus to a template in
// vCenter, with the rights that the executor's user has.
func TestServiceBringsImages(t *testing.T) {
	t.Parallel()
	w := newBenchWorld(t)
	t.Cleanup(w.close)
	s := newStage(t)
	key, err := imagetest.NewKey("publisher", time.Now().Add(-time.Hour), 0)
	if err != nil {
		t.Fatal(err)
	}
	mirror := t.TempDir()
	body := ovatest.Make(ovatest.Options{})
	signature, err := key.Sign(body, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(mirror, "4593.2.5")
	if err := errors.Join(
		os.Mkdir(folder, 0o700),
		os.WriteFile(filepath.Join(mirror, "key"), key.Binary, 0o600),
		os.WriteFile(filepath.Join(folder, fleet.ImageFile), body, 0o600),
		os.WriteFile(filepath.Join(folder, fleet.ImageFile+".sig"), signature, 0o600),
	); err != nil {
		t.Fatal(err)
	}
	stop := s.run("first")
	s.siteOf(w.server.URL.Scheme+"://"+w.server.URL.Host+"/sdk",
		&fleet.SiteImages{From: mirror, KeyFile: filepath.Join(mirror, "key"), Fingerprint: key.Fingerprint})
	s.told(benchTemplate, wire.ImageReady)
	asked := time.Now().Truncate(time.Microsecond)
	s.wish(
		plan.WantedImage{Image: fleet.Image{Name: "flatcar-4593.2.5", Version: "4593.2.5"}, Asked: asked},
		plan.WantedImage{Image: fleet.Image{Name: "flatcar-4600.0.0", Version: "4600.0.0"}, Asked: asked},
	)
	if i := s.told("flatcar-4593.2.5", wire.ImageReady); i.Fingerprint != key.Fingerprint || !i.Asked.Equal(asked) {
		t.Errorf("the template is %+v", i)
	}
	if i := s.told("flatcar-4600.0.0", wire.ImageFailed); i.Reason != fault.ImageMissing || i.Hint == "" {
		t.Errorf("the image that is not there is %+v", i)
	}
	if err := stop(); err != nil {
		t.Errorf("the service ended with %v", err)
	}
}
