package simulate

import (
	"fmt"
	"time"

	"yardmaster.dev/pkg/plan"
)

// checker holds what must always be. It follows the events by itself and
// never asks the planner's own counts.
type checker struct {
	*run
	nodes map[string]*shadow
	// holders says which node record lists an address.
	holders map[string]string
}

// shadow is a node as its events tell it.
type shadow struct {
	fleet, pool string
	state       plan.State
	event       int64
	incarnation int
	open        *job
}

func newChecker(r *run) *checker {
	return &checker{run: r, nodes: map[string]*shadow{}, holders: map[string]string{}}
}

// committed checks one batch after it was written.
func (c *checker) committed(in plan.Input, out *plan.Outcome) {
	for _, e := range out.Events {
		c.tell("planner   %s: %s %s, %s -> %s%s", in.ID, e.Node, e.Fact, e.From, e.To, because(e))
		if e.Node != plan.FleetEvents {
			c.event(e)
		}
	}
	for _, ref := range out.Withdrawn {
		if j := c.ledger.jobs[ref]; j == nil || j.answered != nil && j.taken {
			c.fail("job %d of %s-%s was withdrawn and is not open", ref.Number, ref.Fleet, ref.Node)
		}
	}
	if in.Result != nil {
		c.taken(in)
	}
	for _, j := range out.Jobs {
		c.job(j)
	}
	for _, rec := range out.Records {
		if n, ok := rec.(*plan.Node); ok {
			c.record(n)
		}
	}
}

func because(e *plan.Event) string {
	if e.Reason == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", e.Reason)
}

// event follows a node's event: the chain has no gap, the move is in the
// table, the budgets hold.
func (c *checker) event(e *plan.Event) {
	k := e.Fleet + "-" + e.Node
	n := c.nodes[k]
	if n == nil {
		n = &shadow{fleet: e.Fleet}
		if rec := c.ledger.node(e.Fleet, e.Node); rec != nil {
			n.pool = rec.Pool
		}
		c.nodes[k] = n
	}
	if e.Number != n.event+1 {
		c.fail("%s: event %d follows event %d", k, e.Number, n.event)
	}
	if to, ok := plan.Move(e.From, e.Fact); !ok || to != e.To || e.From != n.state {
		c.fail("%s: %s from %s to %s is not in the table, or it was %s", k, e.Fact, e.From, e.To, n.state)
	}
	if e.Incarnation < n.incarnation || e.Incarnation > n.incarnation+1 {
		c.fail("%s: incarnation %d follows %d", k, e.Incarnation, n.incarnation)
	}
	n.event, n.state, n.incarnation = e.Number, e.To, e.Incarnation
	c.budgets(e, n)
}

// budgets holds the spec that was accepted against the events.
func (c *checker) budgets(e *plan.Event, n *shadow) {
	f := c.ledger.fleet(e.Fleet)
	target, unavailable, surge := c.limits(f, n.pool)
	ready, total := c.count(n.fleet, n.pool)
	if e.Fact == plan.FactCreated && total > target+surge {
		c.fail("%s-%s: %d nodes exist, target %d and maxSurge %d allow %d", e.Fleet, e.Node, total, target, surge, target+surge)
	}
	if e.Fact == plan.FactOutdated && e.From == plan.Ready && target-ready > unavailable {
		c.fail("%s-%s: taken down on purpose, so %d of %d are ready, maxUnavailable is %d",
			e.Fleet, e.Node, ready, target, unavailable)
	}
	if e.Fact == plan.FactUnwanted && e.From == plan.Ready && ready < target {
		c.fail("%s-%s: removed as one too many, so %d of %d are ready", e.Fleet, e.Node, ready, target)
	}
	if e.Fact == plan.FactOutdated && e.From == plan.Ready && e.Disrupted > unavailable {
		c.fail("%s-%s: the event says %d disrupted, maxUnavailable is %d", e.Fleet, e.Node, e.Disrupted, unavailable)
	}
	if e.Fact == plan.FactCreated && e.Surged > surge {
		c.fail("%s-%s: the event says %d surged, maxSurge is %d", e.Fleet, e.Node, e.Surged, surge)
	}
}

// limits are a pool's live target and budgets by the newest revision.
func (c *checker) limits(f *plan.Fleet, pool string) (target, unavailable, surge int) {
	if f == nil {
		return 0, 0, 0
	}
	doc := c.script.accepted[f.Name]
	if doc == nil {
		return 0, 0, 0
	}
	if p, ok := doc.Pool(pool); ok {
		unavailable, surge = doc.Budgets(p)
		target = f.Targets[pool]
	}
	if f.Deleting || f.Deleted {
		target = 0
	}
	return target, unavailable, surge
}

func (c *checker) count(fleetName, pool string) (ready, total int) {
	for _, n := range c.nodes {
		if n.fleet != fleetName || n.pool != pool {
			continue
		}
		if n.state == plan.Ready {
			ready++
		}
		if n.state != plan.Deleted && n.state != plan.Nothing {
			total++
		}
	}
	return ready, total
}

// taken closes the job that a result answered.
func (c *checker) taken(in plan.Input) {
	if n := c.nodes[in.Fleet+"-"+in.Result.Node]; n != nil && n.open != nil && n.open.Number == in.Result.Job {
		n.open.taken = true
	}
}

// job checks that a node's earlier job is answered or was called back.
func (c *checker) job(j *plan.Job) {
	n := c.nodes[j.Fleet+"-"+j.Node]
	if n == nil {
		c.fail("job %d for %s-%s, which does not exist", j.Number, j.Fleet, j.Node)
		return
	}
	if o := n.open; o != nil && !o.withdrawn && !o.taken {
		c.fail("%s-%s: job %d (%s) is given out while job %d (%s) is open",
			j.Fleet, j.Node, j.Number, j.Action, o.Number, o.Action)
	}
	if j.Number != n.event && j.Number > n.event {
		c.fail("%s-%s: job %d has no event", j.Fleet, j.Node, j.Number)
	}
}

// given remembers a job as the node's open one.
func (c *checker) given(j *job) {
	if n := c.nodes[j.Fleet+"-"+j.Node]; n != nil {
		n.open = j
	}
}

// record checks a node's record against its events, and its addresses
// against everybody else's.
func (c *checker) record(n *plan.Node) {
	k := n.Fleet + "-" + n.Key()
	s := c.nodes[k]
	if s == nil || s.event != n.Event || s.state != n.State || s.incarnation != n.Incarnation {
		c.fail("%s: the record says %s, event %d; the events say %+v", k, n.State, n.Event, s)
	}
	for a, holder := range c.holders {
		if holder == k {
			delete(c.holders, a)
		}
	}
	for _, a := range n.Addresses {
		thing := a.Network + "/" + a.Addr
		if other := c.holders[thing]; other != "" && other != k {
			c.fail("%s and %s both hold %s", k, other, thing)
		}
		c.holders[thing] = k
		claim := c.ledger.claims["claim.address."+thing]
		if claim == nil || claim.FleetUID != n.FleetUID || claim.Node != n.Key() {
			c.fail("%s holds %s without a claim on it", k, thing)
		}
	}
	if n.State == plan.Failed && n.Reason == "" {
		c.fail("%s failed without a reason", k)
	}
}

// released checks that nobody lists what is freed.
func (c *checker) released(claim *plan.Claim) {
	if claim.Kind != plan.ClaimAddress {
		return
	}
	if holder := c.holders[claim.Thing]; holder != "" {
		c.fail("%s is freed while %s holds it", claim.Thing, holder)
	}
}

// made checks that a node has one machine and an address one machine.
func (c *checker) made(m *machine) {
	for _, o := range c.site.machines {
		if o != m && o.fleet == m.fleet && o.node == m.node {
			c.fail("two machines for %s-%s: incarnations %d and %d", m.fleet, m.node, o.incarnation, m.incarnation)
		}
		if o != m && m.address != "" && o.address == m.address {
			c.fail("machines of %s-%s and %s-%s both have %s", m.fleet, m.node, o.fleet, o.node, m.address)
		}
	}
}

// destroyed checks that the planner wanted that very machine gone.
func (c *checker) destroyed(j *job, m *machine) {
	n := c.ledger.node(m.fleet, m.node)
	if n == nil || n.Incarnation != m.incarnation || n.State != plan.Deleting && n.State != plan.Failed {
		c.fail("the machine of %s-%s is destroyed by job %d, and its record is %+v", m.fleet, m.node, j.Number, n)
	}
}

// end checks how everything has come to rest.
func (c *checker) end() {
	c.audit()
	for n := range c.ledger.nodes {
		c.rested(n)
	}
	for _, m := range c.site.machines {
		if n := c.ledger.node(m.fleet, m.node); n == nil || n.MachineUUID != m.uuid {
			c.fail("the machine of %s-%s incarnation %d is an orphan", m.fleet, m.node, m.incarnation)
		}
	}
	for _, claim := range c.ledger.claims {
		if claim.Kind == plan.ClaimAddress && c.holders[claim.Thing] == "" {
			c.fail("the claim on %s (%s %s) has no owner and no audit freed it", claim.Thing, claim.Fleet, claim.Node)
		}
	}
	for _, name := range c.script.names {
		c.fleetRested(name)
	}
}

// rested checks that a node ended where a node may end.
func (c *checker) rested(n *plan.Node) {
	k := n.Fleet + "-" + n.Key()
	letter, _ := c.ledger.records["dlq."+n.Fleet+"."+n.Key()].(*plan.DeadLetter)
	failed := letter != nil && letter.Reason != ""
	if n.Job != nil || !n.Due.IsZero() {
		c.fail("%s rests with an open job or a deadline: %+v", k, n)
	}
	good := n.State == plan.Deleted || (n.State == plan.Ready && (n.Chore == "" || failed)) ||
		(n.State == plan.Failed && failed && n.Hint+letter.Hint != "") ||
		(n.State == plan.Pending && n.DueFor == plan.DueAddress)
	if !good {
		c.fail("%s ends %s, for %q", k, n.State, n.Reason)
	}
	if failed && (n.State == plan.Deleted || (n.State == plan.Ready && n.Chore == "")) {
		c.fail("%s is %s and still among the failed", k, n.State)
	}
}

// fleetRested checks that a fleet is what its newest spec says, but for nodes
// that need a person.
func (c *checker) fleetRested(name string) {
	f := c.ledger.fleet(name)
	if f == nil || f.Deleted {
		return
	}
	stuck := map[string]int{}
	wanted := map[string]int{}
	outdated := map[string]int{}
	doc := c.ledger.revision(name, f.Revision).Document
	for n := range c.ledger.nodes {
		if n.Fleet != name || n.State == plan.Deleted {
			continue
		}
		if n.State == plan.Failed || n.State == plan.Pending {
			stuck[n.Pool]++
		}
		if n.Goal != plan.Absent {
			wanted[n.Pool]++
			if n.PoolHash != doc.PoolHash(n.Pool) {
				outdated[n.Pool]++
			}
		}
	}
	if f.Stepping || f.Deleting && len(stuck) == 0 {
		c.fail("fleet %s rests while stepping or half deleted: %+v", name, f)
	}
	for pool := range f.Targets {
		if stuck[pool] == 0 && wanted[pool] != f.Targets[pool] && !f.Deleting {
			c.fail("pool %s/%s rests with %d nodes, target %d", name, pool, wanted[pool], f.Targets[pool])
		}
		if stuck[pool] == 0 && outdated[pool] > 0 {
			c.fail("pool %s/%s rests with %d outdated nodes", name, pool, outdated[pool])
		}
	}
}

// audit frees the claims that a crash has orphaned.
func (c *checker) audit() {
	if c.world != nil {
		c.free(plan.Audit(c.world, c.now.Add(time.Hour)))
	}
}
