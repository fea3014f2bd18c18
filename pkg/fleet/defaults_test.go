package fleet

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sample() *Fleet {
	return &Fleet{
		APIVersion: APIVersion, Kind: KindFleet, Metadata: Metadata{Name: "web"},
		Spec: FleetSpec{
			OS: OS{Version: "4593.2.5"},
			Pools: []Pool{
				{Name: "a", Replicas: 3, VSphere: &VSphere{Site: "dc1", CPUs: 2}},
				{Name: "b", Replicas: 1, VSphere: &VSphere{Site: "dc1"}},
			},
		},
	}
}

func TestWithDefaultsFillsInAndLeavesTheDocumentAlone(t *testing.T) {
	t.Parallel()
	f := sample()
	before, err := Canonical(f)
	if err != nil {
		t.Fatal(err)
	}
	filled := f.WithDefaults()
	if after, _ := Canonical(f); string(after) != string(before) {
		t.Errorf("WithDefaults changed its document: %s", after)
	}
	p := filled.Spec.Pools[0]
	got := []any{
		p.Hostname, p.Ready.By, p.Ready.Timeout.Duration, p.VSphere.Source.Template, p.VSphere.Folder, p.VSphere.Clone,
		*filled.Spec.Protect.MaxDestroyPercent, filled.Spec.Retry.Attempts,
	}
	want := []any{
		DefaultHostname, ReadyByPhoneHome, 10 * time.Minute, "flatcar-4593.2.5", "web", CloneFull, 30, 5,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestBudgets(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rollout            Rollout
		stable             bool
		unavailable, surge int
	}{
		"nothing set":           {Rollout{}, false, 1, 0},
		"both zero":             {Rollout{MaxUnavailable: new(0), MaxSurge: new(0)}, false, 1, 0},
		"surge only":            {Rollout{MaxSurge: new(2)}, false, 0, 2},
		"both":                  {Rollout{MaxUnavailable: new(3), MaxSurge: new(2)}, false, 3, 2},
		"a stable pool":         {Rollout{MaxUnavailable: new(3), MaxSurge: new(2)}, true, 3, 0},
		"a stable pool, surged": {Rollout{MaxSurge: new(2)}, true, 1, 0},
	} {
		f := sample()
		f.Spec.Rollout = c.rollout
		f.Spec.Pools[0].Stable = c.stable
		if u, s := f.Budgets(&f.Spec.Pools[0]); u != c.unavailable || s != c.surge {
			t.Errorf("%s: Budgets = %d, %d; want %d, %d", name, u, s, c.unavailable, c.surge)
		}
	}
}

func TestPoolHashCoversWhatMachinesAreMadeFrom(t *testing.T) {
	t.Parallel()
	base := sample().PoolHash("a")
	for name, c := range map[string]struct {
		change  func(*Fleet)
		differs bool
	}{
		"replicas":                 {func(f *Fleet) { f.Spec.Pools[0].Replicas = 9 }, false},
		"readiness":                {func(f *Fleet) { f.Spec.Pools[0].Ready.By = ReadyByGuestAddress }, false},
		"budgets":                  {func(f *Fleet) { f.Spec.Rollout.MaxSurge = new(1) }, false},
		"brakes":                   {func(f *Fleet) { f.Spec.Protect.Deletion = true }, false},
		"another pool":             {func(f *Fleet) { f.Spec.Pools[1].VSphere.CPUs = 8 }, false},
		"a default written out":    {func(f *Fleet) { f.Spec.Pools[0].Hostname = DefaultHostname }, false},
		"a template written out":   {func(f *Fleet) { f.Spec.Pools[0].VSphere.Source.Template = "flatcar-4593.2.5" }, false},
		"an empty map":             {func(f *Fleet) { f.Spec.Vars = map[string]string{} }, false},
		"where VMs run":            {func(f *Fleet) { f.Spec.Pools[0].VSphere.AntiAffinity = ApartRequired }, false},
		"cpus":                     {func(f *Fleet) { f.Spec.Pools[0].VSphere.CPUs = 8 }, true},
		"the fleet's config":       {func(f *Fleet) { f.Spec.Config = []Layer{{Role: "base"}} }, true},
		"the pool's config":        {func(f *Fleet) { f.Spec.Pools[0].Config = []Layer{{Role: "base"}} }, true},
		"a variable":               {func(f *Fleet) { f.Spec.Vars = map[string]string{"a": "b"} }, true},
		"a variable of the pool's": {func(f *Fleet) { f.Spec.Pools[0].Vars = map[string]string{"a": "b"} }, true},
		"a secret's place":         {func(f *Fleet) { f.Spec.Secrets = map[string]Secret{"a": {Env: "B"}} }, true},
		"networks":                 {func(f *Fleet) { f.Spec.Pools[0].Networks = []PoolNetwork{{DHCP: true}} }, true},
		"the release":              {func(f *Fleet) { f.Spec.OS.Version = "4593.2.6" }, true},
		"the hostname":             {func(f *Fleet) { f.Spec.Pools[0].Hostname = "n{{ .ordinal }}" }, true},
	} {
		f := sample()
		c.change(f)
		if got := f.PoolHash("a"); (got != base) != c.differs {
			t.Errorf("%s: PoolHash = %s, was %s; want another: %v", name, got, base, c.differs)
		}
	}
	if got := sample().PoolHash("nosuch"); got != "" {
		t.Errorf("PoolHash of no pool = %q; want none", got)
	}
}

func TestCanonicalSurvivesItsOwnReading(t *testing.T) {
	t.Parallel()
	first, err := Canonical(sample())
	if err != nil {
		t.Fatal(err)
	}
	var read Fleet
	if err := json.Unmarshal(first, &read); err != nil {
		t.Fatal(err)
	}
	if second, err := Canonical(&read); err != nil || string(second) != string(first) {
		t.Errorf("Canonical = %s, %v; want %s", second, err, first)
	}
}
