package simulate

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
)

// script is the people and autoscalers that use the yard.
type script struct {
	*run
	names []string
	// wanted is what each fleet's owner has in the file, accepted what the
	// planner took.
	wanted   map[string]*fleet.Fleet
	accepted map[string]*fleet.Fleet
	commands int
	last     int // the range's last address
	// foreseen is the preview of the newest apply, kept the incarnations that
	// the accepted one promised to keep; scaled are pools whose target moved
	// since.
	foreseen *plan.Plan
	present  map[string]map[string]int
	kept     map[string]map[string]int
	// spared are the incarnations that it promised to change in place.
	spared map[string]map[string]int
	scaled map[string]bool
	// images are what the site was asked to have and not to forget.
	images map[string]bool
}

// The Networks: the first is short of addresses.
const (
	networkName = "lan"
	secondName  = "san"
)

func newScript(r *run) *script {
	s := &script{
		run: r, names: []string{"web"}, wanted: map[string]*fleet.Fleet{}, accepted: map[string]*fleet.Fleet{},
		present: map[string]map[string]int{}, kept: map[string]map[string]int{}, spared: map[string]map[string]int{}, scaled: map[string]bool{},
		images: map[string]bool{},
	}
	if r.rng.IntN(3) == 0 {
		s.names = append(s.names, "db")
	}
	s.last = 12 + r.rng.IntN(20)
	r.ledger.write(&plan.Yard{UID: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", Format: 1, Shards: 1})
	for _, name := range []string{"dc1", "dc2"} {
		site := fleet.Site{Metadata: fleet.Metadata{Name: name}}
		site.Spec.VSphere = &fleet.SiteVSphere{Images: &fleet.SiteImages{KeyFile: "/key"}}
		r.ledger.write(&plan.Site{Document: site})
	}
	r.ledger.write(&plan.Network{Document: s.network()})
	second := s.network()
	second.Metadata.Name, second.Spec.Subnet, second.Spec.Range = secondName, "10.1.0.0/24", "10.1.0.10-10.1.0.60"
	second.Spec.Gateway, second.Spec.Exclude = "", nil
	r.ledger.write(&plan.Network{Document: second})
	return s
}

func (s *script) network() fleet.Network {
	return fleet.Network{
		APIVersion: fleet.APIVersion, Kind: fleet.KindNetwork, Metadata: fleet.Metadata{Name: networkName},
		Spec: fleet.NetworkSpec{
			Subnet: "10.0.0.0/24", Range: fmt.Sprintf("10.0.0.10-10.0.0.%d", s.last), Gateway: "10.0.0.11",
			Exclude: []string{"10.0.0.11", "10.0.0.12"},
		},
	}
}

// begin plans the afternoon: applies, changes, mishaps, and at its end a
// person who clears up.
func (s *script) begin() {
	for _, name := range s.names {
		s.wanted[name] = s.draw(name)
		s.in(0, func() { s.apply(name) })
	}
	for range 2 + s.rng.IntN(8) {
		s.in(s.between(time.Minute, quiet), s.something)
	}
	for i := range 2 { // the second time, what failed because of the first
		s.in(quiet+time.Duration(i+1)*time.Hour, s.clearUp)
	}
}

// draw makes up a fleet.
func (s *script) draw(name string) *fleet.Fleet {
	f := &fleet.Fleet{APIVersion: fleet.APIVersion, Kind: fleet.KindFleet, Metadata: fleet.Metadata{Name: name}}
	f.Spec.Config = []fleet.Layer{{Role: "base"}}
	f.Spec.Retry = fleet.Retry{Attempts: 1 + s.rng.IntN(5)}
	s.drawRollout(f)
	if s.rng.IntN(4) > 0 {
		f.Spec.Protect.MaxDestroyPercent = new(100)
	} else if s.rng.IntN(2) == 0 {
		f.Spec.Protect.MaxCreate = new(s.rng.IntN(8))
	}
	f.Spec.Pools = []fleet.Pool{s.pool("a")}
	if s.rng.IntN(2) == 0 {
		f.Spec.Pools = append(f.Spec.Pools, s.pool("b"))
	}
	return f
}

func (s *script) drawRollout(f *fleet.Fleet) {
	f.Spec.Rollout = fleet.Rollout{MaxUnavailable: new(s.rng.IntN(3)), MaxSurge: new(s.rng.IntN(3))}
	if *f.Spec.Rollout.MaxUnavailable+*f.Spec.Rollout.MaxSurge == 0 {
		f.Spec.Rollout = fleet.Rollout{}
	}
}

func (s *script) pool(name string) fleet.Pool {
	p := fleet.Pool{
		Name: name, Replicas: s.rng.IntN(7), Stable: s.rng.IntN(4) == 0,
		VSphere: &fleet.VSphere{Site: "dc1", Source: fleet.VSphereSource{Template: "t"}, CPUs: 1},
	}
	p.Networks = s.networks()
	s.domains(&p)
	if s.rng.IntN(3) > 0 {
		p.OnConfigChange = fleet.ConfigChangeRerun
	}
	if s.rng.IntN(3) == 0 {
		p.Ready.By = fleet.ReadyByGuestAddress
		if name == "b" {
			p.VSphere.UserData = "#cloud-config\n" // which is not blanked
		}
	}
	return p
}

// domains spreads some pools over two sites.
func (s *script) domains(p *fleet.Pool) {
	v := *p.VSphere
	v.FailureDomains = nil
	if s.rng.IntN(3) == 0 {
		v.FailureDomains = []fleet.FailureDomain{{Name: "one"}, {Name: "two", Site: "dc2"}, {Name: "three", Cluster: "c3"}}[:2+s.rng.IntN(2)]
	}
	p.VSphere = &v
}

// move changes where a pool's nodes may be.
func (s *script) move(name string) {
	s.edit(name, func(f *fleet.Fleet) { s.domains(s.anyPool(f)) })
}

// networks are one or two network cards.
func (s *script) networks() []fleet.PoolNetwork {
	lan, san, dhcp := fleet.PoolNetwork{Ref: networkName}, fleet.PoolNetwork{Ref: secondName}, fleet.PoolNetwork{DHCP: true}
	return [][]fleet.PoolNetwork{
		{lan}, {lan}, {lan}, {lan}, {dhcp}, {dhcp}, {dhcp}, {san, lan}, {dhcp, san}, {lan, {Ref: secondName, NIC: new(0)}},
	}[s.rng.IntN(10)]
}

// something is what one person does.
func (s *script) something() {
	name := s.names[s.rng.IntN(len(s.names))]
	acts := []func(string){
		s.change, s.change, s.change, s.season, s.season, s.season, s.resize, s.scale, s.scale, s.pools, s.rebudget, s.remove, s.retry, s.apply, s.planned,
		s.rewire, s.widen, s.back, s.image, s.move, s.mend, s.mend, s.mend, s.pause, s.pauseYard,
	}
	acts[s.rng.IntN(len(acts))](name)
}

func (s *script) edit(name string, change func(*fleet.Fleet)) {
	f := *s.wanted[name]
	f.Spec.Pools = slices.Clone(f.Spec.Pools)
	change(&f)
	s.wanted[name] = &f
	s.apply(name)
}

func (s *script) anyPool(f *fleet.Fleet) *fleet.Pool {
	return &f.Spec.Pools[s.rng.IntN(len(f.Spec.Pools))]
}

// change makes a pool's machines outdated: others are needed, other CPUs, or
// another note on them.
func (s *script) change(name string) {
	s.edit(name, func(f *fleet.Fleet) {
		p := s.anyPool(f)
		v := *p.VSphere
		if kind := s.rng.IntN(4); kind == 0 {
			v.Annotation = strconv.Itoa(s.rng.IntN(9))
		} else if kind == 1 {
			v.Source.Template += "t"
		} else {
			v.CPUs = 1 + s.rng.IntN(4)
		}
		p.VSphere = &v
	})
}

// season changes a pool's config and nothing else.
func (s *script) season(name string) {
	s.edit(name, func(f *fleet.Fleet) {
		s.anyPool(f).Vars = map[string]string{"flavour": strconv.Itoa(s.rng.IntN(9))}
	})
}

func (s *script) resize(name string) {
	s.edit(name, func(f *fleet.Fleet) { s.anyPool(f).Replicas = s.rng.IntN(8) })
}

func (s *script) rebudget(name string) { s.edit(name, s.drawRollout) }

func (s *script) rewire(name string) {
	s.edit(name, func(f *fleet.Fleet) {
		p := s.anyPool(f)
		p.Networks = s.networks()
	})
}

func (s *script) pools(name string) {
	s.edit(name, func(f *fleet.Fleet) {
		if len(f.Spec.Pools) > 1 {
			f.Spec.Pools = f.Spec.Pools[:1]
		} else {
			f.Spec.Pools = append(f.Spec.Pools, s.pool("b"))
		}
	})
}

func (s *script) command(scope string, c plan.Command) {
	s.commands++
	c.ID = fmt.Sprintf("c%d", s.commands)
	s.post(plan.Input{ID: "cmd." + c.ID, Fleet: scope, Command: &c})
}

func (s *script) apply(name string) {
	s.command(name, plan.Command{ApplyFleet: &plan.ApplyFleet{Document: *s.wanted[name], Brakes: s.loosened()}})
}

// back applies an earlier revision and keeps the targets.
func (s *script) back(name string) {
	f := s.ledger.fleet(name)
	if f == nil || f.Revision < 2 {
		return
	}
	doc := s.ledger.revision(name, 1+s.rng.IntN(f.Revision-1)).Document
	s.wanted[name] = &doc
	s.command(name, plan.Command{ApplyFleet: &plan.ApplyFleet{Document: doc, KeepTargets: true, Brakes: s.loosened()}})
}

// loosened are brakes that some commands take off.
func (s *script) loosened() (b plan.Brakes) {
	if s.rng.IntN(4) == 0 {
		b = plan.Brakes{MaxDestroyPercent: new(100), MaxCreate: new(100)}
	}
	return b
}

// planned applies a change with the plan that was shown for it.
func (s *script) planned(name string) {
	if s.world == nil {
		return
	}
	f := *s.wanted[name]
	p := plan.Preview(s.world, &f, s.now)
	s.command(name, plan.Command{ApplyFleet: &plan.ApplyFleet{Document: f, PlanBasis: p.Basis}})
}

func (s *script) scale(name string) {
	pool := s.anyPool(s.wanted[name]).Name
	s.command(name, plan.Command{Scale: &plan.Scale{Pool: pool, Target: s.rng.IntN(8), Brakes: s.loosened()}})
}

// remove deletes a fleet; some make it again.
func (s *script) remove(name string) {
	s.command(name, plan.Command{DeleteFleet: &plan.DeleteFleet{Name: name}})
	if s.rng.IntN(2) == 0 {
		s.in(s.between(time.Second, time.Hour), func() { s.apply(name) })
	}
}

func (s *script) retry(name string) {
	r := &plan.RetryNodes{}
	if s.rng.IntN(2) == 0 || s.now.Sub(s.begun) > quiet {
		r.MaxDestroyPercent = new(100)
	}
	s.command(name, plan.Command{Retry: r})
}

// mend decides something on some nodes, whether they bear it or not.
func (s *script) mend(name string) {
	mends := []plan.Mend{plan.MendSkip, plan.MendReplace, plan.MendPreserve, plan.MendCancel}
	c := &plan.MendNodes{Mend: mends[s.rng.IntN(len(mends))], MaxDestroyPercent: new(100)}
	if s.rng.IntN(3) > 0 {
		for range 1 + s.rng.IntN(3) {
			c.Nodes = append(c.Nodes, plan.NodeKey(s.anyPool(s.wanted[name]).Name, s.rng.IntN(5)))
		}
	}
	s.command(name, plan.Command{Mend: c})
}

// pause holds a fleet for a while; at the latest, who clears up resumes it.
func (s *script) pause(name string) {
	s.command(name, plan.Command{Pause: &plan.Pause{Paused: true, CallBack: s.rng.IntN(2) == 0}})
	if s.rng.IntN(4) > 0 {
		s.in(s.between(time.Second, time.Hour), func() { s.resume(name) })
	}
}

func (s *script) resume(scope string) { s.command(scope, plan.Command{Pause: &plan.Pause{}}) }

func (s *script) pauseYard(string) {
	s.command(plan.YardScope, plan.Command{Pause: &plan.Pause{Paused: true}})
	if s.rng.IntN(4) > 0 {
		s.in(s.between(time.Second, time.Hour), func() { s.resume(plan.YardScope) })
	}
}

func (s *script) widen(string) {
	s.last = min(s.last+s.rng.IntN(6), 250)
	doc := s.network()
	s.command(plan.YardScope, plan.Command{ApplyNetwork: &doc})
}

// image asks for an image, or takes that back.
func (s *script) image(string) {
	version := fmt.Sprintf("4593.2.%d", s.rng.IntN(3))
	name := fleet.TemplateOf(version)
	if s.rng.IntN(3) == 0 {
		s.command(plan.YardScope, plan.Command{ForgetImage: &plan.ForgetImage{Site: "dc1", Name: name}})
		return
	}
	s.command(plan.YardScope, plan.Command{ImportImage: &plan.ImportImage{Site: "dc1", Image: fleet.Image{Name: name, Version: version}}})
}

// takeImage compares the site's list with what was asked for.
func (s *script) takeImage(c *plan.Command) {
	switch {
	case c.ImportImage != nil:
		s.images[c.ImportImage.Image.Name] = true
	case c.ForgetImage != nil:
		delete(s.images, c.ForgetImage.Name)
	default:
		return
	}
	listed := map[string]bool{}
	if r, ok := s.ledger.records["images.dc1"].(*plan.Images); ok {
		for _, w := range r.Wanted {
			listed[w.Name] = true
		}
		if len(listed) != len(r.Wanted) {
			s.fail("an image is wanted twice: %v", r.Wanted)
		}
	}
	if !maps.Equal(listed, s.images) {
		s.fail("the site is to have the images %v; asked for were %v", listed, s.images)
	}
}

func (s *script) clearUp() {
	s.resume(plan.YardScope)
	for _, name := range s.names {
		s.resume(name)
		for range 6 { // a command takes a chunk of them
			s.retry(name)
		}
	}
}

// took notes what the planner accepted.
func (s *script) took(in plan.Input, records []plan.Record) {
	for _, rec := range records {
		receipt, ok := rec.(*plan.Receipt)
		if !ok {
			continue
		}
		if !receipt.Accepted {
			s.tell("planner   refuses %s: %s %v", in.ID, receipt.Code, receipt.Refusal)
			continue
		}
		s.tell("planner   accepts %s: %s", in.ID, receipt.Summary)
		if a := in.Command.ApplyFleet; a != nil {
			s.accepted[in.Fleet] = &a.Document
			s.takePlan(in.Fleet)
		}
		if c := in.Command.Scale; c != nil {
			s.scaled[in.Fleet+"/"+c.Pool] = true
		}
		s.takeImage(in.Command)
	}
}

// foresee shows the plan of an apply before it is decided on.
func (s *script) foresee(in plan.Input) {
	s.foreseen = nil
	if in.Command == nil || in.Command.ApplyFleet == nil {
		return
	}
	a := in.Command.ApplyFleet
	p := plan.PreviewWith(s.world, &a.Document, plan.Terms{Brakes: a.Brakes, KeepTargets: a.KeepTargets}, s.now)
	s.foreseen = &p
	s.present[in.Fleet] = map[string]int{}
	for n := range s.ledger.nodes {
		if n.Fleet == in.Fleet && n.State != plan.Deleted && n.Goal != plan.Absent {
			s.present[in.Fleet][n.Key()] = n.Incarnation
		}
	}
}

// takePlan remembers what an accepted plan promised.
func (s *script) takePlan(name string) {
	p := s.foreseen
	if p.Code != "" || p.Destroys > 1 && p.DestroyPercent() > float64(p.DestroyLimit) {
		s.fail("an apply was accepted that destroys %d of %d; its plan: %s %v", p.Destroys, p.Present, p.Code, p.Refusals)
	}
	s.spared[name] = map[string]int{}
	for _, c := range p.Changes {
		if c.Action == plan.ChangeRerun || c.Action == plan.ChangeResize {
			s.spared[name][c.Key] = s.present[name][c.Key]
		}
		delete(s.present[name], c.Key)
	}
	s.kept[name] = s.present[name]
	maps.DeleteFunc(s.scaled, func(pool string, _ bool) bool { return strings.HasPrefix(pool, name+"/") })
}
