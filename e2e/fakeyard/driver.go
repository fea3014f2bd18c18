package fakeyard

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/e2e/machines"
	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// driver plays the gateway (and so people and autoscalers) and the guests
// that phone home. It is never hurt: what it has sent must be done once.
type driver struct {
	tb   testing.TB
	conn *bus.Conn
	dir  machines.Folder

	mu    sync.Mutex
	sent  int
	twice int
}

// Fleet is what a fleet should be by all that was accepted.
type Fleet struct {
	Doc fleet.Fleet
	// Target is the live target by the accepted commands.
	Target int
	shard  int
	round  int
}

// Name is the fleet's name.
func (f *Fleet) Name() string { return f.Doc.Metadata.Name }

// Pool is the name of every fleet's only pool.
const Pool = "w"

func (d *driver) nextID(prefix string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent++
	return fmt.Sprintf("%s-%d", prefix, d.sent)
}

// send stores a command and, if it is wanted, a second time, as a client
// would whose first answer was lost.
func (d *driver) send(ctx context.Context, shard int, scope string, c *plan.Command) {
	c.By, c.At = "driver", time.Now()
	m, err := wire.Command(c)
	if err != nil {
		d.tb.Errorf("encode %s: %v", c.ID, err)
		return
	}
	for {
		_, err := d.conn.Publish(ctx, bus.Expect(bus.NewMsg(subject.Command(shard, scope, c.ID), m), 0))
		if err == nil || bus.Code(err) == bus.CodeWrongLastSequence || ctx.Err() != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// again stores the same command beside the first, without any expectation.
func (d *driver) again(ctx context.Context, shard int, scope string, c *plan.Command) {
	m, err := wire.Command(c)
	if err != nil {
		d.tb.Errorf("encode %s: %v", c.ID, err)
		return
	}
	if _, err := d.conn.Publish(ctx, bus.Rollup(bus.NewMsg(subject.Command(shard, scope, c.ID), m))); err == nil {
		d.mu.Lock()
		d.twice++
		d.mu.Unlock()
	}
}

// receipt waits for the answer to a command.
func (d *driver) receipt(ctx context.Context, shard int, scope, id string) (*plan.Receipt, error) {
	// Under faults an answer may take a while; one that never comes is a
	// lost command.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	at := subject.Receipt(shard, scope, id)
	for {
		m, err := d.conn.Last(ctx, subject.ShardStream(shard), at)
		if err == nil {
			return record[*plan.Receipt](m)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("no receipt for %s: %w", id, errors.Join(ctx.Err(), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// record decodes a stored record, which must be a T.
func record[T plan.Record](m *bus.Message) (T, error) {
	var none T
	name, err := subject.Parse(m.Subject)
	if err != nil {
		return none, err
	}
	r, _, err := wire.DecodeRecord(name, m.Type(), m.Version(), m.Data)
	if err != nil {
		return none, err
	}
	if t, ok := r.(T); ok {
		return t, nil
	}
	return none, fmt.Errorf("%s holds a %T", m.Subject, r)
}

// must sends a command and wants it accepted.
func (d *driver) must(ctx context.Context, shard int, scope string, c *plan.Command) *plan.Receipt {
	d.tb.Helper()
	d.send(ctx, shard, scope, c)
	r, err := d.receipt(ctx, shard, scope, c.ID)
	if err != nil {
		d.tb.Fatal(err)
	}
	if !r.Accepted {
		d.tb.Fatalf("%s was refused: %s %v", c.ID, r.Code, r.Refusal)
	}
	return r
}

// documents makes the Network and the Site.
func (d *driver) documents(ctx context.Context) {
	d.tb.Helper()
	meta := func(name string) fleet.Metadata { return fleet.Metadata{Name: name} }
	d.must(ctx, 0, plan.YardScope, &plan.Command{ID: d.nextID("network"), ApplyNetwork: &fleet.Network{
		APIVersion: fleet.APIVersion, Kind: fleet.KindNetwork, Metadata: meta("lan"),
		Spec: fleet.NetworkSpec{Subnet: "10.0.0.0/16", Range: "10.0.1.0-10.0.200.255", Gateway: "10.0.0.1", DNS: []string{"10.0.0.1"}},
	}})
	d.must(ctx, 0, plan.YardScope, &plan.Command{ID: d.nextID("site"), ApplySite: &fleet.Site{
		APIVersion: fleet.APIVersion, Kind: fleet.KindSite, Metadata: meta("dc1"),
		Spec: fleet.SiteSpec{VSphere: &fleet.SiteVSphere{
			URL: "https://vcenter.example/sdk", Username: fleet.Secret{Env: "U"}, Password: fleet.Secret{Env: "P"}, Datacenter: "dc1",
		}},
	}})
}

// apply applies a fleet that has its place.
func (d *driver) apply(ctx context.Context, f *Fleet) {
	d.tb.Helper()
	d.must(ctx, f.shard, f.Name(), &plan.Command{ID: d.nextID("apply"), ApplyFleet: &plan.ApplyFleet{Document: f.Doc}})
}

func (d *driver) place(ctx context.Context, f *Fleet) {
	d.tb.Helper()
	name := f.Name()
	d.must(ctx, 0, plan.YardScope, &plan.Command{ID: d.nextID("place"), Place: &plan.PlaceFleet{Name: name}})
	m, err := d.conn.Last(ctx, subject.ShardStream(0), subject.Place(name))
	if err != nil {
		d.tb.Fatal(err)
	}
	p, err := record[*plan.Place](m)
	if err != nil {
		d.tb.Fatal(err)
	}
	f.shard = p.Shard
}

// NewFleet describes nodes that only the fake workers will make.
func NewFleet(name string, nodes, unavailable, surge int) *Fleet {
	all := 100
	f := &Fleet{Target: nodes, Doc: fleet.Fleet{
		APIVersion: fleet.APIVersion, Kind: fleet.KindFleet, Metadata: fleet.Metadata{Name: name},
		Spec: fleet.FleetSpec{
			OS:     fleet.OS{Channel: "stable", Version: "4593.2.5"},
			Config: []fleet.Layer{{Role: "base"}},
			Vars:   map[string]string{"round": "0"},
			Pools: []fleet.Pool{{
				Name: Pool, Replicas: nodes, Networks: []fleet.PoolNetwork{{Ref: "lan"}},
				VSphere: &fleet.VSphere{Site: "dc1", Cluster: "c1", Datastore: "ds1"},
			}},
			Rollout: fleet.Rollout{MaxUnavailable: &unavailable, MaxSurge: &surge},
			Protect: fleet.Protect{MaxDestroyPercent: &all, MaxCreate: &nodes},
			Retry:   fleet.Retry{Attempts: 50},
		},
	}}
	f.Doc.Spec.Retry.Backoff.Duration = time.Second
	f.Doc.Spec.Retry.MaxBackoff.Duration = 2 * time.Second
	return f
}

// roll applies the next revision.
func (d *driver) roll(ctx context.Context, f *Fleet) {
	f.round++
	doc := f.Doc
	doc.Spec.Vars = map[string]string{"round": fmt.Sprint(f.round)}
	f.Doc = doc
	c := &plan.Command{ID: d.nextID("apply"), ApplyFleet: &plan.ApplyFleet{Document: doc}}
	d.send(ctx, f.shard, doc.Metadata.Name, c)
	d.answer(ctx, f, c)
}

// scale adds some nodes or takes some away, as an autoscaler would: it names
// the target that it saw, so that a command applied twice is refused.
func (d *driver) scale(ctx context.Context, f *Fleet, r *rand.Rand) {
	seen := f.Target
	next := max(10, f.Doc.Spec.Pools[0].Replicas-r.IntN(1+f.Doc.Spec.Pools[0].Replicas/8))
	c := &plan.Command{ID: d.nextID("scale"), Scale: &plan.Scale{Pool: Pool, Target: next, Basis: &seen}}
	d.send(ctx, f.shard, f.Name(), c)
	if r.IntN(3) == 0 {
		d.again(ctx, f.shard, f.Name(), c)
	}
	if d.answer(ctx, f, c) {
		f.Target = next
	}
}

func (d *driver) answer(ctx context.Context, f *Fleet, c *plan.Command) bool {
	r, err := d.receipt(ctx, f.shard, f.Name(), c.ID)
	if err != nil {
		if ctx.Err() == nil {
			d.tb.Error(err)
		}
		return false
	}
	if !r.Accepted {
		d.tb.Errorf("%s was refused: %s %v", c.ID, r.Code, r.Refusal)
	}
	return r.Accepted
}

// guests lets every new machine phone home until ctx ends, many at once as
// guests do.
func (d *driver) guests(ctx context.Context, shardOf func(fleet string) (int, bool)) {
	calls := make(chan struct{}, 32)
	var group sync.WaitGroup
	defer group.Wait()
	seen := map[string]time.Time{} // by file, so that only new ones are read
	for ctx.Err() == nil {
		fresh, err := d.dir.Since(seen)
		if err != nil {
			d.tb.Error(err)
			return
		}
		for name, m := range fresh {
			shard, known := shardOf(m.Fleet)
			if !known {
				delete(seen, name)
				continue
			}
			calls <- struct{}{}
			group.Go(func() {
				defer func() { <-calls }()
				if d.recognized(ctx, shard, &m) {
					d.send(ctx, shard, m.Fleet, phoneHome(m))
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// recognized waits until the node's record has the machine's token: until then
// the gateway refuses a guest, who calls again.
func (d *driver) recognized(ctx context.Context, shard int, m *machines.Machine) bool {
	at := subject.Node(shard, m.Fleet, m.Node)
	for ctx.Err() == nil {
		msg, err := d.conn.Last(ctx, subject.ShardStream(shard), at)
		if err == nil {
			n, err := record[*plan.Node](msg)
			if err != nil || n.Incarnation > m.Incarnation {
				return false
			}
			if n.TokenSHA256 == m.Token {
				return true
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

func phoneHome(m machines.Machine) *plan.Command {
	return &plan.Command{ID: "ph-" + m.Token[:32], PhoneHome: &plan.PhoneHome{
		Node: m.Node, Incarnation: m.Incarnation, TokenSHA256: m.Token, Address: m.Address,
		MachineID: m.UUID, BootID: m.UUID, OSVersion: "4593.2.5",
	}}
}

// awaitSettled waits until a fleet's record says that every node has reached
// its revision.
func (d *driver) awaitSettled(ctx context.Context, f *Fleet) {
	d.tb.Helper()
	at := subject.Fleet(f.shard, f.Name())
	harness.Wait(d.tb, "fleet "+f.Name()+" settled", 3*time.Minute, func() error {
		m, err := d.conn.Last(ctx, subject.ShardStream(f.shard), at)
		if err != nil {
			return err
		}
		got, err := record[*plan.Fleet](m)
		if err == nil && (got.Settled != got.Revision || got.Stepping) {
			err = fmt.Errorf("settled %d of revision %d, stepping %v", got.Settled, got.Revision, got.Stepping)
		}
		return err
	})
}
