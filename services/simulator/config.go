package simulator

import (
	"path/filepath"
	"time"

	"yardmaster.dev/pkg/fleet"
)

// Config is the configuration of the simulated world. The zero value works
// and answers as fast as it can; [DefaultConfig] takes the time that real
// machines seem to take.
type Config struct {
	// Dir holds the journal, the certificate and the console logs.
	Dir string `json:"dir,omitempty"`
	// Listen is the vCenter's HTTPS address, Control the plain HTTP address
	// of health and faults; loopback only.
	Listen  string `json:"listen,omitempty"`
	Control string `json:"control,omitempty"`
	// User and Password are the only login.
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`

	// ESXi makes it a lone host without a vCenter: no clones, templates, VM
	// folders, clusters, distributed switches, tags or custom attributes.
	ESXi bool `json:"esxi,omitempty"`

	Inventory Inventory `json:"inventory,omitzero"`
	// Faults are switched on from the start.
	Faults []Rule `json:"faults,omitempty"`
	// Denied are privileges that the account lacks, as it hears if it asks.
	Denied []Denial `json:"denied,omitempty"`

	// CloneDelay, PowerDelay, BootDelay and UploadDelay are about how long a
	// clone, a power operation, a guest's boot and the upload of a disk take.
	CloneDelay  fleet.Duration `json:"cloneDelay,omitzero"`
	PowerDelay  fleet.Duration `json:"powerDelay,omitzero"`
	BootDelay   fleet.Duration `json:"bootDelay,omitzero"`
	UploadDelay fleet.Duration `json:"uploadDelay,omitzero"`
	// PhoneHomeRetry overrides RestartSec of the guests' phone-home unit.
	PhoneHomeRetry fleet.Duration `json:"phoneHomeRetry,omitzero"`
	// ReportEvery overrides how often the guests tell how they are.
	ReportEvery fleet.Duration `json:"reportEvery,omitzero"`
	// Guests is how many guests boot at the same time, and how many report.
	Guests int `json:"guests,omitempty"`
}

// Inventory names what the vCenter holds before anybody asks for anything.
type Inventory struct {
	Datacenter string `json:"datacenter,omitempty"`
	Cluster    string `json:"cluster,omitempty"`
	Hosts      int    `json:"hosts,omitempty"`
	Datastore  string `json:"datastore,omitempty"`
	// DatastoreSize is what the datastore holds, until it is full.
	DatastoreSize fleet.Quantity `json:"datastoreSize,omitempty"`
	// Portgroups are distributed ones, those of a lone host its own, beside the
	// network "VM Network".
	Portgroups []string `json:"portgroups,omitempty"`
	// Templates are Flatcar templates with a disk, a vmxnet3 NIC and a
	// snapshot for linked clones.
	Templates []string `json:"templates,omitempty"`
}

// The defaults; the yard's own defaults point at them.
const (
	DefaultListen  = "127.0.0.1:8989"
	DefaultControl = "127.0.0.1:8990"
	DefaultUser    = "yard"
	DefaultSecret  = "yard"

	defaultDir    = "data/simulator"
	defaultGuests = 32
)

// DefaultConfig is the world of make up: a first node is ready in a few
// seconds, and slow enough to be watched.
func DefaultConfig() Config {
	c := Config{
		CloneDelay:  fleet.Duration{Duration: time.Second},
		PowerDelay:  fleet.Duration{Duration: 200 * time.Millisecond},
		BootDelay:   fleet.Duration{Duration: 1500 * time.Millisecond},
		UploadDelay: fleet.Duration{Duration: time.Second},
	}
	return c.withDefaults()
}

func (c Config) withDefaults() Config {
	fill := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	fill(&c.Dir, defaultDir)
	fill(&c.Listen, DefaultListen)
	fill(&c.Control, DefaultControl)
	fill(&c.User, DefaultUser)
	fill(&c.Password, DefaultSecret)
	if c.ESXi {
		c.Inventory.Datacenter, c.Inventory.Hosts, c.Inventory.Templates = hostDatacenter, 1, []string{}
	}
	fill(&c.Inventory.Datacenter, "dc1")
	fill(&c.Inventory.Cluster, "c1")
	fill(&c.Inventory.Datastore, "ds1")
	if c.Inventory.DatastoreSize == "" {
		c.Inventory.DatastoreSize = quantity(datastoreBytes)
	}
	if c.Inventory.Hosts <= 0 {
		c.Inventory.Hosts = 3
	}
	if c.Inventory.Portgroups == nil {
		c.Inventory.Portgroups = []string{"dmz"}
	}
	if c.Inventory.Templates == nil {
		c.Inventory.Templates = []string{"flatcar-4593.2.5", "flatcar-4081.3.10"}
	}
	if c.Guests <= 0 {
		c.Guests = defaultGuests
	}
	return c
}

// CAFile is the PEM file of the vCenter's own certificate.
func (c Config) CAFile() string { return filepath.Join(c.withDefaults().Dir, "ca.pem") }

// ThumbprintFile holds the certificate's SHA-256 fingerprint, in the form
// AA:BB:..., on one line. Both files are there once the world is ready.
func (c Config) ThumbprintFile() string { return filepath.Join(c.withDefaults().Dir, "thumbprint") }

// ConsoleFile is where the guest of the VM writes its console.
func (c Config) ConsoleFile(vm string) string {
	return filepath.Join(c.withDefaults().Dir, "console", filepath.Base(vm)+".log")
}

func (c Config) keyFile() string     { return filepath.Join(c.Dir, "key.pem") }
func (c Config) journalFile() string { return filepath.Join(c.Dir, "inventory.jsonl") }
func (c Config) datastoreDir() string {
	return filepath.Join(c.Dir, "datastore")
}
