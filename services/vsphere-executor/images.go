package vsphereexecutor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	"yardmaster.dev/services/vsphere-executor/internal/vcenter"
)

// images has the site's wishes for images fulfilled while the seat is held.
type images struct {
	conn    *bus.Conn
	site    string
	backend *vcenter.Backend
	log     *slog.Logger
}

func (i *images) run(ctx context.Context, s executor.Standing) error {
	return i.backend.Import(ctx, s.Yard, s.Permit, func(all wire.SiteImages) { i.tell(ctx, all) })
}

// tell publishes what the site has; what is not sent is told again a moment
// later.
func (i *images) tell(ctx context.Context, all wire.SiteImages) {
	m, err := wire.EncodeSiteImages(all)
	if err == nil {
		_, err = i.conn.Publish(ctx, bus.NewMsg(subject.SiteImages(i.site), m))
	}
	if err != nil && ctx.Err() == nil {
		i.log.WarnContext(ctx, "the site's images were not told", service.KeySite, i.site, service.KeyErr, err.Error())
	}
}

// follow passes on the site's wishes whenever they may have changed.
func (i *images) follow(ctx context.Context) error {
	tick := time.NewTicker(siteEvery)
	defer tick.Stop()
	var sequence uint64
	for {
		m, err := i.conn.Last(ctx, subject.ShardStream(0), subject.Images(i.site))
		switch {
		case errors.Is(err, bus.ErrNotFound):
		case err != nil:
			if ctx.Err() == nil {
				i.log.WarnContext(ctx, "wishes for images cannot be read", service.KeySite, i.site, service.KeyErr, err.Error())
			}
		case m.Sequence != sequence:
			sequence = m.Sequence
			wanted, err := wishes(m)
			if err != nil {
				i.log.ErrorContext(ctx, "wishes for images are not understood; a newer release may", service.KeySite, i.site, service.KeyErr, err.Error())
				break
			}
			i.backend.Want(wanted)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func wishes(m *bus.Message) ([]plan.WantedImage, error) {
	name, err := subject.Parse(m.Subject)
	if err != nil {
		return nil, err
	}
	record, _, err := wire.DecodeRecord(name, m.Type(), m.Version(), m.Data)
	if err != nil {
		return nil, err
	}
	r, ok := record.(*plan.Images)
	if !ok {
		return nil, fmt.Errorf("%s holds a %s", m.Subject, m.Type())
	}
	return r.Wanted, nil
}
