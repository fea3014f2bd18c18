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
	// Name is a DNS label of at most 40 characters, unique per kind.
	Name string `json:"name"`
	// Labels are words of your own to tell documents apart.
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
	// APIVersion is yardmaster.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind is Fleet.
	Kind Kind `json:"kind"`
	// Metadata names the document.
	Metadata Metadata `json:"metadata"`
	// Spec says what the fleet should be.
	Spec FleetSpec `json:"spec"`
}

// FleetSpec is what the fleet should be.
type FleetSpec struct {
	// OS picks the Flatcar release and how it is updated.
	OS OS `json:"os,omitzero"`
	// Config holds layers, merged as Ignition in this order; later wins.
	Config []Layer `json:"config,omitempty"`
	// Vars are values for {{ .vars.NAME }}, the same for every node.
	Vars map[string]string `json:"vars,omitempty"`
	// Secrets say where the renderer finds {{ .secrets.NAME }}; a secret
	// itself never stands in a document.
	Secrets map[string]Secret `json:"secrets,omitempty"`
	// Pools are numbers of equal nodes, at least one.
	Pools []Pool `json:"pools"`
	// Rollout bounds how a change spreads.
	Rollout Rollout `json:"rollout,omitzero"`
	// Protect holds the brakes.
	Protect Protect `json:"protect,omitzero"`
	// Retry bounds the attempts of a node.
	Retry Retry `json:"retry,omitzero"`
}

// OS picks the Flatcar release; the version names the default template,
// flatcar-<version>.
type OS struct {
	// Channel is Flatcar's release channel; informative. One of: stable,
	// beta, alpha, lts.
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
	// Group is the update group, such as stable or lts-2024. Default: the
	// image's.
	Group string `json:"group,omitempty"`
	// Server is the update server: http://nebraska.example/v1/update/.
	// Default: Flatcar's.
	Server string `json:"server,omitempty"`
	// Reboot is what a node does with an update that is ready; etcd-lock
	// lets one node at a time, by a lock in etcd. One of: reboot, etcd-lock,
	// off. Default: reboot.
	Reboot string `json:"reboot,omitempty"`
	// Window is when nodes may reboot. Default: at any time.
	Window *Window `json:"window,omitempty"`
	// Coordinator is who drains and reboots nodes instead of locksmith. One
	// of: kured, fluo.
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
	// File is an absolute path below the service's folder of secrets:
	// /run/secrets/join.
	File string `json:"file,omitempty"`
	// Env is the name of an environment variable; the renderer reads those
	// that begin with YARD_SECRET_.
	Env string `json:"env,omitempty"`
}

// Pool is a number of equal nodes.
type Pool struct {
	// Name is the pool's name; a node is called <fleet>-<pool>-<ordinal>.
	Name string `json:"name"`
	// Replicas is how many nodes the pool starts with; yardctl scale moves
	// the live target.
	Replicas int `json:"replicas"`
	// Hostname is what the guest is called. Default: {{ .fleet }}-{{ .pool
	// }}-{{ .ordinal }}.
	Hostname string `json:"hostname,omitempty"`
	// Networks has one entry per address.
	Networks []PoolNetwork `json:"networks,omitempty"`
	// Config holds the pool's own layers, after the fleet's.
	Config []Layer `json:"config,omitempty"`
	// Vars are the pool's own, over the fleet's.
	Vars map[string]string `json:"vars,omitempty"`
	// Ready says what makes a node ready.
	Ready Ready `json:"ready,omitzero"`
	// Stable keeps a replaced node's name and address: the old machine goes
	// before the new one comes, whatever maxSurge says. Default: false.
	Stable bool `json:"stable,omitempty"`
	// VSphere says how and where VMs are made; required.
	VSphere *VSphere `json:"vsphere,omitempty"`
}

// PoolNetwork gives each node one address: static from the Network ref's
// range, or by DHCP.
type PoolNetwork struct {
	// Ref names the Network that gives a static address.
	Ref string `json:"ref,omitempty"`
	// DHCP means that the address comes by DHCP. Default: false.
	DHCP bool `json:"dhcp,omitempty"`
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
	// By is the sign that a node works. One of: phone-home, guest-address.
	// Default: phone-home.
	By string `json:"by,omitempty"`
	// Timeout is how long a machine may boot before it is made anew.
	// Default: 10m.
	Timeout Duration `json:"timeout,omitzero"`
}

// The values of Ready.By.
const (
	ReadyByPhoneHome    = "phone-home"
	ReadyByGuestAddress = "guest-address"
)

// VSphere says how and where VMs are made.
type VSphere struct {
	// Site names the Site. Left out only where every failure domain names one.
	Site string `json:"site,omitempty"`
	// Source says what a VM is made from. Default: the template
	// flatcar-<version>.
	Source VSphereSource `json:"source,omitzero"`
	// Datacenter is the datacenter's name. Default: the Site's.
	Datacenter string `json:"datacenter,omitempty"`
	// Cluster is a cluster or its resource pool. Default: the datacenter's
	// only one.
	Cluster string `json:"cluster,omitempty"`
	// FailureDomains are the places that the pool's nodes are spread over, by
	// count; each says where it differs.
	FailureDomains []FailureDomain `json:"failureDomains,omitempty"`
	// Host is the one host that the VMs are made on; DRS may move them.
	Host string `json:"host,omitempty"`
	// ResourcePool is a path below the cluster's own pool: prod or prod/web.
	ResourcePool string `json:"resourcePool,omitempty"`
	// Datastore is where the disks are. Default: the datacenter's only one.
	Datastore string `json:"datastore,omitempty"`
	// DatastoreCluster is named instead of a datastore: vCenter recommends one
	// of its datastores for each VM.
	DatastoreCluster string `json:"datastoreCluster,omitempty"`
	// Folder is a VM folder below the datacenter's, made if missing.
	// Default: the fleet's name.
	Folder string `json:"folder,omitempty"`
	// Network is the portgroup of the first card, whatever its networks say.
	Network string `json:"network,omitempty"`
	// CPUs is the number of processors. Default: the template's.
	CPUs int `json:"cpus,omitempty"`
	// Memory is a quantity such as 8Gi. Default: the template's.
	Memory Quantity `json:"memory,omitempty"`
	// Disk is the size of the first disk; a disk only grows. Default: the
	// template's.
	Disk Quantity `json:"disk,omitempty"`
	// Disks are empty ones beside the template's, in order.
	Disks []Disk `json:"disks,omitempty"`
	// Tags are written category/name; both exist in vCenter.
	Tags []string `json:"tags,omitempty"`
	// Annotation is put before our own note that says whose the VM is.
	Annotation string `json:"annotation,omitempty"`
	// CustomAttributes are values by the names of vCenter's attributes, which
	// exist there.
	CustomAttributes map[string]string `json:"customAttributes,omitempty"`
	// Clone is how a VM is made: linked needs a snapshot, and the disk
	// cannot grow. One of: full, linked. Default: full.
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

// FailureDomain is a place for some of a pool's nodes: another vCenter, or
// another part of the same. What it leaves out is the pool's.
type FailureDomain struct {
	// Name tells the pool's failure domains apart.
	Name string `json:"name"`
	// Site names the Site. Default: the pool's.
	Site string `json:"site,omitempty"`
	// Datacenter is the datacenter's name. Default: the pool's.
	Datacenter string `json:"datacenter,omitempty"`
	// Cluster is a cluster's name. Default: the pool's, with its host and
	// resource pool.
	Cluster string `json:"cluster,omitempty"`
	// Host is the one host that the VMs are made on.
	Host string `json:"host,omitempty"`
	// ResourcePool is a path below the cluster's own pool.
	ResourcePool string `json:"resourcePool,omitempty"`
	// Datastore is where the disks are. Default: the pool's, or its cluster
	// of datastores.
	Datastore string `json:"datastore,omitempty"`
	// DatastoreCluster is named instead of a datastore.
	DatastoreCluster string `json:"datastoreCluster,omitempty"`
	// Folder is a VM folder below the datacenter's. Default: the pool's.
	Folder string `json:"folder,omitempty"`
	// Network is the portgroup of the first card. Default: the pool's.
	Network string `json:"network,omitempty"`
}

// Disk is an empty disk.
type Disk struct {
	// Size is a quantity such as 100Gi.
	Size Quantity `json:"size"`
	// Provisioning is how the disk takes its space. One of: thin, thick,
	// eager. Default: thin.
	Provisioning string `json:"provisioning,omitempty"`
}

// The values of Disk.Provisioning.
const (
	ProvisionThin  = "thin"
	ProvisionThick = "thick"
	ProvisionEager = "eager" // thick, and zeroed when it is made
)

// VSphereSource says what a VM is made from.
type VSphereSource struct {
	// Template is the template to clone; must not contradict spec.os.version.
	Template string `json:"template,omitempty"`
}

// Rollout bounds how a change spreads. MaxUnavailable and MaxSurge count
// nodes of one pool; the zero value of both means MaxUnavailable 1.
type Rollout struct {
	// MaxUnavailable is how many nodes of a pool may be missing while a
	// ready one is taken down. Default: 1 if maxSurge is 0, else 0.
	MaxUnavailable *int `json:"maxUnavailable,omitempty"`
	// MaxSurge is how many nodes of a pool may exist beyond its target.
	// Default: 0.
	MaxSurge *int `json:"maxSurge,omitempty"`
}

// Protect holds the brakes.
type Protect struct {
	// Deletion refuses to delete the fleet. Default: false.
	Deletion bool `json:"deletion,omitempty"`
	// MaxDestroyPercent is the most of a fleet's nodes that one command may
	// destroy, replacements counted; a command may override it. Default: 30.
	MaxDestroyPercent *int `json:"maxDestroyPercent,omitempty"`
	// MaxCreate is the most nodes by which one apply or scale may let the
	// fleet grow; a command may override it. Default: 100.
	MaxCreate *int `json:"maxCreate,omitempty"`
}

// Retry bounds the attempts of a node.
type Retry struct {
	// Attempts is how often a stage is tried before the node is given up.
	// Default: 5.
	Attempts int `json:"attempts,omitempty"`
	// Backoff is the wait before the second attempt, doubled each time.
	// Default: 5s.
	Backoff Duration `json:"backoff,omitzero"`
	// MaxBackoff is the longest wait. Default: 5m.
	MaxBackoff Duration `json:"maxBackoff,omitzero"`
}

// Network is a set of addresses to give to nodes.
type Network struct {
	// APIVersion is yardmaster.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind is Network.
	Kind Kind `json:"kind"`
	// Metadata names the document.
	Metadata Metadata `json:"metadata"`
	// Spec says the subnet, and the part of it that is given out.
	Spec NetworkSpec `json:"spec"`
}

// NetworkSpec describes an IPv4 subnet and the part of it that is ours.
type NetworkSpec struct {
	// Subnet is a prefix: 10.0.0.0/24.
	Subnet string `json:"subnet"`
	// Range is what may be given out, first-last inside the subnet, both
	// included: 10.0.0.10-10.0.0.99.
	Range string `json:"range"`
	// Gateway is the default route.
	Gateway string `json:"gateway,omitempty"`
	// DNS are name servers, at most 3.
	DNS []string `json:"dns,omitempty"`
	// Routes are what else is reached this way, beside the subnet itself.
	Routes []Route `json:"routes,omitempty"`
	// Exclude holds addresses of the range that are never given out.
	Exclude []string `json:"exclude,omitempty"`
	// Portgroup is the network's name in vCenter.
	Portgroup string `json:"portgroup,omitempty"`
}

// Route says through which neighbour a subnet is reached.
type Route struct {
	// To is a subnet: 192.168.0.0/16.
	To string `json:"to"`
	// Via is the router's address.
	Via string `json:"via"`
}

// Site is a place where machines are made.
type Site struct {
	// APIVersion is yardmaster.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind is Site.
	Kind Kind `json:"kind"`
	// Metadata names the document.
	Metadata Metadata `json:"metadata"`
	// Spec says where the site is.
	Spec SiteSpec `json:"spec"`
}

// SiteSpec describes a vCenter.
type SiteSpec struct {
	// VSphere says where the vCenter is; required.
	VSphere *SiteVSphere `json:"vsphere,omitempty"`
	// PhoneHome is the URL at which nodes of this site reach a gateway.
	// Default: the renderer's gateway setting.
	PhoneHome string `json:"phoneHome,omitempty"`
}

// SiteVSphere says where the vCenter is, who we are there, and how much of
// it we may use at once.
type SiteVSphere struct {
	// URL is that of the SDK endpoint: https://vcenter.example/sdk.
	URL string `json:"url"`
	// Username is read by the executor from its own environment or files.
	Username Secret `json:"username"`
	// Password is read like the user name.
	Password Secret `json:"password"`
	// Thumbprint is the SHA-256 fingerprint of the server's certificate.
	Thumbprint string `json:"thumbprint,omitempty"`
	// CAFile is a PEM bundle at the executor. Default: the system's CAs.
	CAFile string `json:"caFile,omitempty"`
	// Datacenter is the one of pools that name none. Default: the only one.
	Datacenter string `json:"datacenter,omitempty"`
	// Limits bound what runs at once.
	Limits Limits `json:"limits,omitzero"`
	// Images says where templates come from that are not there.
	Images *SiteImages `json:"images,omitempty"`
}

// SiteImages says where images are fetched from, whose signature makes them
// good, and where in vCenter the templates made of them are put.
type SiteImages struct {
	// From is a URL or a folder at the executor that holds
	// VERSION/flatcar_production_vmware_ova.ova with its .sig; {channel} in
	// it is filled in. Default: Flatcar's own release server.
	From string `json:"from,omitempty"`
	// KeyFile is a file at the executor with OpenPGP keys; the one of the
	// fingerprint is trusted and no other.
	KeyFile string `json:"keyFile"`
	// Fingerprint is that of the key that is trusted. Default: Flatcar's.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Cluster is where templates are registered. Default: the only one.
	Cluster string `json:"cluster,omitempty"`
	// Datastore is where templates lie. Default: the only one.
	Datastore string `json:"datastore,omitempty"`
	// Folder is the templates' VM folder, made if it is missing. Default:
	// yardmaster-images.
	Folder string `json:"folder,omitempty"`
	// Network is the portgroup that the image's networks are mapped to.
	// Default: vCenter's choice.
	Network string `json:"network,omitempty"`
}

// Limits of what runs at once in a vCenter.
type Limits struct {
	// Clones is how many clones are made at a time. Default: 8.
	Clones int `json:"clones,omitempty"`
	// PerTemplate is how many clones of one template are made at a time.
	// Default: 8.
	PerTemplate int `json:"perTemplate,omitempty"`
	// Operations is how many changes of any kind run at a time. Default: 16.
	Operations int `json:"operations,omitempty"`
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
