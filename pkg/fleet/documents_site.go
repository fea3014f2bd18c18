package fleet

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
	// URL is that of the SDK endpoint: https://vcenter.example/sdk, or that of
	// a lone ESXi.
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
	// it is filled in. Or library:NAME/ITEM, an item of a content library of
	// this vCenter; {version} in it is filled in, too, and without an item it
	// is flatcar-VERSION. Default: Flatcar's own release server.
	From string `json:"from,omitempty"`
	// KeyFile is a file at the executor with OpenPGP keys; the one of the
	// fingerprint is trusted and no other. Only a content library, which
	// vCenter answers for, does without.
	KeyFile string `json:"keyFile,omitempty"`
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
	// Clones is how many clones are made at a time, on a lone ESXi how many
	// uploads, two if this is left out. Default: 8.
	Clones int `json:"clones,omitempty"`
	// PerTemplate is how many clones of one template are made at a time.
	// Default: 8.
	PerTemplate int `json:"perTemplate,omitempty"`
	// PerDatastore is how many clones are made at a time on one datastore.
	// Default: 8.
	PerDatastore int `json:"perDatastore,omitempty"`
	// Operations is how many changes of any kind run at a time. Default: 16.
	Operations int `json:"operations,omitempty"`
}
