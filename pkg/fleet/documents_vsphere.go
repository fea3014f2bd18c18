package fleet

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
	// AntiAffinity keeps the pool's VMs on different hosts: by a rule where
	// the cluster has DRS, else by the choice of each VM's host. One of: none,
	// preferred, required. Default: none.
	AntiAffinity string `json:"antiAffinity,omitempty"`
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

// The values of VSphere.AntiAffinity.
const (
	ApartNone      = "none"
	ApartPreferred = "preferred" // two share a host where there are too few
	ApartRequired  = "required"
)

// Apart reports whether the pool's VMs are to be on different hosts.
func (v *VSphere) Apart() bool {
	return v.AntiAffinity == ApartPreferred || v.AntiAffinity == ApartRequired
}

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
