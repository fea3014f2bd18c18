package vcenter

import (
	"context"
	"errors"
	"time"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/service"
)

const (
	// glanceEvery is how often booting machines are looked at.
	glanceEvery = time.Second
	// sweepLeast is the least pause between two looks at everything; a
	// sweep that takes long makes it longer, up to sweepMost, so that
	// watching costs vCenter at most a twentieth of its time. It also keeps
	// the session alive, which ends after 30 idle minutes.
	sweepLeast = 10 * time.Second
	sweepMost  = 5 * time.Minute
	sweepShare = 20
)

// Watch implements executor.Backend by looking again and again: vCenter's own
// change feed over many VMs loses changes or hangs (and always hung on the
// simulator), so that one would have to look as well.
//
// Whoever watches has the seat, so that the session ends with the watching.
func (b *Backend) Watch(ctx context.Context, yard string, see func(executor.Sighting)) error {
	defer b.Close(context.WithoutCancel(ctx))
	b.sightings.retell()
	ticks := time.NewTicker(glanceEvery)
	defer ticks.Stop()
	var next time.Time // of the sweeps
	failing := false
	for {
		b.rotate(ctx)
		err := b.look(ctx, yard, &next, see)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errNoSite):
			err = nil
		case err != nil:
			pause := max(b.sweepEvery, fault.Of(err).RetryAfter)
			next = time.Now().Add(pause)
			if !failing {
				b.options.Log.WarnContext(ctx, "inventory cannot be read",
					service.KeySite, b.options.Site, service.KeyReason, string(fault.Of(err).Reason), service.KeyErr, err.Error())
			}
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
	}
}

// look sweeps when it is time, else it glances at what boots.
func (b *Backend) look(ctx context.Context, yard string, next *time.Time, see func(executor.Sighting)) error {
	now := time.Now()
	refs := b.sightings.booting()
	due := !now.Before(*next)
	if !due && len(refs) == 0 {
		return nil
	}
	c, done, err := b.connection(ctx)
	if err != nil {
		return classify(err)
	}
	defer done()
	if !due {
		seen, err := c.glance(ctx, refs)
		for _, news := range b.sightings.addresses(seen) {
			see(news)
		}
		return classify(err)
	}
	err = b.sweep(ctx, c, yard, see)
	took := time.Since(now)
	*next = time.Now().Add(min(max(b.sweepEvery, sweepShare*took), sweepMost))
	return classify(err)
}

// restock looks at what is kept for a lone host.
func (b *Backend) restock() {
	b.mu.Lock()
	var from *fleet.SiteImages
	if b.site != nil {
		from = b.site.Images
	}
	b.mu.Unlock()
	b.imports.sawHost(b.stock.states(), from)
}

func (b *Backend) sweep(ctx context.Context, c *connection, yard string, see func(executor.Sighting)) error {
	seen, err := c.sweep(ctx)
	if err != nil {
		return err
	}
	if c.host {
		b.restock()
	} else {
		b.imports.saw(templatesOf(seen))
	}
	news, missing := b.sightings.sweep(seen, yard)
	for _, n := range news {
		see(n)
	}
	for _, k := range missing {
		// The sweep is a list; the VM itself has the last word.
		m, err := read(ctx, c.vim, k.ref)
		if err != nil {
			return err
		}
		if m == nil {
			see(b.sightings.lost(k))
		}
	}
	stores, err := c.measure(ctx, b.options.Metrics)
	if err == nil {
		b.mu.Lock()
		b.stores = stores
		b.mu.Unlock()
	}
	return err
}
