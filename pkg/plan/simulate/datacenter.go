package simulate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
)

// datacenter is the workers and what they work on.
type datacenter struct {
	*run
	machines []*machine
	// busy nodes have a job in work: the work loop serializes them.
	busy map[string]bool
	// configs are the sealed configs by digest.
	configs map[string]sealed
	drawn   int
	// foreign addresses are in use by strangers.
	foreign map[string]bool
}

// sealed is a config: the token that proves it, and what its pool's var was.
type sealed struct{ token, flavour string }

// machine is a VM.
type machine struct {
	fleet, node string
	uuid        string
	incarnation int
	sealed
	address   string // the first one
	addresses []string
	macs      []string
	booted    bool
	gone      bool
	blank     bool
	cpus      int
	note      string
	// hot machines take more CPUs while they run.
	hot bool
	// obeys means that its guest takes orders; offered is the config that waits
	// for it, ran are those that it has run by order.
	obeys   bool
	offered string
	ran     map[string]bool
}

func newDatacenter(r *run) *datacenter {
	return &datacenter{run: r, busy: map[string]bool{}, configs: map[string]sealed{}, foreign: map[string]bool{}}
}

// give puts a job where a worker finds it, some time.
func (s *datacenter) give(j *job) {
	s.in(s.between(time.Millisecond, 2*time.Second), func() { s.take(j) })
	if s.chance(s.faults.twice) {
		s.in(s.between(time.Second, 5*time.Minute), func() { s.take(j) })
	}
}

// take is a worker that got a job.
func (s *datacenter) take(j *job) {
	if j.withdrawn || s.ledger.answered(j) {
		return // acknowledged unread
	}
	name := j.Fleet + "-" + j.Node
	if s.busy[name] {
		s.in(s.between(time.Second, 3*time.Second), func() { s.take(j) })
		return
	}
	if s.chance(s.faults.lost) {
		s.in(s.between(ackWait, 3*ackWait), func() { s.take(j) })
		return
	}
	s.busy[name] = true
	s.in(s.takes(j.Action), func() {
		delete(s.busy, name)
		s.finish(j)
	})
}

// takes is how long an action needs.
func (s *datacenter) takes(a plan.Action) time.Duration {
	if s.chance(s.faults.stuck) {
		return s.between(10*time.Minute, 40*time.Minute)
	}
	if a == plan.ActionCreate || a == plan.ActionResize {
		return s.between(2*time.Second, time.Minute)
	}
	if a == plan.ActionDelete {
		return s.between(time.Second, 20*time.Second)
	}
	return s.between(10*time.Millisecond, time.Second)
}

// finish does the effect, or dies before or after it.
func (s *datacenter) finish(j *job) {
	dies := s.chance(s.faults.dies)
	if dies && s.rng.IntN(2) == 0 {
		s.tell("worker    dies before %s of %s-%s", j.Action, j.Fleet, j.Node)
		s.in(3*ackWait, func() { s.take(j) })
		return
	}
	res := s.result(j)
	if res.Failure = s.trouble(); res.Failure == nil || s.rng.IntN(4) == 0 {
		s.effect(j, res) // some that fail have done it all the same
	}
	if dies {
		s.tell("worker    dies after %s of %s-%s", j.Action, j.Fleet, j.Node)
		s.in(3*ackWait, func() { s.take(j) })
		return
	}
	s.answer(j, res)
}

func (s *datacenter) result(j *job) *plan.Result {
	return &plan.Result{
		Node: j.Node, Job: j.Number, Attempt: j.Attempt, Incarnation: j.Incarnation, Made: j.Made,
		Worker: j.Worker, Action: j.Action, By: string(j.Worker), Started: s.now, Finished: s.now,
	}
}

// ghost is a job that a worker was just doing when a power cut undid it; its
// answer comes when the ledger is back. A machine that was destroyed so shows
// as one that vanished, and is left out here.
func (s *datacenter) ghost(j *job) {
	if j.Action == plan.ActionDelete || s.busy[j.Fleet+"-"+j.Node] {
		return
	}
	res := s.result(j)
	s.tell("worker    does %s of %s-%s, job %d, which is undone", j.Action, j.Fleet, j.Node, j.Number)
	s.effect(j, res)
	s.in(s.between(time.Second, 3*ackWait), func() { s.answer(j, res) })
}

// answer stores the first result of a job.
func (s *datacenter) answer(j *job, res *plan.Result) {
	if !s.ledger.store(j, res) {
		return
	}
	outcome := "done"
	if res.Failure != nil {
		outcome = fmt.Sprintf("%s (%s)", res.Failure.Reason, res.Failure.Kind)
	}
	s.tell("worker    %s of %s-%s, job %d: %s", j.Action, j.Fleet, j.Node, j.Number, outcome)
	s.post(plan.Input{ID: fmt.Sprintf("res.%s.%s.%d", j.Fleet, j.Node, j.Number), Fleet: j.Fleet, Result: res})
}

func (s *datacenter) trouble() *plan.Failure {
	switch {
	case s.chance(s.faults.permanent):
		return &plan.Failure{Kind: fault.Permanent, Reason: fault.ConfigRefused, Message: "simulated"}
	case s.chance(s.faults.busy):
		return &plan.Failure{Kind: fault.Busy, Reason: fault.BackendBusy, Message: "simulated", RetryAfter: s.between(0, 20*time.Second)}
	case s.chance(s.faults.transient):
		return &plan.Failure{Kind: fault.Transient, Reason: fault.NoSpace, Message: "simulated"}
	}
	return nil
}

func (s *datacenter) effect(j *job, res *plan.Result) {
	s.report.Effects++
	switch j.Action {
	case plan.ActionRender:
		s.drawn++ // a token is drawn anew each time
		res.ConfigDigest = fmt.Sprintf("digest-%d", s.drawn)
		res.TokenSHA256 = fmt.Sprintf("token-%d", s.drawn)
		s.configs[res.ConfigDigest] = sealed{res.TokenSHA256, s.flavour(j.Fleet, j.Revision, j.Pool)}
		if s.chance(s.faults.expired) {
			delete(s.configs, res.ConfigDigest)
		}
	case plan.ActionForget:
		delete(s.configs, j.ConfigDigest)
	case plan.ActionCreate:
		s.create(j, res)
	case plan.ActionBlank:
		s.blank(j)
	case plan.ActionResize:
		s.resize(j, res)
	case plan.ActionOffer:
		s.offer(j, res)
	case plan.ActionDelete:
		s.destroy(j)
	}
}

// resize gives a machine its job's CPUs, with a restart if the job allows it
// and the machine needs it.
func (s *datacenter) resize(j *job, res *plan.Result) {
	i := slices.IndexFunc(s.machines, func(m *machine) bool { return m.uuid == j.MachineUUID })
	if i < 0 {
		res.Failure = &plan.Failure{Kind: fault.Permanent, Reason: fault.MachineLost, Message: "simulated"}
		return
	}
	m, want := s.machines[i], j.VSphere.CPUs
	res.Hot.CPU = m.hot
	if s.opt.Idle {
		return
	}
	if !j.Restart && want != m.cpus && (!m.hot || want < m.cpus) {
		res.Failure = &plan.Failure{Kind: fault.Permanent, Reason: fault.HotRefused, Message: "simulated"}
		return
	}
	if m.cpus, m.note = want, j.VSphere.Annotation; !j.Restart {
		return
	}
	s.tell("machine   %s-%s is restarted with %d CPUs", m.fleet, m.node, m.cpus)
	if m.booted = !s.chance(s.faults.noBoot); !m.booted {
		s.tell("machine   %s-%s does not come back", m.fleet, m.node)
	}
}

// create adopts the machine of this incarnation or makes it.
func (s *datacenter) create(j *job, res *plan.Result) {
	for _, m := range s.machines {
		if m.uuid == j.MachineUUID && !s.opt.Careless {
			res.MachineID, res.MachineUUID, res.Adopted = "vm-"+m.uuid, m.uuid, true
			return
		}
	}
	s.check.placed(j)
	if res.Failure = s.stranger(j); res.Failure != nil {
		return
	}
	config, ok := s.configs[j.ConfigDigest]
	if !ok {
		res.Failure = &plan.Failure{Kind: fault.Permanent, Reason: fault.ConfigMissing, Message: "simulated"}
		return
	}
	m := &machine{fleet: j.Fleet, node: j.Node, uuid: j.MachineUUID, incarnation: j.Incarnation, sealed: config, ran: map[string]bool{}}
	for _, n := range j.Networks {
		if n.Addr != "" {
			m.addresses = append(m.addresses, n.Addr)
		}
		if !slices.Contains(m.macs, n.MAC) {
			m.macs = append(m.macs, n.MAC)
		}
	}
	if len(j.Networks) > 0 {
		m.address = j.Networks[0].Addr
	}
	s.machines = append(s.machines, m)
	s.check.made(m)
	s.tell("machine   %s-%s incarnation %d is on, %s", m.fleet, m.node, m.incarnation, m.address)
	m.note = j.VSphere.Annotation
	m.cpus, m.hot, m.obeys = j.VSphere.CPUs, s.rng.IntN(2) == 0, s.rng.IntN(4) > 0
	res.MachineID, res.MachineUUID = "vm-"+m.uuid, m.uuid
	res.Hot.CPU = m.hot != (s.rng.IntN(5) == 0) // somebody changes it afterwards
	if s.chance(s.faults.noBoot) {
		s.tell("machine   %s-%s will never boot", m.fleet, m.node)
		return
	}
	s.in(s.between(5*time.Second, 2*time.Minute), func() { s.boot(m) })
}

// stranger is the failure of a job whose address somebody else uses.
func (s *datacenter) stranger(j *job) *plan.Failure {
	if s.now.Sub(s.begun) >= quiet {
		return nil
	}
	var taken []string
	for _, n := range j.Networks {
		if n.Addr == "" {
			continue
		}
		if s.faults.taken > 0 && s.strangers.Float64() < s.faults.taken {
			s.foreign[n.Addr] = true
		}
		if s.foreign[n.Addr] {
			taken = append(taken, n.Addr)
		}
	}
	if len(taken) == 0 {
		return nil
	}
	return &plan.Failure{Kind: fault.Transient, Reason: fault.AddressTaken, Message: "simulated", Taken: taken}
}

// giveBack has a person give addresses back that are set aside.
func (s *datacenter) giveBack() {
	if s.faults.taken == 0 || s.now.Sub(s.begun) >= quiet || s.strangers.IntN(20) > 0 {
		return
	}
	for _, c := range s.ledger.claims {
		if c.Kind == plan.ClaimAddress && c.Fleet == plan.Aside {
			network, addr, _ := strings.Cut(c.Thing, "/")
			s.script.command(plan.YardScope, plan.Command{Release: &plan.ReleaseAddress{Network: network, Addr: addr}})
			return
		}
	}
}

// boot lets a machine phone home.
func (s *datacenter) boot(m *machine) {
	if m.gone {
		return
	}
	m.booted = true
	s.tell("machine   %s-%s phones home", m.fleet, m.node)
	s.post(plan.Input{ID: "ph-" + m.token, Fleet: m.fleet, Command: &plan.Command{
		ID:        "ph-" + m.token,
		PhoneHome: &plan.PhoneHome{Node: m.node, Incarnation: m.incarnation, TokenSHA256: m.token, Address: m.address, Obeys: m.obeys},
	}})
}

// seen is the address that the hypervisor shows: that by DHCP is not asked
// for.
func (m *machine) seen() string {
	if m.address == "" {
		return "192.0.2.1"
	}
	return m.address
}

func (s *datacenter) blank(j *job) {
	for _, m := range s.machines {
		if m.uuid == j.MachineUUID {
			m.blank, m.offered = true, ""
		}
	}
}

// destroy removes a machine by its identity.
func (s *datacenter) destroy(j *job) {
	for _, m := range slices.Clone(s.machines) {
		if m.uuid == j.MachineUUID {
			s.check.destroyed(j, m)
			s.vanish(m)
		}
	}
}

func (s *datacenter) vanish(m *machine) {
	m.gone = true
	s.machines = slices.DeleteFunc(s.machines, func(o *machine) bool { return o == m })
	s.tell("machine   %s-%s incarnation %d is gone", m.fleet, m.node, m.incarnation)
}

// survey is the executor's look at all machines, every minute: it sees guest
// addresses and misses what has vanished. It is no durable message.
func (s *datacenter) survey() {
	s.giveBack()
	for _, m := range slices.Clone(s.machines) {
		if s.chance(s.faults.vanish) {
			s.tell("somebody  deletes the machine of %s-%s behind our back", m.fleet, m.node)
			s.vanish(m)
		}
	}
	s.look()
	s.order()
	if s.world != nil {
		s.free(plan.Audit(s.world, s.now))
	}
	if len(s.agenda) > 0 || s.due() {
		s.in(time.Minute, s.survey)
	}
}

// look reports what the hypervisor shows of the nodes.
func (s *datacenter) look() {
	for _, m := range s.machines {
		n := s.ledger.node(m.fleet, m.node)
		if m.booted && n != nil && slices.Contains([]plan.State{plan.Booting, plan.Joining, plan.Restarting}, n.State) {
			s.observe(m.fleet, plan.Observation{Node: m.node, Incarnation: m.incarnation, Address: m.seen(), At: s.now})
		}
	}
	for n := range s.ledger.nodes {
		settled := slices.Contains([]plan.State{plan.Ready, plan.Booting, plan.Restarting, plan.Rerunning}, n.State)
		if n.MachineID != "" && settled && !s.there(n.MachineUUID) {
			s.observe(n.Fleet, plan.Observation{Node: n.Key(), Incarnation: n.Incarnation, Lost: true})
		}
	}
}

func (s *datacenter) due() bool {
	if s.world == nil {
		return true
	}
	_, ok := s.world.NextDue()
	return ok
}

func (s *datacenter) there(uuid string) bool {
	return slices.ContainsFunc(s.machines, func(m *machine) bool { return m.uuid == uuid })
}

func (s *datacenter) observe(fleetName string, o plan.Observation) {
	if s.world == nil || s.chance(s.faults.lost) {
		return
	}
	s.ledger.changed = false
	s.decide(plan.Input{ID: "obs." + fleetName + "." + o.Node, Fleet: fleetName, Observation: &o})
}
