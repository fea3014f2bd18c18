package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// stock knows which templates the sites have, from what their executors say.
type stock struct {
	mu    sync.Mutex
	sites map[string]lastWord
}

// lastWord is what an executor said last, and when the server stored it.
type lastWord struct {
	images map[string]wire.ImageState
	at     time.Time
	// host means that the site is a lone host; uploads are the disks on their
	// way to it, by machine.
	host    bool
	uploads map[string]wire.Upload
}

// silentFor is how long an executor that has images on their way may say nothing.
const silentFor = 90 * time.Second

// follow reads what executors say until ctx ends. Without it nothing is known
// of templates and all else goes on.
func (s *stock) follow(ctx context.Context, conn *bus.Conn, log *slog.Logger) {
	follower{
		what: "images of the sites", filters: []string{subject.SiteImages("*")}, take: s.take, caughtUp: func() {},
	}.run(ctx, conn, log)
}

func (s *stock) take(m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	h := m.Headers()
	all, err := wire.DecodeSiteImages(h.Get(wire.HeaderType), h.Get(wire.HeaderVersion), m.Data())
	if err != nil {
		return err
	}
	images := make(map[string]wire.ImageState, len(all.Images))
	for _, i := range all.Images {
		images[i.Name] = i
	}
	uploads := make(map[string]wire.Upload, len(all.Uploads))
	for _, u := range all.Uploads {
		uploads[u.Machine] = u
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sites == nil {
		s.sites = map[string]lastWord{}
	}
	// obs.<site>._images.all.images
	s.sites[strings.Split(m.Subject(), ".")[1]] = lastWord{images, meta.Timestamp, all.Host, uploads}
	return nil
}

// of returns the images of a site, nil if its executor has not spoken. Of one
// that has been silent nobody knows how far its images are.
func (s *stock) of(site string, now time.Time) map[string]wire.ImageState {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.sites[site] // never changed, only replaced
	silence := now.Sub(last.at)
	if silence < silentFor {
		return last.images
	}
	out := maps.Clone(last.images)
	for name, i := range out {
		if i.State == wire.ImageImporting {
			i.Message = fmt.Sprintf("the site's executor has said nothing for %s", silence.Round(time.Second))
			out[name] = i
		}
	}
	return out
}
