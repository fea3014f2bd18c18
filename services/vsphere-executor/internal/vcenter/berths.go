package vcenter

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"yardmaster.dev/pkg/executor"
)

// berths are the hosts of machines that are being made and that we spread
// ourselves: vCenter does not show yet that they are taken. They outlive the
// connection, as limits do.
type berths struct {
	mu    sync.Mutex
	taken map[executor.Owner]ref
	turns map[ref]chan struct{}
}

func newBerths() *berths {
	return &berths{taken: map[executor.Owner]ref{}, turns: map[ref]chan struct{}{}}
}

// turn lets one at a time look at a cluster and act on what was seen.
func (b *berths) turn(ctx context.Context, cluster ref) (leave func(), err error) {
	b.mu.Lock()
	turn := b.turns[cluster]
	if turn == nil {
		turn = make(chan struct{}, 1)
		b.turns[cluster] = turn
	}
	b.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a turn at the cluster: %w", ctx.Err())
	}
}

func (b *berths) take(o executor.Owner, host ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken[o] = host
}

func (b *berths) leave(o executor.Owner) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.taken, o)
}

// others counts the machines of the pool but the job's own by host, those that
// are being made among them.
func (b *berths) others(t *executor.Task, n *neighbourhood) map[ref]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen, out := map[executor.Owner]bool{}, map[ref]int{}
	for _, r := range n.vms {
		if samePool(r.owner, t.Owner) && !r.owner.SameNode(t.Owner) {
			seen[r.owner] = true
			out[r.host]++
		}
	}
	for o, host := range b.taken {
		if samePool(o, t.Owner) && !o.SameNode(t.Owner) && !seen[o] {
			out[host]++
		}
	}
	return out
}

// berth chooses the host of a VM that is about to be cloned, where nobody
// else does it: the one with the fewest of the pool, of equal ones the first
// by name. Nil leaves it to vCenter.
func (c *connection) berth(ctx context.Context, t *executor.Task, p *place) (*ref, error) {
	if !t.Job.VSphere.Apart() {
		return p.host, nil
	}
	leave, err := c.berths.turn(ctx, p.compute)
	if err != nil {
		return nil, err
	}
	defer leave()
	n, err := c.cluster(ctx, p.compute)
	if err != nil {
		return nil, err
	}
	if n.ruling && p.host == nil {
		return nil, nil //nolint:nilnil // DRS chooses
	}
	if err := c.populate(ctx, n); err != nil {
		return nil, err
	}
	host, why := n.freest(p, c.berths.others(t, n), required(t))
	switch {
	case host == nil && required(t):
		return nil, crowded(t, n, why)
	case host == nil:
		return p.host, nil // vCenter's words are the better ones
	}
	c.berths.take(t.Owner, *host)
	return host, nil
}

// freest is the host with the fewest others; nil if there is none, and why.
func (n *neighbourhood) freest(p *place, others map[ref]int, alone bool) (*ref, []string) {
	var best *ref
	var why []string
	for _, h := range n.hosts { // by name
		if p.host != nil && h.ref != *p.host {
			continue
		}
		switch lacks := h.lacks(p); {
		case lacks != "":
			why = append(why, h.name+" "+lacks)
		case alone && others[h.ref] > 0:
			why = append(why, h.name+" has one of the pool")
		case best == nil || others[h.ref] < others[*best]:
			best = &h.ref
		}
	}
	return best, why
}

// lacks is why a host cannot take a VM; empty if it can.
func (h *berthPlace) lacks(p *place) string {
	if h.away != "" {
		return h.away
	}
	for _, r := range p.reaches {
		if !slices.Contains(h.reaches, r) {
			return "does not see " + r.Type + " " + r.Value
		}
	}
	return ""
}

// alone makes sure that a VM which must be is the only one of its pool on its
// host: somebody may have moved it, or the one who chose may have died. One
// that is not, and has never run, is made anew elsewhere.
func (c *connection) alone(ctx context.Context, t *executor.Task, n *neighbourhood, p *place, vm ref) error {
	others := c.berths.others(t, n)
	i := slices.IndexFunc(n.vms, func(r resident) bool { return r.ref == vm })
	if i < 0 {
		return nil // it moved to another cluster
	}
	if host := n.vms[i].host; others[host] == 0 {
		c.berths.take(t.Owner, host)
		return nil
	}
	if free, why := n.freest(p, others, true); free == nil {
		return crowded(t, n, why)
	}
	if err := c.destroy(ctx, t, &machine{ref: vm, name: name(t)}); err != nil {
		return err
	}
	c.berths.leave(t.Owner)
	return errAgain
}
