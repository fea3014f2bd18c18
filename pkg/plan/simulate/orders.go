package simulate

import (
	"time"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
)

// flavour is what a pool's var is in a revision: what its config makes of a
// machine.
func (r *run) flavour(fleetName string, number int, pool string) string {
	rev := r.ledger.revision(fleetName, number)
	if rev == nil { // a power cut has undone it
		return ""
	}
	p, ok := rev.Document.Pool(pool)
	if !ok {
		return ""
	}
	return p.Vars["flavour"]
}

// machine returns the machine of an identity, nil if it is not there.
func (s *datacenter) machine(uuid string) *machine {
	for _, m := range s.machines {
		if m.uuid == uuid {
			return m
		}
	}
	return nil
}

// offer lets a config wait for the guest of a machine.
func (s *datacenter) offer(j *job, res *plan.Result) {
	m := s.machine(j.MachineUUID)
	switch _, ok := s.configs[j.ConfigDigest]; {
	case m == nil:
		res.Failure = &plan.Failure{Kind: fault.Permanent, Reason: fault.MachineLost, Message: "simulated"}
	case !ok:
		res.Failure = &plan.Failure{Kind: fault.Transient, Reason: fault.ConfigMissing, Message: "simulated"}
	default:
		m.offered, m.blank = j.ConfigDigest, false
	}
}

// order is the answer of a gateway to the heartbeats of the guests.
func (s *datacenter) order() {
	for _, m := range s.machines {
		n := s.ledger.node(m.fleet, m.node)
		if s.world == nil || !m.booted || !m.obeys || n == nil || n.MachineUUID != m.uuid || s.chance(s.faults.lost) {
			continue
		}
		if n.State == plan.Rerunning && s.rng.IntN(3) == 0 {
			s.boot(m) // its unit did not see that it was heard
		}
		if order, ok := s.world.Order(n, m.token); ok {
			s.obey(m, order.Config)
		}
	}
}

// obey is a guest with an order: it runs the config that waits for it, if
// that is the one that is meant.
func (s *datacenter) obey(m *machine, digest string) {
	if m.offered != digest {
		s.tell("machine   %s-%s finds another config than %s", m.fleet, m.node, digest)
		return
	}
	if m.ran[digest] {
		s.fail("%s-%s is to run the config %s once more", m.fleet, m.node, digest)
	}
	config, ok := s.configs[digest]
	if !ok { // it waits in the machine although the sealed one is gone
		return
	}
	s.tell("machine   %s-%s runs its next config", m.fleet, m.node)
	m.ran[digest], m.sealed, m.booted = true, config, false
	if s.chance(s.faults.noBoot) {
		s.tell("machine   %s-%s does not come back", m.fleet, m.node)
		return
	}
	s.in(s.between(5*time.Second, 2*time.Minute), func() { s.boot(m) })
}

// reran checks that what became ready by another config has run it.
func (c *checker) reran(e *plan.Event) {
	if e.Fact != plan.FactCheckPassed || e.From != plan.Rerunning && e.From != plan.Failed {
		return
	}
	n := c.ledger.node(e.Fleet, e.Node)
	if m := c.site.machine(n.MachineUUID); m != nil && n.Event == e.Number && m.token != n.TokenSHA256 {
		c.fail("%s-%s is ready, and its machine has not run its config", e.Fleet, e.Node)
	}
}

// flavoured checks that a machine has run the config that its node's record
// says.
func (c *checker) flavoured(m *machine, n *plan.Node) {
	if want := c.flavour(n.Fleet, n.Revision, n.Pool); want != m.flavour && m.token == n.TokenSHA256 {
		c.fail("%s-%s is said to be of revision %d, with the config %q; its machine has %q", m.fleet, m.node, n.Revision, want, m.flavour)
	}
}
