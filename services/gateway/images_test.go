package gateway

import (
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

const siteWithImages = site + `    images:
      from: https://mirror.example/{channel}
      keyFile: /etc/yardmaster/flatcar.asc
`

// says lets the site's executor say what it has.
func (y *yard) says(images ...wire.ImageState) {
	y.t.Helper()
	y.tells(wire.SiteImages{Images: images, At: time.Now()})
}

// tells lets the site's executor say all that it has.
func (y *yard) tells(all wire.SiteImages) {
	y.t.Helper()
	conn := y.connect(subject.ConsumerVSphere("dc1"))
	defer conn.Close()
	m, err := wire.EncodeSiteImages(all)
	if err != nil {
		y.t.Fatal(err)
	}
	if _, err := conn.Publish(y.t.Context(), bus.NewMsg(subject.SiteImages("dc1"), m)); err != nil {
		y.t.Fatal(err)
	}
}

// image waits until the list shows an image in a state.
func (f *frontDoor) image(t *testing.T, name, state string) *v1.ImageView {
	t.Helper()
	var found *v1.ImageView
	until(t, "image "+name+" is "+state, func() bool {
		resp, err := f.ListImages(t.Context(), request(&v1.ListImagesRequest{Site: "dc1"}))
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range resp.Msg.GetImages() {
			if i.GetName() == name && i.GetState() == state {
				found = i
			}
		}
		return found != nil
	})
	return found
}

// ask asks for an image.
func (f *frontDoor) ask(t *testing.T) {
	t.Helper()
	resp, err := f.ImportImage(t.Context(), request(&v1.ImportImageRequest{Site: "dc1", Version: "4593.2.5"}))
	if err != nil || !resp.Msg.GetAccepted() || resp.Msg.GetName() != "flatcar-4593.2.5" {
		t.Fatalf("ImportImage = %v, %v", resp, err)
	}
}

// An image is wanted until its executor speaks of that very wish; what the
// executor says is shown.
func TestImagesAreShownFromWishToTemplate(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	f := y.gateway(Config{})
	f.apply(t, "", siteWithImages)

	f.ask(t)
	asked := f.image(t, "flatcar-4593.2.5", wire.ImageWanted).GetAsked()
	y.says(wire.ImageState{Name: "flatcar-4593.2.5", State: wire.ImageFailed, Reason: fault.ImageMissing, Message: "404", Asked: asked.AsTime()})
	if i := f.image(t, "flatcar-4593.2.5", wire.ImageFailed); i.GetReason() != string(fault.ImageMissing) || i.GetMessage() != "404" {
		t.Errorf("a failed image is shown as %v", i)
	}
	f.ask(t)
	again := f.image(t, "flatcar-4593.2.5", wire.ImageWanted).GetAsked()
	y.says(wire.ImageState{Name: "flatcar-4593.2.5", State: wire.ImageImporting, Step: "fetching", Done: 1, Total: 2, Asked: again.AsTime()})
	if i := f.image(t, "flatcar-4593.2.5", wire.ImageImporting); i.GetDone() != 1 || i.GetTotal() != 2 {
		t.Errorf("an image on its way is shown as %v", i)
	}
	y.says(wire.ImageState{Name: "flatcar-4593.2.5", State: wire.ImageReady, Fingerprint: "ABCD"}, wire.ImageState{Name: "other", State: wire.ImageReady})
	if i := f.image(t, "flatcar-4593.2.5", wire.ImageReady); i.GetFingerprint() != "ABCD" {
		t.Errorf("a template is shown as %v", i)
	}
	f.image(t, "other", wire.ImageReady)
}

func TestImagesAreForgottenAndRefused(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	f := y.gateway(Config{})
	f.apply(t, "", siteWithImages)
	f.ask(t)
	if resp, err := f.ForgetImage(t.Context(), request(&v1.ForgetImageRequest{Site: "dc1", Name: "flatcar-4593.2.5"})); err != nil || !resp.Msg.GetAccepted() {
		t.Errorf("ForgetImage = %v, %v", resp, err)
	}
	if _, err := f.ListImages(t.Context(), request(&v1.ListImagesRequest{Site: "nowhere"})); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("the images of no site: %v; want not found", err)
	}
	resp, err := f.ImportImage(t.Context(), request(&v1.ImportImageRequest{Site: "nowhere", Version: "4593.2.5"}))
	if err != nil || resp.Msg.GetCode() != plan.RefusedNotFound {
		t.Errorf("an image for no site: %v, %v; want refused", resp, err)
	}
}

// The plan says which templates are made first, once it knows what is there.
func TestPlanShowsWhatIsImportedFirst(t *testing.T) {
	t.Parallel()
	y := newYard(t, 1)
	y.planners()
	f := y.gateway(Config{})
	f.apply(t, "", siteWithImages+"---"+network)
	byVersion := strings.Replace(fleetYAML("web", 2), "{version:", "{channel: beta, version:", 1)
	if steps := f.plan(t, byVersion).GetFleets()[0].GetImages(); len(steps) > 0 {
		t.Errorf("nobody said what is there, and the plan has %v", steps)
	}
	y.says(wire.ImageState{Name: "other", State: wire.ImageReady})
	f.image(t, "other", wire.ImageReady)
	steps := f.plan(t, byVersion).GetFleets()[0].GetImages()
	if len(steps) != 1 || steps[0].GetAction() != "import" || steps[0].GetFrom() != "https://mirror.example/beta/4593.2.5/flatcar_production_vmware_ova.ova" {
		t.Errorf("the plan's steps are %v; want one import", steps)
	}
	y.says(wire.ImageState{Name: "flatcar-4593.2.5", State: wire.ImageImporting, Done: 5, Total: 9})
	f.image(t, "flatcar-4593.2.5", wire.ImageImporting)
	if steps = f.plan(t, byVersion).GetFleets()[0].GetImages(); len(steps) != 1 || steps[0].GetAction() != "importing" || steps[0].GetTotal() != 9 {
		t.Errorf("the plan's steps are %v; want one that is under way", steps)
	}
	y.says(wire.ImageState{Name: "flatcar-4593.2.5", State: wire.ImageReady})
	f.image(t, "flatcar-4593.2.5", wire.ImageReady)
	if steps = f.plan(t, byVersion).GetFleets()[0].GetImages(); len(steps) > 0 {
		t.Errorf("the template is there, and the plan has %v", steps)
	}
}

func TestASilentExecutorIsShown(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := &stock{sites: map[string]lastWord{"dc1": {at: now.Add(-2 * time.Minute), images: map[string]wire.ImageState{
		"a": {State: wire.ImageImporting, Step: "fetching"}, "b": {State: wire.ImageReady},
	}}}}
	there := s.of("dc1", now)
	if m := there["a"].Message; m != "the site's executor has said nothing for 2m0s" || there["b"].Message != "" {
		t.Errorf("after two silent minutes: %+v", there)
	}
	if m := s.of("dc1", now.Add(-time.Minute))["a"].Message; m != "" {
		t.Errorf("after one: %q", m)
	}
}
