package vcenter

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// finding returns the check of something whose words hold a fragment; nil if
// there is none.
func finding(checks []*v1.Check, level, what, fragment string) *v1.Check {
	i := slices.IndexFunc(checks, func(c *v1.Check) bool {
		return c.GetLevel() == level && c.GetWhat() == what && strings.Contains(c.GetWords(), fragment)
	})
	if i < 0 {
		return nil
	}
	return checks[i]
}

func wantCheck(t *testing.T, checks []*v1.Check, level, what, fragment string) {
	t.Helper()
	c := finding(checks, level, what, fragment)
	if c == nil {
		t.Errorf("no check %s %s: ...%s... in\n%s", level, what, fragment, listed(checks))
		return
	}
	if level == LevelFail && c.GetHint() == "" {
		t.Errorf("check %v does not say what to do", c)
	}
}

func listed(checks []*v1.Check) string {
	var b strings.Builder
	for _, c := range checks {
		b.WriteString(c.GetLevel() + " " + c.GetWhat() + ": " + c.GetWords() + " (" + c.GetHint() + ") " + strings.Join(c.GetPools(), " ") + "\n")
	}
	return b.String()
}

// pools are jobs of two pools that want the same.
func pools(change func(*plan.Job)) []*plan.Job {
	var out []*plan.Job
	for _, name := range []string{"edge", "core"} {
		j := jobOf(0, 1).Job
		j.Pool = name
		if change != nil {
			change(j)
		}
		out = append(out, j)
	}
	return out
}

func TestExamineFindsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	checks := b.Examine(t.Context(), pools(nil))
	for _, c := range checks {
		if c.GetLevel() == LevelFail {
			t.Errorf("%v fails in a world where all is well", c)
		}
	}
	for _, what := range []string{"credentials", "login", "clock", "inventory", "templates", "template " + testTemplate, "cluster DC0_C0", "datastore LocalDS_0", "network DC0_DVPG0", "network VM Network", "folder web", "rights"} {
		wantCheck(t, checks, LevelOK, what, "")
	}
	wantCheck(t, checks, LevelWarn, "connection", "not TLS")
	if c := finding(checks, LevelOK, "datastore LocalDS_0", ""); !slices.Equal(c.GetPools(), []string{"web/core", "web/edge"}) {
		t.Errorf("the datastore is told for %v; want both pools, once", c.GetPools())
	}
	if n := len(w.all(t)); n != 0 {
		t.Errorf("Examine left %d VMs", n)
	}
	if checks := b.Examine(t.Context(), nil); finding(checks, LevelOK, "inventory", testTemplate) != nil || finding(checks, LevelOK, "templates", testTemplate) == nil {
		t.Errorf("without pools it says\n%s", listed(checks))
	}
}

func TestExamineFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	for name, row := range map[string]struct {
		change                func(*plan.Job)
		level, what, fragment string
	}{
		"template":      {func(j *plan.Job) { j.VSphere.Source.Template = "none" }, LevelFail, "template none", "does not exist"},
		"linked":        {func(j *plan.Job) { j.VSphere.Clone, j.VSphere.Disk = fleet.CloneLinked, "" }, LevelFail, "template " + testTemplate, "snapshot"},
		"small disk":    {func(j *plan.Job) { j.VSphere.Disk = "1Mi" }, LevelFail, "template " + testTemplate, "smaller"},
		"datacenter":    {func(j *plan.Job) { j.VSphere.Datacenter = "dc9" }, LevelFail, "datacenter", "dc9"},
		"cluster":       {func(j *plan.Job) { j.VSphere.Cluster = "c9" }, LevelFail, "cluster c9", "does not exist"},
		"host":          {func(j *plan.Job) { j.VSphere.Host = "h9" }, LevelFail, "host h9", "does not exist"},
		"resource pool": {func(j *plan.Job) { j.VSphere.ResourcePool = "a/b" }, LevelFail, "cluster DC0_C0, pool a/b", "does not exist"},
		"datastore":     {func(j *plan.Job) { j.VSphere.Datastore = "ds9" }, LevelFail, "datastore ds9", "there are LocalDS_0"},
		"pod":           {func(j *plan.Job) { j.VSphere.DatastoreCluster = "p9" }, LevelFail, "datastore cluster p9", "does not exist"},
		"network":       {func(j *plan.Job) { j.Networks[0].Portgroup = "n9" }, LevelFail, "network n9", "does not exist"},
		"folder":        {func(j *plan.Job) { j.VSphere.Folder = "deep/down" }, LevelOK, "folder deep/down", "is made"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checks := b.Examine(t.Context(), pools(row.change))
			wantCheck(t, checks, row.level, row.what, row.fragment)
			wantCheck(t, checks, LevelOK, "login", "")
		})
	}
}

func TestExamineLooksAtHostsAndStores(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	registry, ctx := w.model.Service.Context.Map, w.model.Service.Context
	for _, e := range registry.All("HostSystem") {
		host, _ := e.(*simulator.HostSystem)
		ctx.WithLock(host, func() {
			host.Runtime.InMaintenanceMode = true
			host.Network = nil
		})
	}
	for _, e := range registry.All("Datastore") {
		store, _ := e.(*simulator.Datastore)
		ctx.WithLock(store, func() { store.Summary.Capacity, store.Summary.FreeSpace = 1<<40, 1<<20 })
	}
	checks := b.Examine(t.Context(), pools(nil))
	wantCheck(t, checks, LevelFail, "cluster DC0_C0", "none of its 1 hosts takes machines")
	wantCheck(t, checks, LevelFail, "network DC0_DVPG0", "none of the 1 hosts")
	low := finding(checks, LevelWarn, "datastore LocalDS_0", "0.0 GiB of 1024.0 GiB are free")
	full := finding(checks, LevelFail, "datastore LocalDS_0", "0.0 GiB of 1024.0 GiB are free")
	if low == nil && full == nil {
		t.Errorf("a full datastore is not told of:\n%s", listed(checks))
	}
}

// denying stands in for the simulator's authorization, which grants all.
type denying struct {
	*simulator.AuthorizationManager
	lacks *atomic.Value
}

func (d *denying) HasUserPrivilegeOnEntities(req *types.HasUserPrivilegeOnEntities) soap.HasFault {
	res := &types.HasUserPrivilegeOnEntitiesResponse{}
	for _, e := range req.Entities {
		p := types.EntityPrivilege{Entity: e}
		for _, id := range req.PrivId {
			p.PrivAvailability = append(p.PrivAvailability, types.PrivilegeAvailability{PrivId: id, IsGranted: id != d.lacks.Load()})
		}
		res.Returnval = append(res.Returnval, p)
	}
	return &methods.HasUserPrivilegeOnEntitiesBody{Res: res}
}

func TestExamineNamesMissingRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	registry := w.model.Service.Context.Map
	var lacks atomic.Value
	registry.Handler = func(_ *simulator.Context, m *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		if a, ok := registry.Get(m.This).(*simulator.AuthorizationManager); ok {
			m.This = types.ManagedObjectReference{Type: "Test", Value: "denying"}
			return &denying{a, &lacks}, nil
		}
		return nil, nil
	}
	for _, row := range []struct{ lacks, level, on string }{
		{"Datastore.AllocateSpace", LevelFail, "datastore LocalDS_0"},
		{"Datastore.Browse", LevelWarn, "datastore LocalDS_0"},
		{"Network.Assign", LevelFail, "network DC0_DVPG0"},
		{"Resource.AssignVMToPool", LevelFail, "the resource pool of cluster DC0_C0"},
		{"VirtualMachine.Provisioning.DeployTemplate", LevelFail, "template " + testTemplate},
		{"Host.Inventory.EditCluster", LevelFail, "cluster DC0_C0"},
		{"Folder.Create", LevelFail, "the folder that web is made in"},
		{"Sessions.ValidateSession", LevelFail, "the vCenter itself"},
	} {
		lacks.Store(row.lacks)
		checks := b.Examine(t.Context(), pools(func(j *plan.Job) { j.VSphere.AntiAffinity = fleet.ApartPreferred }))
		wantCheck(t, checks, row.level, "rights", "lacks on "+row.on)
		wantCheck(t, checks, row.level, "rights", row.lacks)
		if finding(checks, LevelOK, "rights", "") != nil {
			t.Errorf("without %s the rights are said to be all there", row.lacks)
		}
	}
}

// However often somebody asks, a refused login is made once.
func TestExamineLocksNoAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	strict := *w.server.URL
	strict.User = url.UserPassword("user", "pass")
	w.model.Service.Listen = &strict // has the simulator check passwords
	b := w.backend(t)
	password := "wrong"
	b.options.Secret = func(s fleet.Secret) (string, error) {
		if s.Env == "pass" {
			return password, nil
		}
		return s.Env, nil
	}
	first := b.Examine(t.Context(), nil)
	wantCheck(t, first, LevelFail, "login", "InvalidLogin")
	before := w.tasks.calls.Load()
	for range 5 {
		again := b.Examine(t.Context(), nil)
		wantCheck(t, again, LevelFail, "login", "not tried again before")
		if strings.Contains(listed(again), password) {
			t.Errorf("the password stands in\n%s", listed(again))
		}
	}
	if calls := w.tasks.calls.Load() - before; calls != 0 {
		t.Errorf("%d calls with a password that was refused; want none", calls)
	}
	password = "pass"
	wantCheck(t, b.Examine(t.Context(), nil), LevelOK, "login", "as user")
}

func TestExamineWithoutVCenter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	gone := w.site()
	gone.URL = "https://127.0.0.1:1/sdk"
	b.Use(t.Context(), gone)
	checks := b.Examine(t.Context(), pools(nil))
	wantCheck(t, checks, LevelFail, "connection", "cannot be reached")
	if finding(checks, LevelFail, "login", "") != nil {
		t.Errorf("a login was tried at a vCenter that is away:\n%s", listed(checks))
	}
	b.Use(t.Context(), nil)
	wantCheck(t, b.Examine(t.Context(), nil), LevelFail, "site", "no Site of that name")
}

func TestExamineJudgesCertificates(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	leaf := s.Certificate()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	pin := soap.ThumbprintSHA256(leaf)
	for name, row := range map[string]struct {
		site            fleet.SiteVSphere
		level, fragment string
	}{
		"unknown":       {fleet.SiteVSphere{}, LevelFail, pin},
		"pinned":        {fleet.SiteVSphere{Thumbprint: strings.ToLower(strings.ReplaceAll(pin, ":", ""))}, LevelOK, "pinned"},
		"another":       {fleet.SiteVSphere{Thumbprint: strings.Repeat("AB", 32)}, LevelFail, "not the one that is pinned"},
		"signed":        {fleet.SiteVSphere{CAFile: ca}, LevelOK, "trusted CA"},
		"no CA file":    {fleet.SiteVSphere{CAFile: ca + "x"}, LevelFail, "cannot be used"},
		"no https port": {fleet.SiteVSphere{URL: "https://[::1"}, LevelFail, "[::1"},
	} {
		site := row.site
		if site.URL == "" {
			site.URL = s.URL + "/sdk"
		}
		e := &examination{}
		good := e.certificate(t.Context(), &site)
		what := "certificate"
		if name == "no https port" {
			what = "connection"
		}
		wantCheck(t, e.checks, row.level, what, row.fragment)
		if good != (row.level == LevelOK) {
			t.Errorf("%s: certificate = %v, checks\n%s", name, good, listed(e.checks))
		}
	}
}

func TestExamineTellsOfOldCertificates(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		left            time.Duration
		level, fragment string
	}{
		"ended": {-time.Hour, LevelFail, "it ended on"},
		"soon":  {48 * time.Hour, LevelWarn, "it ends on"},
		"later": {90 * 24 * time.Hour, LevelOK, "until"},
	} {
		c := certificateFor(t, row.left)
		e := &examination{}
		good := e.judge(&fleet.SiteVSphere{Thumbprint: soap.ThumbprintSHA256(c)}, "vcenter.example", []*x509.Certificate{c})
		wantCheck(t, e.checks, row.level, "certificate", row.fragment)
		if good != (row.level != LevelFail) {
			t.Errorf("%s: judge = %v", name, good)
		}
	}
}

func certificateFor(t *testing.T, left time.Duration) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(left), DNSNames: []string{"vcenter.example"},
	}
	raw, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestExamineWithoutCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(t)
	b.options.Secret = func(s fleet.Secret) (string, error) {
		if s.Env == "user" {
			return "", errors.New("there is no such file")
		}
		return "", nil
	}
	checks := b.Examine(t.Context(), nil)
	wantCheck(t, checks, LevelFail, "credentials", "the username cannot be read: there is no such file")
	wantCheck(t, checks, LevelFail, "credentials", "the password in variable pass is empty")
	if finding(checks, LevelFail, "login", "") != nil {
		t.Errorf("a login was tried without credentials:\n%s", listed(checks))
	}
}
