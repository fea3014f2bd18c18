package vcenter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/services/vsphere-executor/internal/image"
)

const (
	// importSlots is how many images are brought at once: a line and a
	// datastore are no faster for more.
	importSlots = 2
	// lookEvery is how often the wishes are compared with what is there.
	lookEvery = time.Second
	// failedFor is how long a failure answers for those who ask again.
	failedFor = 30 * time.Second
	// importFirst and importMost bound the pause before a failed import of
	// somebody's wish is tried again by itself.
	importFirst = 30 * time.Second
	importMost  = 30 * time.Minute
)

// imports knows the site's templates and the images on their way to become
// some. Who needs one asks; the loop, which runs while the seat is held, does
// the work.
type imports struct {
	store *image.Store
	// woken is written to when somebody asks.
	woken chan struct{}

	mu sync.Mutex
	// templates are those that the newest sweep saw, by name.
	templates map[string]wire.ImageState
	swept     bool
	// host means that the site is a lone host, whose images stay in the store.
	host   bool
	wanted []plan.WantedImage
	jobs   map[string]*bringing
}

// bringing is one image that somebody asked for.
type bringing struct {
	image fleet.Image
	state wire.ImageState
	// running means that a goroutine is at it; again is when it may be tried
	// again by itself, and after how many failures.
	running  bool
	again    time.Time
	failures int
	err      error
}

func newImports(store *image.Store) *imports {
	return &imports{store: store, woken: make(chan struct{}, 1), templates: map[string]wire.ImageState{}, jobs: map[string]*bringing{}}
}

// Want takes the site's list of wishes.
func (b *Backend) Want(wanted []plan.WantedImage) {
	b.imports.mu.Lock()
	defer b.imports.mu.Unlock()
	b.imports.wanted = wanted
}

// ask is called by a job whose template is missing; the error says how far
// its import is, or why it failed a moment ago.
func (m *imports) ask(i fleet.Image) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.jobs[i.Name]
	if j != nil && !j.running && j.err != nil && time.Since(j.state.Since) < failedFor {
		f := fault.Of(j.err)
		return &fault.Error{Kind: f.Kind, Reason: f.Reason, Hint: f.Hint, Err: fmt.Errorf("import image %s: %w", i.Name, j.err)}
	}
	if j == nil || !j.running {
		j = m.begin(i, time.Time{})
		select {
		case m.woken <- struct{}{}:
		default:
		}
	}
	return &fault.Error{
		Kind: fault.Busy, Reason: fault.ImageImporting, RetryAfter: patience(j.state, time.Now()),
		Err: fmt.Errorf("image %s is being imported first: %s", i.Name, words(j.state)),
	}
}

// running is the answer to a job whose template is being made at this moment,
// nil if it is not: nobody need look for it.
func (m *imports) running(name string) error {
	m.mu.Lock()
	j := m.jobs[name]
	busy := j != nil && j.running
	m.mu.Unlock()
	if !busy {
		return nil
	}
	return m.ask(j.image)
}

// begin notes an image that is to be brought now; the caller holds the lock.
func (m *imports) begin(i fleet.Image, asked time.Time) *bringing {
	now := time.Now()
	j := &bringing{image: i, again: now, state: wire.ImageState{Name: i.Name, State: wire.ImageImporting, Step: stepWaiting, Since: now, Asked: asked}}
	if old := m.jobs[i.Name]; old != nil {
		j.failures = old.failures
		if asked.IsZero() {
			j.state.Asked = old.state.Asked
		}
	}
	m.jobs[i.Name] = j
	return j
}

// The steps of an import.
const (
	stepWaiting   = "waiting"
	stepLooking   = "looking"
	stepFetching  = "fetching"
	stepChecking  = "checking"
	stepUploading = "uploading"
	stepDeploying = "deploying"
	stepFinishing = "finishing"
)

// words says how far an import is.
func words(s wire.ImageState) string {
	if s.Total > 0 {
		return fmt.Sprintf("%s, %d of %d MiB", s.Step, s.Done/mebi, (s.Total+mebi-1)/mebi)
	}
	return s.Step
}

const (
	patienceLeast = time.Second
	patienceMost  = 30 * time.Second
	patienceUsual = 3 * time.Second
)

// patience is how long to wait before it is worth asking again.
func patience(s wire.ImageState, now time.Time) time.Duration {
	if s.Done <= 0 || s.Total <= s.Done {
		return patienceUsual
	}
	left := time.Duration(float64(now.Sub(s.Since)) * float64(s.Total-s.Done) / float64(s.Done))
	return min(max(left, patienceLeast), patienceMost)
}

// Import brings images until ctx ends, which is with the seat. permit is asked
// before anything is made in vCenter; tell is given the state whenever it has
// changed, and again after a while.
func (b *Backend) Import(ctx context.Context, yard string, permit func(context.Context) error, tell func(wire.SiteImages)) error {
	group, ctx := errgroup.WithContext(ctx)
	defer b.unstock(context.WithoutCancel(ctx)) // for whoever has the seat next
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	slots := make(chan struct{}, importSlots)
	var last announced
	for ctx.Err() == nil {
		for _, i := range b.imports.due(time.Now(), cap(slots)-len(slots)) {
			slots <- struct{}{}
			group.Go(func() error {
				defer func() { <-slots }()
				b.bring(ctx, i, yard, permit)
				return nil
			})
		}
		if all, known := b.imports.states(); known {
			all.Uploads = b.uploads.list()
			last.tell(all, tell)
		}
		select {
		case <-ctx.Done():
		case <-b.imports.woken:
		case <-ticks.C:
		}
	}
	return group.Wait()
}

// tellImagesAgain is how soon an unchanged state is told again: it lies in
// memory, perhaps, and is forgotten after a day.
const tellImagesAgain = 30 * time.Second

// announced is what was told last.
type announced struct{ wire.SiteImages }

func (t *announced) tell(now wire.SiteImages, tell func(wire.SiteImages)) {
	same := now.Host == t.Host && slices.Equal(now.Images, t.Images) && slices.Equal(now.Uploads, t.Uploads)
	if same && time.Since(t.At) < tellImagesAgain {
		return
	}
	now.At = time.Now()
	t.SiteImages = now
	tell(now)
}

// due returns what should be brought now, at most so many, and marks it as
// being worked at.
func (m *imports) due(now time.Time, most int) []fleet.Image {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wishes(now)
	var out []fleet.Image
	for _, name := range slices.Sorted(maps.Keys(m.jobs)) {
		j := m.jobs[name]
		if len(out) < most && !j.running && !j.again.IsZero() && !now.Before(j.again) {
			j.running = true
			out = append(out, j.image)
		}
	}
	return out
}

// wishes begins what is on the site's list and was not begun; the caller
// holds the lock. Before the first sweep nobody knows what is there.
func (m *imports) wishes(now time.Time) {
	if !m.swept {
		return
	}
	for _, w := range m.wanted {
		j := m.jobs[w.Name]
		renewed := j == nil || !j.state.Asked.Equal(w.Asked)
		switch {
		case j != nil && j.running:
		case renewed:
			m.begin(w.Image, w.Asked).failures = 0
		case j.state.State == wire.ImageReady && m.templates[w.Name].Name == "":
			m.begin(w.Image, w.Asked) // somebody removed it
		}
	}
	maps.DeleteFunc(m.jobs, func(name string, j *bringing) bool {
		return j.over(now) && !slices.ContainsFunc(m.wanted, func(w plan.WantedImage) bool { return w.Name == name })
	})
}

// over reports whether an image is nothing to speak of any more, unless
// somebody wishes for it.
func (j *bringing) over(now time.Time) bool {
	return !j.running && (j.state.State == wire.ImageReady || j.err != nil && now.Sub(j.state.Since) > failedFor)
}

// states are all templates and all images on their way, by name; they are not
// known before the first sweep.
func (m *imports) states() (out wire.SiteImages, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	byName := maps.Clone(m.templates)
	for name, j := range m.jobs {
		if j.state.State == wire.ImageReady && byName[name].Name == "" && m.swept {
			continue // it is gone again
		}
		byName[name] = j.state
	}
	all := make([]wire.ImageState, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, byName[name])
	}
	return wire.SiteImages{Images: all[:min(len(all), maxStates)], Host: m.host}, m.swept
}

// maxStates bounds what is told: it is one message.
const maxStates = 500

// saw takes in the templates of a sweep.
func (m *imports) saw(templates map[string]wire.ImageState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.templates, m.swept, m.host = templates, true, false
}

// sawHost takes in what is kept for a lone host, and has what lies in the store
// unchecked, since an earlier process left it, checked.
func (m *imports) sawHost(kept map[string]wire.ImageState, from *fleet.SiteImages) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.templates, m.swept, m.host = kept, true, true
	for _, name := range m.store.Names() {
		i, known := m.left(name)
		if _, checked := kept[name]; checked || m.jobs[name] != nil || !known || from == nil && !i.Unsigned {
			continue
		}
		m.begin(i, time.Time{})
	}
}

// wish is the image of that name that somebody asked for.
func (m *imports) wish(name string) (fleet.Image, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wished(name)
}

// wished is for who holds the lock.
func (m *imports) wished(name string) (fleet.Image, bool) {
	for _, w := range m.wanted {
		if w.Name == name {
			return w.Image, true
		}
	}
	return fleet.Image{}, false
}

// left is the image that an earlier process left under a name, as far as that
// can be told; the caller holds the lock.
func (m *imports) left(name string) (i fleet.Image, known bool) {
	if i, known = m.wished(name); known {
		return i, true
	}
	version, known := strings.CutPrefix(name, fleet.TemplateOf(""))
	return fleet.Image{Name: name, Version: version}, known
}

// update changes the state of an image that is being brought.
func (m *imports) update(name string, change func(*bringing)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if j := m.jobs[name]; j != nil {
		change(j)
	}
}

// step notes what is being done, and since when.
func (m *imports) step(name, step string) {
	m.update(name, func(j *bringing) {
		j.state.Step, j.state.Done, j.state.Total, j.state.Since = step, 0, 0, time.Now()
	})
}

func (m *imports) progress(name string) func(done, total int64) {
	return func(done, total int64) {
		m.update(name, func(j *bringing) { j.state.Done, j.state.Total = done, total })
	}
}

// bring makes a template of an image and notes what came of it.
func (b *Backend) bring(ctx context.Context, i fleet.Image, yard string, permit func(context.Context) error) {
	var made wire.ImageState
	err := b.with(ctx, func(c *connection) error {
		var err error
		made, err = b.importImage(ctx, c, i, yard, permit)
		return err
	})
	log := b.options.Log.With(service.KeySite, b.options.Site, "image", i.Name)
	b.imports.ended(i.Name, made, err)
	outcome := "done"
	switch {
	case err == nil:
		log.InfoContext(ctx, "image imported", "sha256", made.SHA256, "fingerprint", made.Fingerprint)
	case ctx.Err() != nil:
		return // whoever has the seat next goes on
	default:
		outcome = string(fault.Of(err).Reason)
		log.WarnContext(ctx, "image not imported", service.KeyReason, outcome, service.KeyErr, err.Error())
	}
	b.options.Metrics.imports.WithLabelValues(b.options.Site, outcome).Inc()
}

// ended notes how an import ended.
func (m *imports) ended(name string, made wire.ImageState, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if j := m.jobs[name]; j != nil {
		j.ended(made, err, time.Now())
	}
	if err == nil {
		m.templates[name] = made // the next sweep is some seconds away
	}
}

// ended notes how an import ended. One that may work later is tried again by
// itself; what cannot is tried again when somebody asks.
func (j *bringing) ended(made wire.ImageState, err error, now time.Time) {
	asked := j.state.Asked
	j.running, j.again, j.err = false, time.Time{}, err
	if err == nil {
		j.failures = 0
		j.state = made
		j.state.Asked = asked
		return
	}
	f := fault.Of(err)
	j.state = wire.ImageState{
		Name: j.image.Name, State: wire.ImageFailed, Step: j.state.Step, Since: now, Asked: asked,
		Reason: f.Reason, Message: err.Error(), Hint: f.Hint,
	}
	if f.Kind == fault.Permanent {
		return
	}
	j.failures++
	j.again = now.Add(min(importFirst<<min(j.failures-1, 10), importMost))
}

// source is where an image is and whose signature makes it good.
func (b *Backend) source(i fleet.Image, site *fleet.SiteVSphere) (image.Source, error) {
	s := image.Source{SHA256: i.SHA256, Unsigned: i.Unsigned}
	if _, _, ok := i.Library(site.Images.Source()); ok {
		return s, fault.WithHint(fault.Newf(fault.Permanent, fault.SpecUnsupported, "a lone host has no content library"), "name a mirror in spec.vsphere.images.from of the Site")
	}
	if site.Images == nil || site.Images.KeyFile == "" {
		if i.Unsigned && i.From != "" {
			s.Location = i.Location("")
			return s, nil
		}
		return s, fault.WithHint(fault.Newf(fault.Permanent, fault.ImageMissing, "the Site does not say whose images are good"),
			"write spec.vsphere.images with the publisher's keyFile, and apply it")
	}
	from := site.Images.WithDefaults()
	s.Location, s.KeyFile, s.Fingerprint = i.Location(from.From), from.KeyFile, from.Fingerprint
	return s, nil
}

// missing is the answer to a job whose template does not exist: its image is
// imported if the Site says from where.
func (b *Backend) missing(t *executor.Task, err error) error {
	if fault.Of(err).Reason != fault.TemplateMissing || errors.Is(err, errTemplates) {
		return err
	}
	name, importable := plan.Template(t.Job.OSVersion, t.Job.VSphere)
	b.mu.Lock()
	site := b.site
	b.mu.Unlock()
	if i, ok := b.imports.wish(name); ok && errors.Is(err, errNoStock) {
		return b.imports.ask(i) // this process has not checked it yet
	}
	if !importable || site == nil || site.Images == nil || elsewhere(t.Job.VSphere, site) {
		return err
	}
	return b.imports.ask(fleet.Image{Name: name, Channel: t.Job.OSChannel, Version: t.Job.OSVersion})
}

// elsewhere reports whether a pool's datacenter is not the one that images
// are imported into.
func elsewhere(v *fleet.VSphere, site *fleet.SiteVSphere) bool {
	return v.Datacenter != "" && v.Datacenter != site.Datacenter
}
