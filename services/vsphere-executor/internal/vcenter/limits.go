package vcenter

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"yardmaster.dev/pkg/fleet"
)

// The limits that a Site has by default. Beyond a dozen clones at once
// vCenter only queues, and users of one template are served later, not
// sooner.
const (
	defaultClones      = 8
	defaultPerTemplate = 8
	defaultOperations  = 16
)

// limits bound what we have vCenter do at once. Who waits is served in the
// order of coming.
type limits struct {
	clones      gate
	operations  gate
	perTemplate int

	mu        sync.Mutex
	templates map[ref]gate
}

// gate lets a number of holders in.
type gate chan struct{}

func newLimits(l fleet.Limits) *limits {
	return &limits{
		clones:      make(gate, cmp.Or(l.Clones, defaultClones)),
		operations:  make(gate, cmp.Or(l.Operations, defaultOperations)),
		perTemplate: cmp.Or(l.PerTemplate, defaultPerTemplate),
		templates:   map[ref]gate{},
	}
}

func (l *limits) template(r ref) gate {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.templates[r]
	if g == nil {
		g = make(gate, l.perTemplate)
		l.templates[r] = g
	}
	return g
}

// enter takes a place at each gate, always in the same order, so that nobody
// waits for each other.
func enter(ctx context.Context, gates ...gate) (leave func(), err error) {
	for i, g := range gates {
		select {
		case g <- struct{}{}:
		case <-ctx.Done():
			release(gates[:i])
			return nil, fmt.Errorf("wait for a turn at vCenter: %w", ctx.Err())
		}
	}
	return func() { release(gates) }, nil
}

func release(gates []gate) {
	for _, g := range gates {
		<-g
	}
}
