package fleet

import (
	"slices"
	"time"
)

// The defaults of what a document leaves out.
const (
	DefaultHostname          = "{{ .fleet }}-{{ .pool }}-{{ .ordinal }}"
	DefaultReadyTimeout      = 10 * time.Minute
	DefaultMaxUnavailable    = 1
	DefaultMaxDestroyPercent = 30
	DefaultMaxCreate         = 100
	DefaultAttempts          = 5
	DefaultBackoff           = 5 * time.Second
	DefaultMaxBackoff        = 5 * time.Minute
	DefaultClones            = 8
	DefaultPerTemplate       = 8
	DefaultPerDatastore      = 8
	DefaultOperations        = 16
)

// WithDefaults returns a copy of the fleet in which everything that has a
// default is filled in. The stored document stays as it was written; this is
// what decisions and hashes are made from, so that writing a default out
// changes nothing.
func (f *Fleet) WithDefaults() *Fleet {
	out := *f
	out.Spec.Rollout = f.Spec.Rollout.withDefaults()
	out.Spec.Retry = f.Spec.Retry.withDefaults()
	if out.Spec.Protect.MaxDestroyPercent == nil {
		out.Spec.Protect.MaxDestroyPercent = new(DefaultMaxDestroyPercent)
	}
	if out.Spec.Protect.MaxCreate == nil {
		out.Spec.Protect.MaxCreate = new(DefaultMaxCreate)
	}
	out.Spec.Pools = slices.Clone(f.Spec.Pools)
	for i := range out.Spec.Pools {
		out.Spec.Pools[i] = out.Spec.Pools[i].withDefaults(f)
	}
	return &out
}

// Pool returns the fleet's pool of that name.
func (f *Fleet) Pool(name string) (*Pool, bool) {
	i := slices.IndexFunc(f.Spec.Pools, func(p Pool) bool { return p.Name == name })
	if i < 0 {
		return nil, false
	}
	return &f.Spec.Pools[i], true
}

func (p Pool) withDefaults(f *Fleet) Pool {
	if p.Hostname == "" {
		p.Hostname = DefaultHostname
	}
	if p.Ready.By == "" {
		p.Ready.By = ReadyByPhoneHome
	}
	if p.Ready.Timeout.IsZero() {
		p.Ready.Timeout = Duration{DefaultReadyTimeout}
	}
	if p.VSphere != nil {
		v := p.VSphere.withDefaults(f)
		p.VSphere = &v
	}
	return p
}

func (v VSphere) withDefaults(f *Fleet) VSphere {
	if v.Source.Template == "" && f.Spec.OS.Version != "" {
		v.Source.Template = TemplateOf(f.Spec.OS.Version)
	}
	if v.Folder == "" {
		v.Folder = f.Metadata.Name
	}
	if v.Clone == "" {
		v.Clone = CloneFull
	}
	return v
}

func (r Rollout) withDefaults() Rollout {
	unavailable, surge := 0, 0
	if r.MaxUnavailable != nil {
		unavailable = max(*r.MaxUnavailable, 0)
	}
	if r.MaxSurge != nil {
		surge = max(*r.MaxSurge, 0)
	}
	if unavailable == 0 && surge == 0 { // else no change could ever spread
		unavailable = DefaultMaxUnavailable
	}
	return Rollout{MaxUnavailable: &unavailable, MaxSurge: &surge}
}

func (r Retry) withDefaults() Retry {
	if r.Attempts <= 0 {
		r.Attempts = DefaultAttempts
	}
	if r.Backoff.Duration <= 0 {
		r.Backoff = Duration{DefaultBackoff}
	}
	if r.MaxBackoff.Duration <= 0 {
		r.MaxBackoff = Duration{DefaultMaxBackoff}
	}
	return r
}

// Budgets returns how many of a pool's nodes may be down for a change and
// how many may exist beyond the target. A stable pool never surges.
func (f *Fleet) Budgets(p *Pool) (unavailable, surge int) {
	r := f.Spec.Rollout
	if p.Stable {
		r.MaxSurge = nil
	}
	r = r.withDefaults()
	return *r.MaxUnavailable, *r.MaxSurge
}

// WithDefaults returns the limits with every zero replaced by its default.
func (l Limits) WithDefaults() Limits {
	if l.Clones <= 0 {
		l.Clones = DefaultClones
	}
	if l.PerTemplate <= 0 {
		l.PerTemplate = DefaultPerTemplate
	}
	if l.PerDatastore <= 0 {
		l.PerDatastore = DefaultPerDatastore
	}
	if l.Operations <= 0 {
		l.Operations = DefaultOperations
	}
	return l
}
