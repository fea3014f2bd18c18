package vcenter

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	vfault "github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

const (
	// callTimeout bounds one SOAP call; tasks are waited for by polling, so
	// no call takes long by nature.
	callTimeout = time.Minute
	// connections is more than we ever use at once; with Go's default of
	// two per host every burst would open new TLS connections.
	connections = 64
	// refusedFirst and refusedMost bound the pause before credentials that
	// were refused are tried once more: vCenter also refuses good ones while
	// its directory is away, and a few tries in half an hour lock an account.
	refusedFirst = 5 * time.Minute
	refusedMost  = 30 * time.Minute
	// refusedAsk is when a job may ask again; it meets the pause, or other
	// credentials.
	refusedAsk   = 30 * time.Second
	logoutWithin = 5 * time.Second
)

// Credentials reads the login anew each time, so that a changed password is
// taken up without a restart.
type Credentials func() (user, password string, err error)

// access is how we present ourselves.
type access struct {
	site    string // its name
	agent   string
	creds   Credentials
	refused *refusal
	metrics *Metrics
	limits  *limits
	// stock and uploads are for lone hosts.
	stock   *stock
	uploads *uploads
	berths  *berths
	seen    *sightings
}

// nowhereElse follows no redirect: a login goes to whom the Site names.
func nowhereElse(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// login is the one logged-in session that a process keeps with a vCenter.
// It is the RoundTripper of all calls: a call that finds the session gone
// logs in again, once for all who wait, and is repeated. That is safe for
// calls that change things too, because vCenter refused them before it did
// anything. Looking at the inventory keeps the session alive.
type login struct {
	soap    *soap.Client
	vim     *vim25.Client
	creds   Credentials
	caFile  string
	metrics *Metrics
	site    string

	mu sync.Mutex // held while logging in
	// generation counts logins; 0 is none yet.
	generation int
	// key is the hash of the credentials that are logged in.
	key     [sha256.Size]byte
	manager *session.Manager
	refused *refusal
}

// refusal remembers a refused login; it outlives the connection that met it.
type refusal struct {
	mu    sync.Mutex
	err   error
	until time.Time
	pause time.Duration
	// login is the hash of what was refused: another one is tried at once.
	login [sha256.Size]byte
}

// allows returns an error while a login that was refused must not be tried.
func (r *refusal) allows(key [sha256.Size]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.until) && r.login == key {
		return r.told()
	}
	return nil
}

// note remembers a refusal. The pause before the same credentials are tried
// once more grows each time.
func (r *refusal) note(key [sha256.Size]byte, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.login != key {
		r.pause = 0
	}
	r.pause = min(max(2*r.pause, refusedFirst), refusedMost)
	r.err, r.until, r.login = err, time.Now().Add(r.pause), key
	return r.told()
}

// told is the refusal for a job; the caller holds the lock.
func (r *refusal) told() error {
	err := fmt.Errorf("%w; the same login is not tried again before %s", r.err, r.until.UTC().Format("15:04:05 UTC"))
	return &fault.Error{Kind: fault.Busy, Reason: fault.LoginRefused, RetryAfter: refusedAsk, Hint: loginHint, Err: err}
}

func (r *refusal) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.until, r.pause = nil, time.Time{}, 0
}

// caFault is a CA file that cannot be used.
func caFault(file string, err error) error {
	return fault.WithHint(fault.Newf(fault.Busy, fault.BackendDown, "the Site's CA file %s: %w", file, err),
		"the file must exist at the executor and hold PEM certificates")
}

// read reads the login and makes sure that it may be tried. Its key covers
// all that the Site names and whose content may change.
func (l *login) read() (user *url.Userinfo, key [sha256.Size]byte, err error) {
	name, password, err := l.creds()
	if err != nil {
		return nil, key, fault.WithHint(fault.Newf(fault.Busy, fault.LoginRefused, "read the Site's credentials: %w", err),
			"the Site's username and password are read by the executor, from its own files or environment")
	}
	var authorities []byte
	if l.caFile != "" {
		if authorities, err = os.ReadFile(l.caFile); err != nil {
			return nil, key, caFault(l.caFile, err)
		}
	}
	key = sha256.Sum256([]byte(name + "\x00" + password + "\x00" + string(authorities)))
	return url.UserPassword(name, password), key, l.refused.allows(key)
}

// dial connects to the vCenter of site and logs in.
func dial(ctx context.Context, site *fleet.SiteVSphere, o access) (*vim25.Client, *login, error) {
	l := &login{creds: o.creds, caFile: site.CAFile, metrics: o.metrics, refused: o.refused, site: o.site}
	if _, _, err := l.read(); err != nil {
		return nil, nil, err
	}
	u, err := soap.ParseURL(site.URL)
	if err != nil {
		return nil, nil, fault.WithHint(fault.Newf(fault.Busy, fault.BackendDown, "the Site's url %q: %w", site.URL, err),
			"correct spec.vsphere.url of the Site")
	}
	u.User = nil
	sc := soap.NewClient(u, false)
	sc.UserAgent = o.agent
	sc.CheckRedirect = nowhereElse
	sc.DefaultTransport().MaxIdleConnsPerHost = connections
	if site.CAFile != "" {
		if err := sc.SetRootCAs(site.CAFile); err != nil {
			return nil, nil, caFault(site.CAFile, err)
		}
	}
	if site.Thumbprint != "" {
		sc.SetThumbprint(u.Host, colons(site.Thumbprint))
	}
	l.soap = sc
	connectCtx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	vc, err := vim25.NewClient(connectCtx, sc)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to %s: %w", u.Host, classify(err))
	}
	vc.RoundTripper, l.vim = l, vc
	l.manager = session.NewManager(&vim25.Client{Client: sc, ServiceContent: vc.ServiceContent, RoundTripper: untilLoggedIn{l}})
	if err := l.again(ctx, 0); err != nil {
		return nil, nil, err
	}
	return vc, l, nil
}

// untilLoggedIn makes the calls that need no session.
type untilLoggedIn struct{ l *login }

// RoundTrip implements soap.RoundTripper.
func (r untilLoggedIn) RoundTrip(ctx context.Context, req, res soap.HasFault) error {
	return r.l.call(ctx, req, res)
}

// RoundTrip implements soap.RoundTripper.
func (l *login) RoundTrip(ctx context.Context, req, res soap.HasFault) error {
	l.mu.Lock()
	generation := l.generation
	l.mu.Unlock()
	err := l.call(ctx, req, res)
	if !sessionGone(err, res) {
		return err
	}
	if err := l.again(ctx, generation); err != nil {
		return err
	}
	// A fault of the first try would stand beside the second one's answer.
	reflect.ValueOf(res).Elem().SetZero()
	return l.call(ctx, req, res)
}

func (l *login) call(ctx context.Context, req, res soap.HasFault) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	started := time.Now()
	err := l.soap.RoundTrip(ctx, req, res)
	l.metrics.request(req, time.Since(started), err)
	return err
}

// again logs in unless somebody did since generation.
func (l *login) again(ctx context.Context, generation int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.generation != generation {
		return nil
	}
	user, key, err := l.read()
	if err != nil {
		return err
	}
	err = l.manager.Login(ctx, user)
	l.metrics.login(err)
	if err == nil {
		if l.generation++; l.generation == 1 {
			l.metrics.sessions.WithLabelValues(l.site, "soap").Inc()
		}
		l.key = key
		l.refused.forget()
		return nil
	}
	err = fmt.Errorf("log in to %s as %s: %w", l.soap.URL().Host, user.Username(), classify(err))
	if fault.Of(err).Reason == fault.LoginRefused {
		return l.refused.note(key, err)
	}
	return err
}

// inUse is the hash of the credentials that are logged in.
func (l *login) inUse() [sha256.Size]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.key
}

// loginHint is what to do when vCenter refuses the login.
const loginHint = "correct the Site's username or password where the executor reads them; a changed one is tried at once"

// close logs out: sessions that are left behind fill up a vCenter.
func (l *login) close(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.soap.CloseIdleConnections()
	if l.generation == 0 {
		return nil
	}
	l.generation = 0
	l.metrics.sessions.WithLabelValues(l.site, "soap").Dec()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutWithin)
	defer cancel()
	if err := l.manager.Logout(ctx); err != nil && !vfault.Is(err, &types.NotAuthenticated{}) {
		return fmt.Errorf("log out of %s: %w", l.soap.URL().Host, err)
	}
	return nil
}

// sessionGone reports whether vCenter does not know our session (any more).
// The property collector says so per object, without an error.
func sessionGone(err error, res soap.HasFault) bool {
	if err != nil {
		return vfault.Is(err, &types.NotAuthenticated{})
	}
	var objects []types.ObjectContent
	switch body := res.(type) {
	case *methods.RetrievePropertiesExBody:
		if body.Res != nil && body.Res.Returnval != nil {
			objects = body.Res.Returnval.Objects
		}
	case *methods.RetrievePropertiesBody:
		if body.Res != nil {
			objects = body.Res.Returnval
		}
	}
	for _, o := range objects {
		for _, missing := range o.MissingSet {
			if _, ok := missing.Fault.Fault.(*types.NotAuthenticated); ok {
				return true
			}
		}
	}
	return false
}

// colons writes a fingerprint the way that the SOAP client compares it,
// whichever way it was copied: AB:CD:...
func colons(fingerprint string) string {
	hex := strings.ToUpper(strings.NewReplacer(":", "", " ", "", "-", "").Replace(fingerprint))
	var b strings.Builder
	for i, r := range hex {
		if i > 0 && i%2 == 0 {
			b.WriteByte(':')
		}
		b.WriteRune(r)
	}
	return b.String()
}
