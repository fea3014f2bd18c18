package gateway

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// stock knows which templates the sites have, from what their executors say.
type stock struct {
	mu    sync.Mutex
	sites map[string]map[string]wire.ImageState
}

// follow reads what executors say until ctx ends. Without it nothing is known
// of templates and all else goes on.
func (s *stock) follow(ctx context.Context, conn *bus.Conn, log *slog.Logger) {
	follower{
		what: "images of the sites", filters: []string{subject.SiteImages("*")}, take: s.take, caughtUp: func() {},
	}.run(ctx, conn, log)
}

func (s *stock) take(m jetstream.Msg) error {
	h := m.Headers()
	all, err := wire.DecodeSiteImages(h.Get(wire.HeaderType), h.Get(wire.HeaderVersion), m.Data())
	if err != nil {
		return err
	}
	images := make(map[string]wire.ImageState, len(all.Images))
	for _, i := range all.Images {
		images[i.Name] = i
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sites == nil {
		s.sites = map[string]map[string]wire.ImageState{}
	}
	// obs.<site>._images.all.images
	s.sites[strings.Split(m.Subject(), ".")[1]] = images
	return nil
}

// of returns the images of a site, nil if its executor has not spoken.
func (s *stock) of(site string) map[string]wire.ImageState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sites[site] // never changed, only replaced
}
