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
	// OnConfigChange says what becomes of a node whose config changes, and
	// nothing else of it: another machine, or Ignition run again on the same
	// one, by the order that role base takes. One of: replace, rerun. Default:
	// replace.
	OnConfigChange string `json:"onConfigChange,omitempty"`
	// KeepPaths are the files and folders that stay on the disk when Ignition
	// runs again, as regular expressions that match a whole path:
	// /var/lib/data. SSH host keys and /var/log stay always.
	KeepPaths []string `json:"keepPaths,omitempty"`
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

// The values of Pool.OnConfigChange.
const (
	ConfigChangeReplace = "replace"
	ConfigChangeRerun   = "rerun"
)

// The values of Ready.By.
const (
	ReadyByPhoneHome    = "phone-home"
	ReadyByGuestAddress = "guest-address"
)

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
