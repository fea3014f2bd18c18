package plan

import (
	"slices"
	"strconv"
	"time"

	"yardmaster.dev/pkg/fleet"
)

// workers says whose each action is.
var workers = map[Action]Worker{
	ActionRender: WorkerRender,
	ActionForget: WorkerRender,
	ActionCreate: WorkerVSphere,
	ActionBlank:  WorkerVSphere,
	ActionOffer:  WorkerVSphere,
	ActionResize: WorkerVSphere,
	ActionDelete: WorkerVSphere,
}

// stageActions is what a state's job does; that of a ready node, and of one
// whose guest is to run another config, is its chore.
var stageActions = map[State]Action{
	Rendering:    ActionRender,
	Provisioning: ActionCreate,
	Restarting:   ActionResize,
	Deleting:     ActionDelete,
}

func (p Policy) limit(a Action) time.Duration {
	if a == ActionRender || a == ActionForget {
		return p.Render
	}
	if a == ActionDelete || a == ActionBlank || a == ActionOffer {
		return p.Delete
	}
	return p.Provision
}

// begin starts the job of the node's state; n is a record in the making, and
// its newest event becomes the job's number. A yard that only observes starts
// nothing and looks again later.
func (d *decision) begin(n *Node) {
	action := stageActions[n.State]
	if n.State == Ready || n.State == Rerunning {
		action = n.Chore
	}
	n.Job, n.Due, n.DueFor, n.Deadline = nil, time.Time{}, "", time.Time{}
	if action == "" {
		return
	}
	if d.observing() {
		n.Due, n.DueFor = d.now.Add(jitter(d.w.Policy.Idle, n)), DueRetry
		n.Message = "the yard only observes; it starts no job until it is told to resume"
		return
	}
	worker := workers[action]
	if d.w.halted(n.Fleet) && action != ActionBlank && action != ActionForget {
		n.DueFor = DueResume
		return
	}
	ahead := d.w.queued[queue{worker, n.Site}]
	n.Deadline = d.now.Add(d.w.Policy.limit(action) + time.Duration(ahead)*d.w.Policy.Queue)
	n.Due, n.DueFor = n.Deadline, DueDeadline
	n.Job = &OpenJob{Number: n.Event, Worker: worker, Site: n.Site, Action: action, Attempt: n.Attempt, Made: d.now.UnixNano()}
	if action == ActionCreate {
		n.MachineUUID = d.machineUUID(n) // from here on there may be a machine
	}
	d.out.Jobs = append(d.out.Jobs, d.job(n))
}

func (d *decision) observing() bool { return d.w.yard != nil && d.w.yard.ObserveOnly }

func (d *decision) machineUUID(n *Node) string {
	return MachineUUID(d.w.yard.UID, n.FleetUID, n.Key(), n.Incarnation)
}

// job is the node's open job with all that its worker needs.
func (d *decision) job(n *Node) *Job {
	j := &Job{
		JobRef:   JobRef{Worker: n.Job.Worker, Site: n.Site, Fleet: n.Fleet, Node: n.Key(), Number: n.Job.Number},
		FleetUID: n.FleetUID, Action: n.Job.Action, Incarnation: n.Incarnation, Attempt: n.Attempt, Made: n.Job.Made,
		Revision: n.Revision, Deadline: n.Deadline, Pool: n.Pool, Ordinal: n.Ordinal,
		MachineUUID: d.machineUUID(n), MachineID: n.MachineID, MAC: n.MAC,
		ConfigDigest: n.ConfigDigest, Trace: n.Trace, Restart: n.State == Restarting,
	}
	if j.Trace == "" {
		j.Trace = traceparent(j.MachineUUID)
	}
	if s := d.w.Site(n.Site); s != nil {
		j.PhoneHome = s.Document.Spec.PhoneHome
	}
	p := d.w.poolOf(n)
	if p == nil {
		return j
	}
	j.Hostname = Hostname(p.Hostname, n)
	j.VSphere = p.VSphere
	j.Networks = d.w.jobNetworks(n, p)
	os := d.w.fleets[n.Fleet].revs[n.Revision].spec.Spec.OS
	j.OSChannel, j.OSVersion = os.Channel, os.Version
	return j
}

func (w *World) jobNetworks(n *Node, p *fleet.Pool) []JobNetwork {
	out := make([]JobNetwork, 0, len(p.Networks))
	for _, ref := range p.Networks {
		out = append(out, w.jobNetwork(n, ref))
	}
	Plug(p.Networks, out, n.MAC)
	return out
}

// Plug gives the networks of a node their cards, each with its hardware
// address, and lets one of them have the default route: two would compete.
func Plug(entries []fleet.PoolNetwork, networks []JobNetwork, mac string) {
	cards, way := fleet.Cards(entries), defaultRoute(entries, networks)
	for i := range networks {
		n := &networks[i]
		n.Card, n.MAC, n.Side = cards[i], CardMAC(mac, cards[i]), i != way
		if entries[i].Portgroup != "" {
			n.Portgroup = entries[i].Portgroup
		}
	}
}

// defaultRoute is the network that carries the default route: the one that
// says so, or the first that can; -1 if none does.
func defaultRoute(entries []fleet.PoolNetwork, networks []JobNetwork) int {
	first := -1
	for i, e := range entries {
		can := networks[i].DHCP || networks[i].Gateway != ""
		switch {
		case e.DefaultRoute != nil && *e.DefaultRoute:
			return i
		case e.DefaultRoute == nil && can && first < 0:
			first = i
		}
	}
	return first
}

func (w *World) jobNetwork(n *Node, ref fleet.PoolNetwork) JobNetwork {
	var doc fleet.Network
	if net := w.networks[ref.Ref]; net != nil && net.record != nil {
		doc = net.record.Document
	}
	if ref.DHCP {
		return JobNetwork{Network: ref.Ref, DHCP: true, Portgroup: doc.Spec.Portgroup}
	}
	for _, a := range n.Addresses {
		if a.Network == ref.Ref {
			return jobNetwork(&doc, a.Addr)
		}
	}
	return JobNetwork{Network: ref.Ref}
}

// Hostname fills a pool's hostname in for one node. A template that cannot be
// filled stands as it is: validation refuses it, and the guest's first
// complaint then shows it.
func Hostname(template string, n *Node) string {
	t, err := fleet.ParseTemplate(template)
	if err != nil {
		return template
	}
	out, err := t.Expand(func(name string) (string, bool) {
		switch name {
		case "fleet", "node.fleet":
			return n.Fleet, true
		case "pool", "node.pool":
			return n.Pool, true
		case "ordinal", "node.ordinal":
			return strconv.Itoa(n.Ordinal), true
		case "node.name":
			return n.Name(), true
		}
		return "", false
	})
	if err != nil {
		return template
	}
	return out
}

// poolOf is the pool's definition that the node is made from, nil if its
// revision is not known.
func (w *World) poolOf(n *Node) *fleet.Pool {
	f := w.fleets[n.Fleet]
	if f == nil || f.revs[n.Revision] == nil {
		return nil
	}
	p, ok := f.revs[n.Revision].spec.Pool(n.Pool)
	if !ok {
		return nil
	}
	return p.In(n.Domain)
}

// site is where a pool's machines are made.
func site(p *fleet.Pool) string {
	if p.VSphere != nil {
		return p.VSphere.Site
	}
	return ""
}

// withdraw calls the open job back. Its result may still come and is waited
// for, because two jobs of one node must never be open.
func (d *decision) withdraw(n *Node) {
	if n.Job == nil {
		return
	}
	j := *n.Job
	made := slices.IndexFunc(d.out.Jobs, func(o *Job) bool {
		return o.Number == j.Number && o.Fleet == n.Fleet && o.Node == n.Key()
	})
	if made >= 0 { // this very decision made it: nobody has seen it
		d.out.Jobs = slices.Delete(d.out.Jobs, made, made+1)
		n.Job = nil
		return
	}
	if !j.Withdrawn {
		d.out.Withdrawn = append(d.out.Withdrawn, JobRef{
			Worker: j.Worker, Site: j.Site, Fleet: n.Fleet, Node: n.Key(), Number: j.Number,
		})
	}
	n.Due, n.DueFor = d.now.Add(d.w.Policy.Grace), DueGrace
	j.Withdrawn = true
	n.Job = &j
}

// staticRefs are the Networks that a pool's nodes hold addresses of.
func staticRefs(p *fleet.Pool) []string {
	if p == nil {
		return nil
	}
	var out []string
	for _, r := range p.Networks {
		if !r.DHCP && r.Ref != "" {
			out = append(out, r.Ref)
		}
	}
	return out
}

// missing are the Networks that the node still lacks an address of.
func (w *World) missing(n *Node) []string {
	var out []string
	for _, name := range staticRefs(w.poolOf(n)) {
		if !n.on(name) {
			out = append(out, name)
		}
	}
	return out
}

func (n *Node) on(networkName string) bool {
	for _, a := range n.Addresses {
		if a.Network == networkName {
			return true
		}
	}
	return false
}
