package vsphereexecutor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// siteEvery is how soon a changed Site is taken up. Reading one message is
// cheaper, and needs fewer permissions, than a consumer of its own.
const siteEvery = 500 * time.Millisecond

// follow passes on the Site's description whenever it may have changed.
func follow(ctx context.Context, conn *bus.Conn, site string, use func(context.Context, *fleet.SiteVSphere), log *slog.Logger) error {
	tick := time.NewTicker(siteEvery)
	defer tick.Stop()
	var sequence uint64
	for {
		m, err := conn.Last(ctx, subject.ShardStream(0), subject.Site(site))
		switch {
		case errors.Is(err, bus.ErrNotFound):
		case err != nil:
			if ctx.Err() == nil {
				log.WarnContext(ctx, "site cannot be read", service.KeySite, site, service.KeyErr, err.Error())
			}
		case m.Sequence != sequence:
			document, err := describe(m)
			if err != nil {
				log.ErrorContext(ctx, "site is not understood; a newer release may", service.KeySite, site, service.KeyErr, err.Error())
			} else {
				use(ctx, document)
			}
			sequence = m.Sequence
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-conn.Failed():
			return err
		case <-tick.C:
		}
	}
}

// describe returns the vSphere section of a stored Site, nil if it has none
// or was deleted.
func describe(m *bus.Message) (*fleet.SiteVSphere, error) {
	name, err := subject.Parse(m.Subject)
	if err != nil {
		return nil, err
	}
	record, _, err := wire.DecodeRecord(name, m.Type(), m.Version(), m.Data)
	if err != nil {
		return nil, err
	}
	s, ok := record.(*plan.Site)
	if !ok {
		return nil, fmt.Errorf("%s holds a %s", m.Subject, m.Type())
	}
	if s.Deleted {
		return nil, nil //nolint:nilnil // no section is an answer
	}
	return s.Document.Spec.VSphere, nil
}
