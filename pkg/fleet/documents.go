// Package fleet holds the documents that people write: Fleet, Network and
// Site, with their defaults, every rule about a single document, and stable
// hashes. It does no I/O; specfile reads the YAML, wire the stored form.
//
// The JSON tags are the field names of the YAML documents and of the stored
// canonical JSON; a zero value means "not set" throughout.
package fleet

// APIVersion is the only version of the documents so far.
const APIVersion = "yardmaster.dev/v1alpha1"

// Kind names a document type.
type Kind string

// The kinds.
const (
	KindFleet   Kind = "Fleet"
	KindNetwork Kind = "Network"
	KindSite    Kind = "Site"
)

// Backend names what makes a pool's machines.
type Backend string

// BackendVSphere clones VMs in a vCenter.
const BackendVSphere Backend = "vsphere"

// Metadata names a document. Names are DNS labels (RFC 1123, section 2.1) of
// at most 40 characters, unique per kind.
type Metadata struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
}

// Document is one of *Fleet, *Network, *Site.
type Document interface {
	// DocumentKind returns the kind.
	DocumentKind() Kind
	// DocumentName returns metadata.name.
	DocumentName() string
	// Validate returns every problem of this document by itself, in the
	// order of its fields.
	Validate() []Problem
}

// Fleet is a set of pools of equal nodes.
type Fleet struct {
	APIVersion string    `json:"apiVersion"`
	Kind       Kind      `json:"kind"`
	Metadata   Metadata  `json:"metadata"`
	Spec       FleetSpec `json:"spec"`
}

// FleetSpec is what the fleet should be.
type FleetSpec struct {
	OS      OS                `json:"os,omitzero"`
	Config  []Layer           `json:"config,omitempty"`
	Vars    map[string]string `json:"vars,omitempty"`
	Secrets map[string]Secret `json:"secrets,omitempty"`
	Pools   []Pool            `json:"pools"`
	Rollout Rollout           `json:"rollout,omitzero"`
	Protect Protect           `json:"protect,omitzero"`
	Retry   Retry             `json:"retry,omitzero"`
}

// OS picks the Flatcar release; the version names the default template,
// flatcar-<version>.
type OS struct {
	// Channel is stable, beta, alpha or lts; informative.
	Channel string `json:"channel,omitempty"`
	// Version is the release, such as 4593.2.5: it names the template
	// flatcar-<version>. Without updates it is also a pin: the nodes do not
	// update themselves.
	Version string `json:"version,omitempty"`
	// Updates says how the nodes update themselves.
	Updates *Updates `json:"updates,omitempty"`
}

// Updates is how nodes update themselves, in the terms of update_engine and
// locksmith. The base role writes it.
type Updates struct {
	// Group is the update group, such as stable or lts-2024. The image's own
	// when empty.
	Group string `json:"group,omitempty"`
	// Server is the update server: http://nebraska.example/v1/update/.
	// Flatcar's own when empty.
	Server string `json:"server,omitempty"`
	// Reboot is what a node does with an update that is ready: reboot,
	// etcd-lock (one node at a time, by a lock in etcd) or off. Default
	// reboot.
	Reboot string `json:"reboot,omitempty"`
	// Window is when nodes may reboot. At any time when empty.
	Window *Window `json:"window,omitempty"`
	// Coordinator is who reboots nodes instead of locksmith: kured or fluo.
	Coordinator string `json:"coordinator,omitempty"`
}

// Window is a time of each day or week.
type Window struct {
	// Start is 04:00, or Thu 04:00.
	Start string `json:"start"`
	// Length is how long it is open: 1h.
	Length Duration `json:"length"`
}

// The values of Updates.Reboot and Updates.Coordinator.
const (
	RebootAtOnce   = "reboot"
	RebootEtcdLock = "etcd-lock"
	RebootOff      = "off"

	CoordinatorKured = "kured"
	CoordinatorFluo  = "fluo"
)

// Layer is one config layer: exactly one field is set. Layers are merged as
// Ignition in their order; later wins.
type Layer struct {
	// Role is a shipped role; yardctl roles lists them.
	Role string `json:"role,omitempty"`
	// Butane is a Butane document, variant flatcar 1.0.0 or 1.1.0.
	Butane string `json:"butane,omitempty"`
	// Ignition is a raw Ignition v3 config (JSON).
	Ignition string `json:"ignition,omitempty"`
}

// Secret says where the renderer finds a secret: exactly one field is set.
type Secret struct {
	File string `json:"file,omitempty"`
	Env  string `json:"env,omitempty"`
}

// Pool is a number of equal nodes.
type Pool struct {
	Name     string            `json:"name"`
	Replicas int               `json:"replicas"`
	Hostname string            `json:"hostname,omitempty"`
	Networks []PoolNetwork     `json:"networks,omitempty"`
	Config   []Layer           `json:"config,omitempty"`
	Vars     map[string]string `json:"vars,omitempty"`
	Ready    Ready             `json:"ready,omitzero"`
	// Stable keeps a replaced node's name and address: the old machine goes
	// before the new one comes, whatever maxSurge says.
	Stable  bool     `json:"stable,omitempty"`
	VSphere *VSphere `json:"vsphere,omitempty"`
}

// PoolNetwork gives each node one address: static from the Network ref's
// range, or by DHCP.
type PoolNetwork struct {
	Ref  string `json:"ref,omitempty"`
	DHCP bool   `json:"dhcp,omitempty"`
	// NIC is the number of the network card that carries the address,
	// counted from 0; without it the entry has a card of its own.
	NIC *int `json:"nic,omitempty"`
	// Portgroup is what that card is connected to in vCenter, instead of the
	// Network's.
	Portgroup string `json:"portgroup,omitempty"`
	// DefaultRoute says whether the node's default route goes this way; if
	// no entry says so, that is the first that can.
	DefaultRoute *bool `json:"defaultRoute,omitempty"`
}

// Ready says what makes a node ready.
type Ready struct {
	// By is phone-home (default) or guest-address.
	By string `json:"by,omitempty"`
	// Timeout bounds booting, default 10m.
	Timeout Duration `json:"timeout,omitzero"`
}

// The values of Ready.By.
const (
	ReadyByPhoneHome    = "phone-home"
	ReadyByGuestAddress = "guest-address"
)

// VSphere says how and where VMs are made.
type VSphere struct {
	Site       string        `json:"site"`
	Source     VSphereSource `json:"source,omitzero"`
	Datacenter string        `json:"datacenter,omitempty"`
	Cluster    string        `json:"cluster,omitempty"`
	Datastore  string        `json:"datastore,omitempty"`
	Folder     string        `json:"folder,omitempty"`
	// Network is the vCenter portgroup of the first NIC; empty keeps the
	// Network document's portgroup, or the template's.
	Network string   `json:"network,omitempty"`
	CPUs    int      `json:"cpus,omitempty"`
	Memory  Quantity `json:"memory,omitempty"`
	Disk    Quantity `json:"disk,omitempty"`
	// Clone is full (default) or linked.
	Clone string `json:"clone,omitempty"`
	// UserData is a cloud-config, a script or MIME multipart, given to
	// coreos-cloudinit as it is, at every boot, in place of config layers.
	UserData string `json:"userData,omitempty"`
}

// The values of VSphere.Clone.
const (
	CloneFull   = "full"
	CloneLinked = "linked"
)

// VSphereSource says what a VM is made from.
type VSphereSource struct {
	Template string `json:"template,omitempty"`
}

// Rollout bounds how a change spreads. MaxUnavailable and MaxSurge count
// nodes of one pool; the zero value of both means MaxUnavailable 1.
type Rollout struct {
	MaxUnavailable *int `json:"maxUnavailable,omitempty"`
	MaxSurge       *int `json:"maxSurge,omitempty"`
}

// Protect holds the brakes.
type Protect struct {
	// Deletion refuses to delete the fleet.
	Deletion bool `json:"deletion,omitempty"`
	// MaxDestroyPercent is the most of a fleet's nodes that one command may
	// destroy (replacements count), default 30; a command may override it.
	MaxDestroyPercent *int `json:"maxDestroyPercent,omitempty"`
	// MaxCreate is the most nodes by which one apply or scale may let the
	// fleet grow, default 100; a command may override it.
	MaxCreate *int `json:"maxCreate,omitempty"`
}

// Retry bounds the attempts of a node.
type Retry struct {
	// Attempts per incarnation, default 5.
	Attempts int `json:"attempts,omitempty"`
	// Backoff before the second attempt, doubled each time up to
	// MaxBackoff; defaults 5s and 5m.
	Backoff    Duration `json:"backoff,omitzero"`
	MaxBackoff Duration `json:"maxBackoff,omitzero"`
}

// Network is a set of addresses to give to nodes.
type Network struct {
	APIVersion string      `json:"apiVersion"`
	Kind       Kind        `json:"kind"`
	Metadata   Metadata    `json:"metadata"`
	Spec       NetworkSpec `json:"spec"`
}

// NetworkSpec describes an IPv4 subnet and the part of it that is ours.
type NetworkSpec struct {
	// Subnet is a prefix: 10.0.0.0/24.
	Subnet string `json:"subnet"`
	// Range is first-last inside the subnet, both included.
	Range   string   `json:"range"`
	Gateway string   `json:"gateway,omitempty"`
	DNS     []string `json:"dns,omitempty"`
	// Routes are what else is reached this way, beside the subnet itself.
	Routes []Route `json:"routes,omitempty"`
	// Exclude holds addresses of the range that are never given out.
	Exclude []string `json:"exclude,omitempty"`
	// Portgroup is the network's name in vCenter.
	Portgroup string `json:"portgroup,omitempty"`
}

// Route says through which neighbour a subnet is reached.
type Route struct {
	To  string `json:"to"`
	Via string `json:"via"`
}

// Site is a place where machines are made.
type Site struct {
	APIVersion string   `json:"apiVersion"`
	Kind       Kind     `json:"kind"`
	Metadata   Metadata `json:"metadata"`
	Spec       SiteSpec `json:"spec"`
}

// SiteSpec describes a vCenter.
type SiteSpec struct {
	VSphere *SiteVSphere `json:"vsphere,omitempty"`
	// PhoneHome is the URL at which nodes of this site reach a gateway;
	// empty means the gateway's own public URL.
	PhoneHome string `json:"phoneHome,omitempty"`
}

// SiteVSphere says where the vCenter is, who we are there, and how much of
// it we may use at once.
type SiteVSphere struct {
	// URL of the SDK endpoint: https://vcenter.example/sdk.
	URL string `json:"url"`
	// Username and Password are read by the executor from its own
	// environment or files.
	Username Secret `json:"username"`
	Password Secret `json:"password"`
	// Thumbprint is the SHA-256 fingerprint of the server's certificate;
	// CAFile a PEM bundle at the executor. With neither, the system's CAs.
	Thumbprint string `json:"thumbprint,omitempty"`
	CAFile     string `json:"caFile,omitempty"`
	Datacenter string `json:"datacenter,omitempty"`
	Limits     Limits `json:"limits,omitzero"`
}

// Limits of what runs at once; zero means the default in brackets.
type Limits struct {
	Clones      int `json:"clones,omitempty"`      // per vCenter [8]
	PerTemplate int `json:"perTemplate,omitempty"` // clones of one template [8]
	Operations  int `json:"operations,omitempty"`  // all calls that change something [16]
}

// DocumentKind returns KindFleet.
func (f *Fleet) DocumentKind() Kind { return KindFleet }

// DocumentName returns metadata.name.
func (f *Fleet) DocumentName() string { return f.Metadata.Name }

// DocumentKind returns KindNetwork.
func (n *Network) DocumentKind() Kind { return KindNetwork }

// DocumentName returns metadata.name.
func (n *Network) DocumentName() string { return n.Metadata.Name }

// DocumentKind returns KindSite.
func (s *Site) DocumentKind() Kind { return KindSite }

// DocumentName returns metadata.name.
func (s *Site) DocumentName() string { return s.Metadata.Name }

// Problem is something wrong with a document.
type Problem struct {
	// Path is the field path: spec.pools[0].vsphere.memory.
	Path string
	// Message says what is wrong, Hint how to mend it (may be empty).
	Message string
	Hint    string
}
