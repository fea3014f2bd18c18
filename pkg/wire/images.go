package wire

import (
	"time"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

func imagesMessage(r *plan.Images) *ymv1.ImagesRecord {
	m := &ymv1.ImagesRecord{Site: r.Site}
	for _, w := range r.Wanted {
		m.Wanted = append(m.Wanted, wantedMessage(w))
	}
	return m
}

func wantedMessage(w plan.WantedImage) *ymv1.WantedImage {
	return &ymv1.WantedImage{
		Name: w.Name, Channel: w.Channel, Version: w.Version, From: w.From, Sha256: w.SHA256, Unsigned: w.Unsigned,
		Asked: stamp(w.Asked), By: w.By,
	}
}

func imagesRecord(m *ymv1.ImagesRecord) *plan.Images {
	r := &plan.Images{Site: m.GetSite()}
	for _, w := range m.GetWanted() {
		r.Wanted = append(r.Wanted, wantedImage(w))
	}
	return r
}

func wantedImage(m *ymv1.WantedImage) plan.WantedImage {
	return plan.WantedImage{
		Image: fleet.Image{
			Name: m.GetName(), Channel: m.GetChannel(), Version: m.GetVersion(), From: m.GetFrom(), SHA256: m.GetSha256(), Unsigned: m.GetUnsigned(),
		},
		Asked: when(m.GetAsked()), By: m.GetBy(),
	}
}

// yardCommand reads the commands about images and addresses; false means that
// m is none.
func yardCommand(m *ymv1.Command, c *plan.Command) bool {
	switch w := m.GetWhat().(type) {
	case *ymv1.Command_ImportImage:
		c.ImportImage = &plan.ImportImage{Site: w.ImportImage.GetSite(), Image: wantedImage(w.ImportImage.GetImage()).Image}
	case *ymv1.Command_ForgetImage:
		c.ForgetImage = &plan.ForgetImage{Site: w.ForgetImage.GetSite(), Name: w.ForgetImage.GetName()}
	case *ymv1.Command_ReleaseAddress:
		c.Release = &plan.ReleaseAddress{Network: w.ReleaseAddress.GetNetwork(), Addr: w.ReleaseAddress.GetAddress()}
	default:
		return false
	}
	return true
}

// SiteImages is what an executor says of the templates of its site.
type SiteImages struct {
	Images []ImageState
	At     time.Time
	// Host means that the site is a lone host: its images are kept by the
	// executor, and every machine is made by an upload.
	Host    bool
	Uploads []Upload
}

// Upload is a machine's disk on its way to a lone host, in bytes.
type Upload struct {
	Machine     string
	Image       string
	Done, Total int64
	Since       time.Time
}

// ImageState is one template, or one that is being made.
type ImageState struct {
	Name  string
	State string
	// Step is what is being done, Done and Total are bytes of it.
	Step        string
	Done, Total int64
	Since       time.Time
	// Fingerprint is that of the key whose signature was checked, SHA256 the
	// image's digest.
	Fingerprint string
	SHA256      string
	Reason      fault.Reason
	Message     string
	Hint        string
	// Asked is the wish that the state answers.
	Asked time.Time
}

// The states of images. ImageWanted is the gateway's word for what no
// executor speaks of.
const (
	ImageReady     = "ready"
	ImageImporting = "importing"
	ImageFailed    = "failed"
	ImageWanted    = "wanted"
)

// EncodeSiteImages encodes an executor's word.
func EncodeSiteImages(s SiteImages) (Message, error) {
	m := &ymv1.SiteImages{At: stamp(s.At), Host: s.Host}
	for _, u := range s.Uploads {
		m.Uploads = append(m.Uploads, &ymv1.Upload{Machine: u.Machine, Image: u.Image, Done: u.Done, Total: u.Total, Since: stamp(u.Since)})
	}
	for _, i := range s.Images {
		m.Images = append(m.Images, &ymv1.ImageState{
			Name: i.Name, State: i.State, Step: i.Step, Done: i.Done, Total: i.Total, Since: stamp(i.Since),
			Fingerprint: i.Fingerprint, Sha256: i.SHA256, Reason: string(i.Reason), Message: i.Message, Hint: i.Hint, Asked: stamp(i.Asked),
		})
	}
	return encode(TypeSiteImages, m, nil)
}

// DecodeSiteImages reads what EncodeSiteImages wrote.
func DecodeSiteImages(typ, version string, body []byte) (SiteImages, error) {
	m, err := decodeAs[*ymv1.SiteImages](typ, version, body)
	if err != nil {
		return SiteImages{}, err
	}
	s := SiteImages{At: when(m.GetAt()), Host: m.GetHost()}
	for _, u := range m.GetUploads() {
		s.Uploads = append(s.Uploads, Upload{
			Machine: u.GetMachine(), Image: u.GetImage(), Done: u.GetDone(), Total: u.GetTotal(), Since: when(u.GetSince()),
		})
	}
	for _, i := range m.GetImages() {
		s.Images = append(s.Images, ImageState{
			Name: i.GetName(), State: i.GetState(), Step: i.GetStep(), Done: i.GetDone(), Total: i.GetTotal(), Since: when(i.GetSince()),
			Fingerprint: i.GetFingerprint(), SHA256: i.GetSha256(), Reason: reason(i.GetReason()), Message: i.GetMessage(), Hint: i.GetHint(),
			Asked: when(i.GetAsked()),
		})
	}
	return s, nil
}
