package vcenter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25/methods"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// The levels of a check.
const (
	LevelOK   = "ok"
	LevelWarn = "warn"
	LevelFail = "fail"
)

// clockWarn is when a vCenter's clock is worth a word: certificates and
// tickets are judged by it.
const clockWarn = 5 * time.Second

// examination collects what was found. What several pools need is told once,
// with their names.
type examination struct {
	checks []*v1.Check
	// pools are those that are looked at now.
	pools []string
}

func (e *examination) note(c *v1.Check) {
	i := slices.IndexFunc(e.checks, func(o *v1.Check) bool {
		return o.GetLevel() == c.GetLevel() && o.GetWhat() == c.GetWhat() && o.GetWords() == c.GetWords()
	})
	if i < 0 {
		c.Pools = slices.Clone(e.pools)
		e.checks = append(e.checks, c)
		return
	}
	for _, p := range e.pools {
		if !slices.Contains(e.checks[i].GetPools(), p) {
			e.checks[i].Pools = append(e.checks[i].Pools, p)
		}
	}
}

func (e *examination) ok(what, format string, args ...any) {
	e.note(&v1.Check{Level: LevelOK, What: what, Words: fmt.Sprintf(format, args...)})
}

func (e *examination) warn(what, hint, format string, args ...any) {
	e.note(&v1.Check{Level: LevelWarn, What: what, Hint: hint, Words: fmt.Sprintf(format, args...)})
}

// wrong notes what stands in the way and is no error of vCenter.
func (e *examination) wrong(what, hint, format string, args ...any) {
	e.note(&v1.Check{Level: LevelFail, What: what, Hint: hint, Words: fmt.Sprintf(format, args...)})
}

// fail notes an error of vCenter in the words of the fault table.
func (e *examination) fail(what string, err error) {
	f := fault.Of(classify(err))
	e.wrong(what, f.Hint, "%s", f.Error())
}

// Examine looks for what stands in the way of the jobs that pools of this
// site would get. It changes nothing, and it makes no login that the work
// would not make: the session is shared, and one that was refused is not
// tried again before its pause is over.
func (b *Backend) Examine(ctx context.Context, jobs []*plan.Job) []*v1.Check {
	e := &examination{}
	b.await(ctx)
	site := b.told.Load()
	if site == nil {
		e.fail("site", fault.WithHint(fault.Newf(fault.Busy, fault.BackendDown, "%w: %q", errNoSite, b.options.Site), "apply the Site document"))
		return e.checks
	}
	readable := e.credentials(b, site)
	// A vCenter that is away is found out here: the connection below is
	// shared, and waiting for those who try to make it takes longer.
	if !e.certificate(ctx, site) || !readable {
		return e.checks
	}
	c, done, err := b.connection(ctx)
	if err != nil {
		e.fail("login", err)
		return e.checks
	}
	defer done()
	user, ok := e.session(ctx, c)
	if !ok {
		return e.checks
	}
	p := &placing{examination: e, c: c, names: newNames(c.vim, site.Datacenter), user: user, site: site, templates: map[templateKey]foundTemplate{}}
	p.inventory(ctx)
	groups := byPlace(jobs)
	for i, group := range groups {
		if ctx.Err() != nil {
			e.warn("pools", "ask again, or about one site at a time", "time was up: %d of %d places were not looked at", len(groups)-i, len(groups))
			return e.checks
		}
		p.pool(ctx, group)
	}
	if site.Images != nil {
		p.images(ctx)
	}
	p.rights(ctx)
	return e.checks
}

// session looks at the login, the version and the clock.
func (e *examination) session(ctx context.Context, c *connection) (user string, ok bool) {
	s, err := session.NewManager(c.vim).UserSession(ctx)
	if err == nil && s == nil {
		err = errors.New("vCenter knows no session of ours")
	}
	if err != nil {
		e.fail("login", err)
		return "", false
	}
	about := c.vim.ServiceContent.About
	e.ok("login", "as %s to %s, API %s", s.UserName, about.FullName, about.ApiVersion)
	before := time.Now()
	now, err := methods.GetCurrentTime(ctx, c.vim)
	if err != nil {
		e.fail("clock", err)
		return "", false
	}
	// The answer was made some time between question and answer.
	took := time.Since(before)
	offset := now.Sub(before.Add(took / 2)).Round(time.Millisecond)
	if offset.Abs() > clockWarn+took {
		e.warn("clock", "let vCenter and the executor's host follow the same time servers", "vCenter's is %s off the executor's", offset)
	} else {
		e.ok("clock", "vCenter's is %s off the executor's", offset)
	}
	return s.UserName, true
}

// byPlace groups jobs that want the same: their pools.
func byPlace(jobs []*plan.Job) [][]*plan.Job {
	var out [][]*plan.Job
	for _, j := range jobs {
		i := slices.IndexFunc(out, func(g []*plan.Job) bool { return sameWish(g[0], j) })
		if i < 0 {
			out = append(out, []*plan.Job{j})
		} else {
			out[i] = append(out[i], j)
		}
	}
	return out
}

func sameWish(a, b *plan.Job) bool {
	x, y := a.VSphere, b.VSphere
	if x == nil || y == nil {
		return x == y
	}
	return wishOf(a) == wishOf(b) && x.Apart() == y.Apart() && x.Disk == y.Disk && slices.Equal(x.Disks, y.Disks) &&
		(len(x.Tags) == 0) == (len(y.Tags) == 0) && (len(x.CustomAttributes) == 0) == (len(y.CustomAttributes) == 0)
}

// poolNames are the names of the pools of jobs, sorted.
func poolNames(jobs []*plan.Job) []string {
	var out []string
	for _, j := range jobs {
		out = append(out, j.Fleet+"/"+j.Pool)
	}
	slices.SortFunc(out, cmp.Compare[string])
	return slices.Compact(out)
}

// some are the first of names, and how many more there are.
func some(names []string) string {
	const most = 8
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
