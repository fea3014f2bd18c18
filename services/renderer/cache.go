package renderer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/render"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// maxCompiled bounds the cache; a compiled pool is some tens of kilobytes.
const maxCompiled = 512

// retryRevision is how long the planner waits when a revision cannot be read
// yet: a copy of the stream may lag behind its leader.
const retryRevision = time.Second

// compiled is a pool of a revision, ready to be stamped, or why it is not.
// It holds no secret, only where they are.
type compiled struct {
	*render.Compiled
	secrets map[string]fleet.Secret
	refused error
}

// cache keeps compiled pools. Revisions never change, so neither does what
// was made from one.
type cache struct {
	conn    *bus.Conn
	shards  int
	metrics *metrics
	flight  singleflight.Group

	mu    sync.Mutex
	pools map[string]*compiled
	order []string // oldest first
}

// get returns the compiled pool of a job; of many that ask at once, one
// compiles.
func (c *cache) get(ctx context.Context, job *plan.Job) (*compiled, error) {
	key := job.FleetUID + "/" + strconv.Itoa(job.Revision) + "/" + job.Pool
	if found := c.known(key); found != nil {
		return found, nil
	}
	// The others must not fail because the first one's job ran out of time;
	// every call in there has its own end.
	ctx = context.WithoutCancel(ctx)
	made, err, _ := c.flight.Do(key, func() (any, error) {
		if found := c.known(key); found != nil {
			return found, nil
		}
		revision, err := c.revision(ctx, job)
		if err != nil {
			return nil, err
		}
		made := &compiled{secrets: revision.Document.Spec.Secrets}
		defer c.metrics.time(stepCompile)()
		if made.Compiled, made.refused = render.Compile(&revision.Document, job.Pool); made.refused != nil {
			made.refused = fmt.Errorf("revision %d of fleet %s: %w", job.Revision, job.Fleet, made.refused)
		}
		c.keep(key, made)
		return made, nil
	})
	if err != nil {
		return nil, err
	}
	found, ok := made.(*compiled)
	if !ok {
		return nil, errors.New("the flight carried something else")
	}
	return found, nil
}

func (c *cache) known(key string) *compiled {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pools[key]
}

func (c *cache) keep(key string, made *compiled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.order) >= maxCompiled {
		delete(c.pools, c.order[0])
		c.order = c.order[1:]
	}
	c.pools[key] = made
	c.order = append(c.order, key)
}

// revision reads the job's revision. The job does not say in which shard its
// fleet lives, and there are few.
func (c *cache) revision(ctx context.Context, job *plan.Job) (*plan.Revision, error) {
	for k := range c.shards {
		name := subject.Revision(k, job.Fleet, job.Revision)
		m, err := c.conn.Last(ctx, subject.ShardStream(k), name)
		if errors.Is(err, bus.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, busTrouble(err)
		}
		parsed, err := subject.Parse(name)
		if err != nil {
			return nil, err
		}
		record, _, err := wire.DecodeRecord(parsed, m.Type(), m.Version(), m.Data)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if revision, ok := record.(*plan.Revision); ok && revision.FleetUID == job.FleetUID {
			return revision, nil
		}
	}
	return nil, &fault.Error{
		Kind: fault.Busy, Reason: fault.BackendDown, RetryAfter: retryRevision,
		Err: fmt.Errorf("revision %d of fleet %s cannot be read from the ledger yet", job.Revision, job.Fleet),
	}
}
