package harness

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Target is the vCenter that a suite runs against: its own simulator, or one
// that the environment names (docs/qualify.md).
type Target struct {
	// URL is empty for a simulator of the suite's own.
	URL, User, Password, Thumbprint, CAFile string

	Datacenter, Cluster, Datastore, Template, Clone string
	// Folder is where the suite makes its own folders; it need not exist.
	Folder string
	// Portgroup, Subnet, Range, Gateway and DNS are the Network's.
	Portgroup, Subnet, Range, Gateway, DNS string
	// Guests is the URL where guests reach this machine, which serves the
	// gateway there; without it nodes are ready once they have an address.
	Guests string
	// Nodes is how many nodes a test makes, 0 if it may say so itself.
	Nodes int
	// Patience is by what all waits are multiplied.
	Patience int
}

// variables begin with this.
const targetPrefix = "YARD_E2E_VCENTER_"

// Foreign reports whether the suite did not start the vCenter.
func (t *Target) Foreign() bool { return t.URL != "" }

// Version is what the template's name says of the release.
func (t *Target) Version() string { return strings.TrimPrefix(t.Template, "flatcar-") }

var target = sync.OnceValues(readTarget)

// TheTarget is the suite's vCenter by the environment.
func TheTarget(tb testing.TB) *Target {
	tb.Helper()
	t, err := target()
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// simulated is what the suite's own simulators have.
func simulated() *Target {
	return &Target{
		User: SimulatorUser, Password: SimulatorSecret, Datacenter: "dc1", Cluster: "c1", Datastore: "ds1", Template: Template, Clone: "linked",
		Portgroup: "VM Network", Subnet: "10.0.0.0/16", Range: "10.0.1.0-10.0.4.255", Gateway: "10.0.0.1", DNS: "10.0.0.1", Patience: 1,
	}
}

func readTarget() (*Target, error) {
	env := func(name string) string { return os.Getenv(targetPrefix + name) } //nolint:forbidigo // a test's setting
	if env("URL") == "" {
		return simulated(), nil
	}
	t := &Target{
		URL: env("URL"), User: env("USER"), Thumbprint: env("THUMBPRINT"), CAFile: env("CA_FILE"),
		Datacenter: env("DATACENTER"), Cluster: env("CLUSTER"), Datastore: env("DATASTORE"), Template: env("TEMPLATE"),
		Clone: cmp.Or(env("CLONE"), "full"), Folder: cmp.Or(env("FOLDER"), "yardmaster-e2e"),
		Portgroup: env("NETWORK"), Subnet: env("SUBNET"), Range: env("RANGE"), Gateway: env("GATEWAY"), DNS: cmp.Or(env("DNS"), env("GATEWAY")),
		Guests: os.Getenv("YARD_E2E_GATEWAY"), //nolint:forbidigo // a test's setting
	}
	var missing []string
	for name, value := range map[string]string{
		"USER": t.User, "PASSWORD_FILE": env("PASSWORD_FILE"), "DATACENTER": t.Datacenter, "CLUSTER": t.Cluster, "DATASTORE": t.Datastore,
		"TEMPLATE": t.Template, "NETWORK": t.Portgroup, "SUBNET": t.Subnet, "RANGE": t.Range,
	} {
		if value == "" {
			missing = append(missing, targetPrefix+name)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%sURL is set, but not %s (docs/qualify.md)", targetPrefix, strings.Join(missing, ", "))
	}
	password, err := os.ReadFile(env("PASSWORD_FILE"))
	if err != nil {
		return nil, fmt.Errorf("%sPASSWORD_FILE: %w", targetPrefix, err)
	}
	t.Password = strings.TrimRight(string(password), "\r\n")
	if _, err := netip.ParsePrefix(t.Subnet); err != nil {
		return nil, fmt.Errorf("%sSUBNET: %w", targetPrefix, err)
	}
	if t.Nodes, err = number(env("NODES"), 3); err != nil {
		return nil, fmt.Errorf("%sNODES: %w", targetPrefix, err)
	}
	if t.Patience, err = number(env("PATIENCE"), 10); err != nil {
		return nil, fmt.Errorf("%sPATIENCE: %w", targetPrefix, err)
	}
	return t, nil
}

func number(s string, otherwise int) (int, error) {
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	if err == nil && n < 1 {
		err = fmt.Errorf("%d is less than 1", n)
	}
	return n, err
}

// Count is how many nodes a test makes that would make usual of them.
func (t *Target) Count(usual int) int {
	if t.Nodes == 0 {
		return usual
	}
	return min(t.Nodes, usual)
}

// notRun are the tests and parts that a foreign vCenter kept from running.
var (
	notRunMu sync.Mutex
	notRun   []string
)

// NeedSimulator skips a test that only a simulator of the suite's own can run;
// why says what it needs of it.
func NeedSimulator(t *testing.T, why string) {
	t.Helper()
	if !TheTarget(t).Foreign() {
		return
	}
	notRunMu.Lock()
	notRun = append(notRun, t.Name()+": "+why)
	notRunMu.Unlock()
	t.Skipf("NOT RUN against %s: it needs a simulator of its own: %s", TheTarget(t).URL, why)
}

// NotRun lists what NeedSimulator skipped.
func NotRun() []string {
	notRunMu.Lock()
	defer notRunMu.Unlock()
	return append([]string(nil), notRun...)
}
