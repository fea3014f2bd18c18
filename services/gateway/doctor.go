package gateway

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// The levels of a check.
const (
	levelOK   = "ok"
	levelWarn = "warn"
	levelFail = "fail"
)

const (
	// checkupWait bounds the look at one site, doctorsAtOnce is how many are
	// looked at at a time.
	checkupWait   = 20 * time.Second
	doctorsAtOnce = 16
	// placesMost bounds the pools that one site is asked about.
	placesMost = 400
)

// checks collects what was found.
type checks []*v1.Check

func (c *checks) ok(what, format string, args ...any) {
	*c = append(*c, &v1.Check{Level: levelOK, What: what, Words: fmt.Sprintf(format, args...)})
}

func (c *checks) warn(what, hint, format string, args ...any) {
	*c = append(*c, &v1.Check{Level: levelWarn, What: what, Hint: hint, Words: fmt.Sprintf(format, args...)})
}

func (c *checks) fail(what, hint, format string, args ...any) {
	*c = append(*c, &v1.Check{Level: levelFail, What: what, Hint: hint, Words: fmt.Sprintf(format, args...)})
}

// Doctor looks for what stands in the way of the yard's and its sites' work.
// It changes nothing. What cannot be looked at is a finding and no error: it
// is asked when things are bad.
func (g *Gateway) Doctor(ctx context.Context, req *connect.Request[v1.DoctorRequest]) (*connect.Response[v1.DoctorResponse], error) {
	var docs documents
	if sources := req.Msg.GetSources(); len(sources) > 0 {
		var problems []*v1.Problem
		if docs, problems = readSources(sources); len(problems) > 0 {
			return connect.NewResponse(&v1.DoctorResponse{Problems: problems}), nil
		}
	}
	var patients []patient
	look := g.model.read
	if len(docs.fleets()) < len(docs) {
		look = g.model.alone
	}
	read, err := look(func(w *plan.World) (err error) {
		defer suppose(w, docs, time.Now())()
		patients, err = patientsOf(w, docs, req.Msg.GetSites())
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &v1.DoctorResponse{Read: read, Yard: g.yardChecks(ctx, read), Sites: make([]*v1.SiteCheckup, len(patients))}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(doctorsAtOnce)
	for i, p := range patients {
		group.Go(func() error {
			out.Sites[i] = &v1.SiteCheckup{Site: p.site, Checks: g.checkup(ctx, p)}
			return nil
		})
	}
	return answer(out, group.Wait())
}

// noNetwork stands for the addresses of a Network that is not there.
const noNetwork = -1

// patient is a site that is looked at.
type patient struct {
	site      string
	phoneHome string
	// unknown means that its document is not applied yet, absent that there is
	// none, though fleets name it.
	unknown bool
	absent  bool
	jobs    []*plan.Job
	// pools are those that name an absent site.
	pools []string
	// networks are those that its pools take addresses of, and how many are
	// left.
	networks map[string]int
}

// patientsOf are the sites of these names, or all; the pools of fleets that
// are to be applied stand for those that are.
func patientsOf(w *plan.World, docs documents, names []string) ([]patient, error) {
	fleets := wantedFleets(w, docs)
	fresh := map[string]bool{}
	for _, d := range docs {
		if s, ok := d.(*fleet.Site); ok {
			fresh[s.Metadata.Name] = true
		}
	}
	var out []patient
	for _, s := range w.Sites() {
		name := s.Document.Metadata.Name
		if s.Deleted || len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		out = append(out, patientOf(w, s, fleets))
		out[len(out)-1].unknown = fresh[name]
	}
	out = append(out, absentSites(w, fleets, names)...)
	for _, name := range names {
		if !slices.ContainsFunc(out, func(p patient) bool { return p.site == name }) {
			return nil, notFound("site", name, "sites")
		}
	}
	return out, nil
}

// absentSites are those that fleets name and that are not there.
func absentSites(w *plan.World, fleets map[string]*fleet.Fleet, names []string) []patient {
	by := map[string][]string{}
	for _, f := range fleets {
		for _, pool := range places(f) {
			v := pool.VSphere
			if v != nil && w.Site(v.Site) == nil && (len(names) == 0 || slices.Contains(names, v.Site)) {
				by[v.Site] = append(by[v.Site], f.Metadata.Name+"/"+pool.Name)
			}
		}
	}
	var out []patient
	for _, site := range slices.Sorted(maps.Keys(by)) {
		slices.Sort(by[site])
		out = append(out, patient{site: site, absent: true, pools: slices.Compact(by[site])})
	}
	return out
}

// wantedFleets are the fleets as they will be once docs are applied.
func wantedFleets(w *plan.World, docs documents) map[string]*fleet.Fleet {
	fleets := map[string]*fleet.Fleet{}
	for _, f := range w.Fleets() {
		if spec := w.Spec(f.Name); spec != nil && !f.Deleting {
			fleets[f.Name] = spec
		}
	}
	for _, f := range docs.fleets() {
		fleets[f.Metadata.Name] = f.WithDefaults()
	}
	return fleets
}

func patientOf(w *plan.World, s *plan.Site, fleets map[string]*fleet.Fleet) patient {
	p := patient{site: s.Document.Metadata.Name, phoneHome: s.Document.Spec.PhoneHome, networks: map[string]int{}}
	for _, f := range fleets {
		for _, pool := range places(f) {
			if pool.VSphere == nil || pool.VSphere.Site != p.site {
				continue
			}
			p.jobs = append(p.jobs, jobFor(w, f, pool))
			for _, n := range pool.Networks {
				switch {
				case n.Ref == "" || n.DHCP:
				case w.Network(n.Ref) == nil:
					p.networks[n.Ref] = noNetwork
				default:
					p.networks[n.Ref] = w.FreeAddresses(n.Ref)
				}
			}
		}
	}
	slices.SortFunc(p.jobs, func(a, b *plan.Job) int {
		return cmp.Or(cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.Pool, b.Pool))
	})
	return p
}

// jobFor is a job that a node of a pool would get, as far as it says where
// the machine is made.
func jobFor(w *plan.World, f *fleet.Fleet, pool *fleet.Pool) *plan.Job {
	v := *pool.VSphere
	v.UserData = ""
	j := &plan.Job{
		JobRef: plan.JobRef{Worker: plan.WorkerVSphere, Site: v.Site, Fleet: f.Metadata.Name, Node: plan.NodeKey(pool.Name, 0)},
		Action: plan.ActionCreate, Pool: pool.Name, VSphere: &v, OSChannel: f.Spec.OS.Channel, OSVersion: f.Spec.OS.Version,
	}
	for _, n := range pool.Networks {
		network := plan.JobNetwork{Network: n.Ref, DHCP: n.DHCP}
		if doc := w.Network(n.Ref); doc != nil {
			network.Portgroup = doc.Document.Spec.Portgroup
		}
		j.Networks = append(j.Networks, network)
	}
	plan.Plug(pool.Networks, j.Networks, "")
	return j
}

// checkup looks at one site: what is known here, and what its executor sees.
func (g *Gateway) checkup(ctx context.Context, p patient) []*v1.Check {
	var out checks
	if p.absent {
		return append(out, &v1.Check{
			Level: levelFail, What: "site", Words: "there is no Site of that name", Pools: p.pools,
			Hint: "apply it (yardctl site discover URL writes one), or correct vsphere.site of the pools",
		})
	}
	if p.unknown {
		out.warn("site", "apply the Site, then ask again", "this document of it is not applied: its executor works by the one that is, if any")
	}
	for name, free := range p.networks {
		switch free {
		case noNetwork:
			out.fail("Network "+name, "apply it, or correct the ref in the pool", "there is no Network of that name")
		case 0:
			out.warn("Network "+name, "widen its range, or remove nodes", "it has no address left: no node can be added that needs one")
		default:
			out.ok("Network "+name, "%d addresses are free", free)
		}
	}
	slices.SortStableFunc(out, func(a, b *v1.Check) int { return cmp.Compare(a.GetWhat(), b.GetWhat()) })
	conn, err := g.model.conn()
	if err != nil {
		out.fail("vcenter", "mend the bus first", "it was not looked at: its executor is asked through the bus")
		return out
	}
	g.seatChecks(ctx, p.site, &out)
	q := &v1.Checkup{PhoneHome: p.phoneHome}
	if len(p.jobs) > placesMost {
		out.warn("pools", "name the documents that you are about to apply: yardctl doctor -f", "only %d of %d places of pools were looked at", placesMost, len(p.jobs))
		p.jobs = p.jobs[:placesMost]
	}
	for _, j := range p.jobs {
		m, err := wire.Job(j)
		if err != nil {
			out.fail("pools", "", "%s/%s: %v", j.Fleet, j.Pool, err)
			continue
		}
		q.Jobs = append(q.Jobs, m.Body)
	}
	ctx, cancel := context.WithTimeout(ctx, checkupWait)
	defer cancel()
	found := &v1.CheckupAnswer{}
	if err := conn.Ask(ctx, p.site, subject.AskCheckup, q, found); err != nil {
		f := fault.Of(err)
		out.fail("vcenter", f.Hint, "it was not looked at: %s", f.Error())
		return out
	}
	return append(out, found.GetChecks()...)
}

// seatChecks says who works for a site, and whether its breaker lets it.
func (g *Gateway) seatChecks(ctx context.Context, site string, out *checks) {
	view := &v1.SiteView{Name: site}
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	g.seats(ctx, []*v1.SiteView{view})
	standby := 0
	for _, s := range g.presence.services(time.Now()) {
		if s.Service == serviceExecutor && time.Since(s.stored) < silence &&
			slices.ContainsFunc(s.Scopes, func(p wire.ServiceScope) bool { return p.Name == site && !p.Active }) {
			standby++
		}
	}
	const start = "start a vsphere-executor for this site; yardctl status shows who runs"
	switch {
	case view.GetSeatHolder() == "":
		out.fail("seat", start, "nobody holds it: no machine is made, changed or removed here")
	case time.Since(view.GetSeatUntil().AsTime()) > silence:
		out.fail("seat", start, "%s held it until %s and is gone: no machine is made, changed or removed here",
			view.GetSeatHolder(), view.GetSeatUntil().AsTime().Format(time.RFC3339))
	default:
		out.ok("seat", "held by %s (epoch %d), %d standing by", view.GetSeatHolder(), view.GetSeatEpoch(), standby)
	}
	switch view.GetBreaker() {
	case "", breakerClosed:
	default:
		out.warn("breaker", "it closes by itself once vCenter works again; what is below says what is wrong",
			"it is %s: %s", view.GetBreaker(), strings.TrimSpace(view.GetBreakerMessage()))
	}
}
