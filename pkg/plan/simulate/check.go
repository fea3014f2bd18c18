package simulate

import (
	"fmt"
	"slices"

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
	skipped     bool
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
	c.spends(out)
	for _, ref := range out.Withdrawn {
		if j := c.ledger.jobs[ref]; j == nil || j.taken {
			c.fail("job %d of %s-%s was withdrawn and is not open", ref.Number, ref.Fleet, ref.Node)
		}
	}
	if in.Result != nil {
		c.taken(in)
	}
	for _, j := range out.Jobs {
		c.job(j)
		c.begun(j)
	}
	for _, rec := range out.Records {
		if n, ok := rec.(*plan.Node); ok {
			c.record(n)
		}
	}
}

// spends checks that a batch which spends a budget, or takes readiness away,
// writes the fleet's record: that is where two planners with the same memory
// meet, and only one of them gets through.
func (c *checker) spends(out *plan.Outcome) {
	written := map[string]bool{}
	for _, rec := range out.Records {
		if f, ok := rec.(*plan.Fleet); ok {
			written[f.Name] = true
		}
	}
	for _, e := range out.Events {
		spent := e.Fact == plan.FactCreated || e.From == plan.Ready && e.To != plan.Ready
		if spent && !written[e.Fleet] {
			c.fail("%s-%s: %s (%s -> %s) does not write the fleet's record", e.Fleet, e.Node, e.Fact, e.From, e.To)
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
	n.skipped = e.To == plan.Failed && (n.skipped || e.Fact == plan.FactSkipAsked)
	c.budgets(e, n)
	c.foreseen(e, n)
	c.reran(e)
}

// foreseen checks that no ready machine goes that the accepted plan promised
// to keep, unless a target was set since or the fleet is deleted. (One that
// does not serve may go for it when a surge ends early.)
func (c *checker) foreseen(e *plan.Event, n *shadow) {
	f := c.ledger.fleet(e.Fleet)
	if f.Deleting || c.script.scaled[e.Fleet+"/"+n.pool] {
		return
	}
	c.spared(e)
	if e.From != plan.Ready || e.To != plan.Draining && e.To != plan.Rerunning || e.Fact == plan.FactReplaceAsked {
		return
	}
	if incarnation, ok := c.script.kept[e.Fleet][e.Node]; ok && incarnation == e.Incarnation {
		c.fail("%s-%s goes (%s), and the plan promised to keep it", e.Fleet, e.Node, e.Fact)
	}
}

// spared checks that no machine goes for another one that the accepted plan
// promised to change where it is.
func (c *checker) spared(e *plan.Event) {
	incarnation, ok := c.script.spared[e.Fleet][e.Node]
	if ok && e.Fact == plan.FactOutdated && incarnation == e.Incarnation && e.To != plan.Pending {
		c.fail("%s-%s goes (from %s), and the plan promised to change it where it is", e.Fleet, e.Node, e.From)
	}
}

// budgets holds the spec that was accepted against the events.
func (c *checker) budgets(e *plan.Event, n *shadow) {
	target, unavailable, surge := c.limits(c.ledger.fleet(e.Fleet), n.pool)
	ready, total := c.count(n.fleet, n.pool)
	for _, limit := range []struct {
		fact plan.Fact
		from plan.State // any, if it is Nothing
		bad  bool
		says string
	}{
		{plan.FactCreated, plan.Nothing, total > target+surge, "more nodes exist than target and maxSurge allow"},
		{plan.FactCreated, plan.Nothing, e.Surged > surge, "the event says more surged than maxSurge"},
		{plan.FactOutdated, plan.Ready, target-ready > unavailable, "taken down on purpose beyond maxUnavailable"},
		{plan.FactRestarting, plan.Ready, target-ready > unavailable, "restarted on purpose beyond maxUnavailable"},
		{plan.FactRerunning, plan.Ready, target-ready > unavailable, "run again on purpose beyond maxUnavailable"},
		{plan.FactReplaceAsked, plan.Ready, target-ready > unavailable, "replaced by a person beyond maxUnavailable"},
		{plan.FactPreserveAsked, plan.Ready, target-ready > unavailable, "preserved beyond maxUnavailable"},
		{plan.FactOutdated, plan.Ready, e.Disrupted > unavailable, "the event says more disrupted than maxUnavailable"},
		{plan.FactUnwanted, plan.Ready, ready < target, "removed as one too many, and now ready ones are missing"},
	} {
		if limit.bad && e.Fact == limit.fact && (limit.from == plan.Nothing || limit.from == e.From) {
			c.fail("%s-%s: %s: %d exist, %d ready, target %d, maxUnavailable %d, maxSurge %d, %d disrupted, %d surged",
				e.Fleet, e.Node, limit.says, total, ready, target, unavailable, surge, e.Disrupted, e.Surged)
		}
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
		if n.state == plan.Ready || n.skipped {
			ready++
		}
		if n.state != plan.Deleted && n.state != plan.Nothing && n.state != plan.Preserved {
			total++
		}
	}
	return ready, total
}

// taken closes the job that a result answered.
func (c *checker) taken(in plan.Input) {
	if n := c.nodes[in.Fleet+"-"+in.Result.Node]; n != nil && n.open != nil && n.open.Number == in.Result.Job && n.open.Made == in.Result.Made {
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

// begun checks that nothing is begun in a paused fleet but the removal of
// used configs.
func (c *checker) begun(j *plan.Job) {
	for _, scope := range []string{j.Fleet, plan.YardScope} {
		if f := c.ledger.fleet(scope); f != nil && f.Paused && j.Action != plan.ActionBlank && j.Action != plan.ActionForget {
			c.fail("%s-%s: a job to %s is begun while %s is paused", j.Fleet, j.Node, j.Action, scope)
		}
	}
}

// given remembers a job as the node's open one.
func (c *checker) given(j *job) {
	if n := c.nodes[j.Fleet+"-"+j.Node]; n != nil {
		n.open = j
	}
}

// record checks a node's record against its events.
func (c *checker) record(n *plan.Node) {
	k := n.Fleet + "-" + n.Key()
	s := c.nodes[k]
	if s == nil || s.event != n.Event || s.state != n.State || s.incarnation != n.Incarnation {
		c.fail("%s: the record says %s, event %d; the events say %+v", k, n.State, n.Event, s)
	}
	if n.State == plan.Failed && n.Reason == "" {
		c.fail("%s failed without a reason", k)
	}
	c.addresses(k, n)
}

// addresses checks a node's addresses against everybody else's and against
// the claims.
func (c *checker) addresses(k string, n *plan.Node) {
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
		if o == m {
			continue
		}
		for _, a := range slices.Concat(m.addresses, m.macs) {
			if slices.Contains(o.addresses, a) || slices.Contains(o.macs, a) {
				c.fail("machines of %s-%s and %s-%s both have %s", m.fleet, m.node, o.fleet, o.node, a)
			}
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

// placed checks that a job goes to the site that its pool names for the
// node's failure domain.
func (c *checker) placed(j *job) {
	n := c.ledger.node(j.Fleet, j.Node)
	if n == nil || n.Incarnation != j.Incarnation || n.Job == nil || n.Job.Number != j.Number {
		return // too late; the record has moved on
	}
	p, ok := c.ledger.revision(n.Fleet, n.Revision).Document.Pool(n.Pool)
	if !ok {
		return
	}
	domains := p.Domains()
	if len(domains) == 0 {
		domains = []string{""}
	}
	if !slices.Contains(domains, n.Domain) {
		c.fail("%s-%s is in failure domain %q, its pool has %q", n.Fleet, n.Key(), n.Domain, domains)
	}
	at := p.In(n.Domain).VSphere
	if got := []string{j.Site, n.Site, j.VSphere.Site, j.VSphere.Cluster}; !slices.Equal(got, []string{at.Site, at.Site, at.Site, at.Cluster}) {
		c.fail("%s-%s is made at %q, its failure domain %q is at %s (%s)", n.Fleet, n.Key(), got, n.Domain, at.Site, at.Cluster)
	}
}
