package discover

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/specfile"
	"yardmaster.dev/services/vsphere-executor/discover/discovertest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// at is the URL of a hall.
func at(t *testing.T, h *discovertest.Hall) *url.URL {
	t.Helper()
	u, err := ParseURL("https://" + h.Host)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func probe(t *testing.T, u *url.URL) *Server {
	t.Helper()
	s, err := Probe(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLook(t *testing.T) { //nolint:gocyclo // one look at one of everything
	model := simulator.VPX()
	model.Pool, model.Folder, model.Pod, model.Portgroup = 1, 1, 1, 2
	u := at(t, discovertest.New(t, model))
	for i, e := range model.Map().All("VirtualMachine") {
		vm, _ := e.(*simulator.VirtualMachine)
		vm.Guest = guest("10.1.0.1"+string(rune('0'+i)), "DC0_DVPG0")
		if i == 0 {
			vm.Config.Template = true
			vm.Name = "flatcar-1.2.3"
		}
	}
	s := probe(t, u)
	if s.Untrusted == nil || len(s.Fingerprint) != 95 || !s.Is(strings.ToLower(strings.ReplaceAll(s.Fingerprint, ":", ""))) || s.Is("AB") {
		t.Errorf("the server is %+v; want one that nobody vouches for, with its fingerprint", s)
	}
	if _, err := s.Look(t.Context(), "reader", "wrong"); !errors.Is(err, ErrLogin) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("Look with a wrong password: %v; want it refused, without the password", err)
	}
	in, err := s.Look(t.Context(), "reader", "s3cret")
	if err != nil || len(in.Datacenters) != 1 {
		t.Fatalf("Look = %+v, %v; want one datacenter", in, err)
	}
	dc := in.Datacenters[0]
	for what, found := range map[string]bool{
		"cluster":  len(dc.Clusters) == 2 && dc.Clusters[0].Name == "DC0_C0" && len(dc.Clusters[0].Pools) > 0 && dc.Clusters[1].Lone,
		"store":    len(dc.Datastores) == 1 && dc.Datastores[0].Usable,
		"pod":      len(dc.Pods) == 1,
		"folder":   len(dc.Folders) > 0,
		"template": len(dc.Templates) == 1 && dc.Templates[0].Name == "flatcar-1.2.3",
	} {
		if !found {
			t.Errorf("%s is not as it is in vCenter: %+v", what, dc)
		}
	}
	for _, n := range dc.Networks {
		if n.Name == "DC0_DVPG0" && (n.Subnet.String() != "10.1.0.0/24" || n.Gateway.String() != "10.1.0.1" || n.Guests == 0 || len(n.DNS) != 1) {
			t.Errorf("network %+v; want what its guests say", n)
		}
	}
	if sessions := model.Map().SessionManager().SessionList; len(sessions) > 1 { // the simulator's own is one
		t.Errorf("%d sessions are left", len(sessions))
	}
}

func TestLookAtESXi(t *testing.T) {
	s := probe(t, at(t, discovertest.New(t, simulator.ESX())))
	in, err := s.Look(t.Context(), "reader", "s3cret")
	if err != nil || !in.ESXi || len(in.Datacenters) != 1 || !in.Datacenters[0].Clusters[0].Lone {
		t.Fatalf("Look = %+v, %v; want a lone host", in, err)
	}
	doc, err := s.Document(in, Wishes{Site: "host"})
	if err != nil || strings.Contains(string(doc), "cluster:") || !strings.Contains(string(doc), "machines are made of images only") {
		t.Errorf("Document = %v\n%s\nwant no cluster, and a word on images", err, doc)
	}
}

func guest(address, network string) *types.GuestInfo {
	g := &types.GuestInfo{Net: []types.GuestNicInfo{{Network: network, IpConfig: &types.NetIpConfigInfo{
		IpAddress: []types.NetIpConfigInfoIpAddress{{IpAddress: address, PrefixLength: 24}, {IpAddress: "fe80::1", PrefixLength: 64}},
	}}}}
	g.IpStack = []types.GuestStackInfo{{
		DnsConfig: &types.NetDnsConfigInfo{IpAddress: []string{"10.9.9.9"}},
		IpRouteConfig: &types.NetIpRouteConfigInfo{IpRoute: []types.NetIpRouteConfigInfoIpRoute{
			{Network: "0.0.0.0", Gateway: types.NetIpRouteConfigInfoGateway{IpAddress: "10.1.0.1"}},
		}},
	}}
	return g
}

// inventory has one of everything.
func inventory(text string) *Inventory {
	seen := sightings{}
	seen.note(guest("10.1.0.17", "dmz"+text))
	seen.note(guest("10.1.0.4", "dmz"+text))
	return &Inventory{Product: "VMware vCenter Server 8.0.3" + text, Datacenters: []Datacenter{{
		Name:       "dc 1" + text,
		Clusters:   []Cluster{{Name: "c1" + text, Hosts: 3, DRS: true, Pools: []string{"prod", "prod/web" + text}}, {Name: "10.0.0.9", Hosts: 1, Lone: true}},
		Datastores: []Datastore{{"ds1" + text, "VMFS" + text, 412 << 30, 1 << 40, true}, {"ds2", "NFS", 0, 1 << 40, false}},
		Pods:       []string{"pod1" + text}, Folders: []string{"web" + text}, Templates: []Template{{"flatcar-1.2.3" + text, true}, {"old", false}},
		Networks: []Network{seen.network("dmz"+text, "distributed"), seen.network("VM Network", "standard")},
	}}}
}

// accepted is a server whose certificate was accepted.
func accepted() *Server {
	return &Server{
		URL:         &url.URL{Scheme: "https", Host: "vcenter.example", Path: "/sdk"},
		Certificate: &x509.Certificate{NotAfter: time.Date(2031, 2, 3, 0, 0, 0, 0, time.UTC)},
		Fingerprint: strings.TrimSuffix(strings.Repeat("AB:", 32), ":"),
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	s := accepted()
	got, err := s.Document(inventory(""), Wishes{Site: "dc1", Ranges: map[string]Range{"VM Network": {"10.2.0.0/24", "10.2.0.10-10.2.0.99", "10.2.0.1"}}})
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/discovered.yaml"
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got), rewritten with -update:\n%s", file, d)
	}
	docs, problems := specfile.Parse(file, got)
	if len(problems) > 0 || len(docs) != 2 {
		t.Fatalf("%d documents, problems %v; want a Site and a Network", len(docs), problems)
	}
	site, _ := docs[0].Document.(*fleet.Site)
	if v := site.Spec.VSphere; v.Thumbprint != s.Fingerprint || v.Datacenter != "dc 1" || v.URL != "https://vcenter.example/sdk" {
		t.Errorf("the Site is %+v", v)
	}
}

// A Network that is taken out of its comment is refused until it is decided.
func TestUndecidedNetwork(t *testing.T) {
	t.Parallel()
	got, err := accepted().Document(inventory(""), Wishes{Site: "dc1"})
	if err != nil {
		t.Fatal(err)
	}
	_, network, found := strings.Cut(string(got), "# ---\n")
	network, _, _ = strings.Cut(network, "\n\n")
	network = strings.ReplaceAll("\n"+network, "\n# ", "\n")
	docs, problems := specfile.Parse("x", []byte(network))
	if text := specfile.Format(problems); !found || !strings.Contains(text, `spec.range: "decide" is not a range`) || len(problems) != 1 {
		t.Errorf("an undecided Network: %d documents, %v in\n%s\nwant its range refused and nothing else", len(docs), problems, network)
	}
	decided := strings.Replace(network, `range: "decide"`, "range: 10.1.0.100-10.1.0.120", 1)
	if docs, problems := specfile.Parse("x", []byte(decided)); len(docs) != 1 || len(problems) > 0 {
		t.Errorf("a decided Network: %d documents, %v in\n%s", len(docs), problems, decided)
	}
}

func TestImpossibleWishes(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]Wishes{
		"portgroup":  {Site: "dc1", Ranges: map[string]Range{"none": {}}},
		"datacenter": {Site: "dc1", Datacenter: "none"},
		"range":      {Site: "dc1", Ranges: map[string]Range{"dmz": {"10.2.0.0/24", "10.3.0.1-10.3.0.9", ""}}},
	} {
		if text, err := accepted().Document(inventory(""), w); err == nil {
			t.Errorf("%s: Document wrote\n%s\nwant an error", name, text)
		}
	}
}

// Whoever answers in the place of the server that was accepted is told nothing.
func TestAnotherServerIsToldNothing(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	impostor := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(impostor.Close)
	u, err := ParseURL(impostor.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := probe(t, u)
	other := *s.Certificate
	other.Raw = append([]byte{0}, other.Raw...)
	s.Certificate = &other
	if _, err := s.Look(context.Background(), "reader", "s3cret"); !errors.Is(err, errChanged) || asked.Load() != 0 {
		t.Errorf("Look = %v after %d requests; want none", err, asked.Load())
	}
	if _, err := Probe(t.Context(), &url.URL{Scheme: "https", Host: "127.0.0.1:1"}); err == nil {
		t.Error("Probe found a server where none is")
	}
}

// Nobody is sent elsewhere with the password.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(other.Close)
	sender := httptest.NewTLSServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	t.Cleanup(sender.Close)
	u, err := ParseURL(sender.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := probe(t, u).Look(t.Context(), "reader", "s3cret"); err == nil || asked.Load() != 0 {
		t.Errorf("Look = %v after %d requests elsewhere; want an error and none", err, asked.Load())
	}
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"vcenter.example": "https://vcenter.example/sdk", "https://vc:8443/sdk": "https://vc:8443/sdk", " 10.0.0.9 ": "https://10.0.0.9/sdk",
		"http://vc/sdk": "", "https://u:p@vc/sdk": "", "u@vc": "", "": "", "https://": "", "https://vc/sdk?x=1": "", "ftp://vc": "", "https://[::1": "",
	} {
		u, err := ParseURL(text)
		if want == "" && err == nil || want != "" && (err != nil || u.String() != want) {
			t.Errorf("ParseURL(%q) = %v, %v; want %q", text, u, err, want)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"vc", "https://vc/sdk", "u:p@vc", "https://[::1]:443/sdk"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseURL(text)
		if err == nil && (u.Scheme != "https" || u.Host == "" || u.User != nil) {
			t.Errorf("ParseURL(%q) = %v", text, u)
		}
	})
}

func FuzzParseRange(f *testing.F) {
	f.Add("dmz=10.0.0.0/24:10.0.0.10-10.0.0.99:10.0.0.1")
	f.Add("a=b=c:d")
	f.Fuzz(func(t *testing.T, text string) {
		portgroup, _, err := ParseRange(text)
		if err == nil && !strings.HasPrefix(text, portgroup+"=") {
			t.Errorf("ParseRange(%q) = %q", text, portgroup)
		}
	})
}

// Whatever things are called in vCenter, what is written is one Site and no
// more, or nothing.
func FuzzDocument(f *testing.F) {
	s := accepted()
	for _, text := range []string{"", "\n---\nkind: Fleet", "'", `"`, "\u0085x", "\u2028", "#", ": ", "%2f", "\x00", "\t", "{}[]", "\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := s.Document(inventory(text), Wishes{Site: "dc1"})
		if err != nil {
			return
		}
		docs, problems := specfile.Parse("x", got)
		if len(docs) != 1 || len(problems) > 0 {
			t.Errorf("with %q: %d documents, %v in\n%s", text, len(docs), problems, got)
		}
	})
}
