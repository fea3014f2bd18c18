package vcenter

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/services/vsphere-executor/internal/image"
)

// Options say which site a Backend works for and how.
type Options struct {
	Site string
	// Agent is our name towards vCenter, in its list of sessions.
	Agent string
	// Secret reads a credential from the executor's own world.
	Secret func(fleet.Secret) (string, error)
	// Images keeps the images that templates are made from.
	Images  *image.Store
	Log     *slog.Logger
	Metrics *Metrics
}

// Backend is an executor.Backend for one vCenter. It connects when it is
// first needed, so that a stand-by keeps no session, and anew when the Site
// changes.
type Backend struct {
	options          Options
	sightings        *sightings
	imports          *imports
	stock            *stock
	uploads          *uploads
	limits           *limits
	berths           *berths
	sweepEvery       time.Duration
	credentialsEvery time.Duration

	// known is closed by the first Site.
	known    chan struct{}
	knowOnce sync.Once
	// told is the Site for who must not wait for a connection in the making.
	told atomic.Pointer[fleet.SiteVSphere]

	mu      sync.Mutex // held while connecting
	site    *fleet.SiteVSphere
	refused *refusal
	stores  []wire.Datastore
	current *lease
	// failure is why the last try to connect failed, and when.
	failure  error
	failed   time.Time
	rotation rotation
}

// siteWait is how long an operation waits for the first Site: an executor
// that just started, or whose Site was applied together with its first
// fleet, reads it a moment later.
const siteWait = 3 * time.Second

// lease is a connection with those who use it; a retired one is closed by its
// last user.
type lease struct {
	*connection
	users   int
	retired bool
}

// New returns a Backend that waits for its Site.
func New(o Options) *Backend {
	return &Backend{
		options: o, sightings: newSightings(), imports: newImports(o.Images), stock: newStock(), uploads: newUploads(), berths: newBerths(),
		limits: newLimits(fleet.Limits{}, o.Metrics.meters(o.Site)), sweepEvery: sweepLeast, credentialsEvery: credentialsEvery, known: make(chan struct{}),
	}
}

// Use takes the Site's description, nil if there is none. Work in progress
// ends on the connection it began with.
func (b *Backend) Use(ctx context.Context, site *fleet.SiteVSphere) {
	b.told.Store(site)
	b.mu.Lock()
	defer b.mu.Unlock()
	if reflect.DeepEqual(b.site, site) {
		return
	}
	b.site, b.refused, b.failed = site, &refusal{}, time.Time{}
	b.retire(ctx)
	b.unstock(ctx) // another key may be trusted from here on
	if site != nil {
		b.limits.set(site.Limits)
		b.knowOnce.Do(func() { close(b.known) })
	}
}

// await waits a moment for the first Site.
func (b *Backend) await(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, siteWait)
	defer cancel()
	select {
	case <-b.known:
	case <-ctx.Done():
	}
}

// Close logs out once the last operation has ended.
func (b *Backend) Close(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retire(ctx)
}

// retire lets go of the current connection; the caller holds the lock.
func (b *Backend) retire(ctx context.Context) {
	l := b.current
	b.current = nil
	if l == nil {
		return
	}
	l.retired = true
	b.closeIdle(ctx, l)
}

// unstock lets go of the images of a lone host: who needs one has it checked
// anew.
func (b *Backend) unstock(ctx context.Context) {
	if err := b.stock.clear(); err != nil {
		b.options.Log.WarnContext(ctx, "images were not closed", service.KeySite, b.options.Site, service.KeyErr, err.Error())
	}
}

// closeIdle closes a retired connection that nobody uses; the caller holds
// the lock.
func (b *Backend) closeIdle(ctx context.Context, l *lease) {
	if !l.retired || l.users > 0 {
		return
	}
	if err := l.close(ctx); err != nil {
		b.options.Log.WarnContext(ctx, "vcenter logout did not work", service.KeySite, b.options.Site, service.KeyErr, err.Error())
	}
}

// errNoSite is how every yard begins.
var errNoSite = errors.New("no Site of that name with a vsphere section is in the yard")

// connection returns the connection to use and how to give it back.
func (b *Backend) connection(ctx context.Context) (*connection, func(), error) {
	came := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.site == nil {
		return nil, nil, fault.WithHint(
			fault.Newf(fault.Busy, fault.BackendDown, "%w: %q", errNoSite, b.options.Site), "apply the Site document")
	}
	if b.current == nil && b.failed.After(came) {
		// Somebody tried while we waited. If everybody tried in turn, the
		// last ones would wait for longer than their jobs may last.
		return nil, nil, b.failure
	}
	if b.current == nil {
		c, err := connect(ctx, b.site, b.access(b.site))
		if err != nil {
			if ctx.Err() == nil { // else it says nothing about the vCenter
				b.failure, b.failed = err, time.Now()
			}
			return nil, nil, err
		}
		b.current = &lease{connection: c}
	}
	l := b.current
	l.users++
	return l.connection, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		l.users--
		b.closeIdle(ctx, l)
	}, nil
}

// access is how to present ourselves to a site; the caller holds the lock.
func (b *Backend) access(site *fleet.SiteVSphere) access {
	return access{
		site: b.options.Site, agent: b.options.Agent, creds: b.credentials(site), refused: b.refused,
		metrics: b.options.Metrics, limits: b.limits, stock: b.stock, uploads: b.uploads, berths: b.berths, seen: b.sightings,
	}
}

func (b *Backend) credentials(site *fleet.SiteVSphere) Credentials {
	return func() (string, string, error) {
		user, err := b.options.Secret(site.Username)
		if err != nil {
			return "", "", err
		}
		password, err := b.options.Secret(site.Password)
		return user, password, err
	}
}

// with runs an operation on the current connection.
func (b *Backend) with(ctx context.Context, operation func(*connection) error) error {
	b.await(ctx)
	c, done, err := b.connection(ctx)
	if err != nil {
		return classify(err)
	}
	defer done()
	return c.repeat(ctx, func() error { return operation(c) })
}

// Create implements executor.Backend.
func (b *Backend) Create(ctx context.Context, t *executor.Task) (made executor.Machine, err error) {
	if t.Job.VSphere == nil || t.Config == nil {
		return made, fault.New(fault.Permanent, fault.SpecUnsupported, errors.New("the job lacks its vsphere section or its config"))
	}
	if err := b.imports.running(t.Job.VSphere.Source.Template); err != nil {
		return made, err
	}
	err = b.with(ctx, func(c *connection) error {
		made, err = c.create(ctx, t)
		return err
	})
	err = b.missing(t, err)
	if err == nil {
		b.sightings.expect(t, made.ID)
	}
	return made, err
}

// Blank implements executor.Backend.
func (b *Backend) Blank(ctx context.Context, t *executor.Task) error {
	return b.with(ctx, func(c *connection) error { return c.blank(ctx, t) })
}

// Delete implements executor.Backend.
func (b *Backend) Delete(ctx context.Context, t *executor.Task) error {
	// What we remove ourselves is not lost.
	b.sightings.dismiss(t.Owner)
	return b.with(ctx, func(c *connection) error { return c.remove(ctx, t) })
}
