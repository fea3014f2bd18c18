package simulate

import (
	"strings"
	"time"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
)

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
		if claim.Kind == plan.ClaimAddress && claim.Fleet != plan.Aside && c.holders[claim.Thing] == "" {
			c.fail("the claim on %s (%s %s) has no owner and no audit freed it", claim.Thing, claim.Fleet, claim.Node)
		}
	}
	for _, name := range c.script.names {
		c.fleetRested(name)
	}
	for _, m := range c.site.machines {
		c.sized(m)
	}
}

// sized checks that a machine has the size that its node's record says, if
// nobody needs to look after it.
func (c *checker) sized(m *machine) {
	n := c.ledger.node(m.fleet, m.node)
	if n == nil || n.State != plan.Ready || n.Chore != "" || strings.HasPrefix(n.PoolHash, "undone-") {
		return
	}
	c.flavoured(m, n)
	p, ok := c.ledger.revision(n.Fleet, n.Revision).Document.Pool(n.Pool)
	if ok && p.VSphere.Annotation != m.note {
		c.fail("%s-%s is said to be of revision %d, with the note %q; its machine has %q", m.fleet, m.node, n.Revision, p.VSphere.Annotation, m.note)
	}
	if ok && p.VSphere.CPUs != m.cpus {
		c.fail("%s-%s is said to be of revision %d, with %d CPUs; its machine has %d", m.fleet, m.node, n.Revision, p.VSphere.CPUs, m.cpus)
	}
}

// letter is the node's dead letter, an empty one if it has none.
func (c *checker) letter(n *plan.Node) *plan.DeadLetter {
	if l, _ := c.ledger.records["dlq."+n.Fleet+"."+n.Key()].(*plan.DeadLetter); l != nil {
		return l
	}
	return &plan.DeadLetter{}
}

// audit frees the claims that a crash has orphaned.
func (c *checker) audit() {
	if c.world != nil {
		c.free(plan.Audit(c.world, c.now.Add(time.Hour)))
	}
}

// rested checks that a node ended where a node may end.
func (c *checker) rested(n *plan.Node) {
	k := n.Fleet + "-" + n.Key()
	letter := c.letter(n)
	failed := letter.Reason != ""
	if n.Job != nil || !n.Due.IsZero() {
		c.fail("%s rests with an open job or a deadline: %+v", k, n)
	}
	if !ended(n, letter) {
		c.fail("%s ends %s, for %q, dead letter %+v", k, n.State, n.Reason, letter)
	}
	if failed && (n.State == plan.Deleted || n.State == plan.Ready && n.Chore == "" && letter.Reason != fault.HotRefused) {
		c.fail("%s is %s and still among the failed", k, n.State)
	}
}

// ended says where a node may end: ready with its chores done, gone, failed
// with a reason and a next step, or waiting for an address.
func ended(n *plan.Node, letter *plan.DeadLetter) bool {
	failed := letter.Reason != "" && letter.Hint != ""
	return map[plan.State]bool{
		plan.Ready:     n.Chore == "" || failed,
		plan.Deleted:   true,
		plan.Failed:    failed,
		plan.Preserved: true,
		plan.Pending:   n.DueFor == plan.DueAddress,
	}[n.State]
}

// standing is how a pool's nodes have come to rest.
type standing struct{ stuck, wanted, outdated int }

// fleetRested checks that a fleet is what its newest spec says, but for nodes
// that need a person.
func (c *checker) fleetRested(name string) {
	f := c.ledger.fleet(name)
	if f == nil || f.Deleted {
		return
	}
	pools := c.standings(name, f)
	stuck := 0
	for pool, s := range pools {
		stuck += s.stuck
		if s.stuck == 0 && !f.Deleting && (s.wanted != f.Targets[pool] || s.outdated > 0) {
			c.fail("pool %s/%s rests with %d nodes, %d of them outdated; target %d", name, pool, s.wanted, s.outdated, f.Targets[pool])
		}
	}
	if f.Stepping || f.Deleting && stuck == 0 {
		c.fail("fleet %s rests while stepping or half deleted: %+v", name, f)
	}
}

func (c *checker) standings(name string, f *plan.Fleet) map[string]*standing {
	doc := c.ledger.revision(name, f.Revision).Document
	pools := map[string]*standing{}
	for pool := range f.Targets {
		pools[pool] = &standing{}
	}
	for n := range c.ledger.nodes {
		if n.Fleet != name || n.State == plan.Deleted || n.State == plan.Preserved {
			continue
		}
		s := pools[n.Pool]
		if s == nil {
			s = &standing{}
			pools[n.Pool] = s
		}
		if n.State == plan.Failed || n.State == plan.Pending || c.letter(n).Reason != "" {
			s.stuck++
		}
		if n.Goal == plan.Absent {
			continue
		}
		s.wanted++
		if n.PoolHash != doc.PoolHash(n.Pool) {
			s.outdated++
		}
	}
	return pools
}
