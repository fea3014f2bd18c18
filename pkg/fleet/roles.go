package fleet

import (
	"net/netip"
	"regexp"
	"slices"
)

// Role is a shipped config layer: a part of a node that many fleets need.
// Its text is the renderer's; here is what people may write about it.
type Role struct {
	Name string
	// Does says in a sentence what it gives the node, Notes what to know
	// before using it (may be empty).
	Does, Notes string
	Params      []Param
}

// Param is a var or a secret that a role reads.
type Param struct {
	// Name is vars.NAME or secrets.NAME.
	Name string
	// Means says what it is, with an example.
	Means string
	// Default is what it is when it is not given; Optional parameters have
	// none, and what needs them in the role falls away.
	Default  string
	Optional bool
	Form     Form
}

// Required reports whether the role cannot do without it.
func (p Param) Required() bool { return !p.Optional && p.Default == "" }

// Form is what a parameter's value must look like.
type Form struct {
	// Is completes "not ...": an https URL.
	Is   string
	fits func(string) bool
}

// Fits reports whether a value has the form.
func (f Form) Fits(value string) bool { return f.fits == nil || f.fits(value) }

func form(is, expression string) Form {
	return Form{Is: is, fits: regexp.MustCompile(`^(?:` + expression + `)$`).MatchString}
}

// isSubnet reports whether a text is an IPv4 subnet, not an address in one.
func isSubnet(s string) bool {
	p, err := netip.ParsePrefix(s)
	return err == nil && p.Addr().Is4() && p.Masked() == p
}

// The shipped roles.
const (
	// RoleBase names the node and makes it phone home.
	RoleBase = "base"
	// RoleStaticNet gives the guest the addresses of its Networks.
	RoleStaticNet     = "static-net"
	RoleNoAutologin   = "no-autologin"
	RoleDocker        = "docker"
	RoleDockerCompose = "docker-compose"
	RoleSwarmWorker   = "swarm-worker"
	RoleK3sAgent      = "k3s-agent"
	RoleRKE2Agent     = "rke2-agent"
	RoleKubeadmJoin   = "kubeadm-join"
	RoleEtcd          = "etcd"
)

// The vars that change which parts a role has.
const (
	VarDockerPool           = "dockerPool"
	VarDockerComposeUpdates = "dockerComposeUpdates"
)

const (
	hostPattern = `[a-z0-9]([a-z0-9.-]*[a-z0-9])?`
	release     = `[0-9]+\.[0-9]+\.[0-9]+`
)

// The forms of parameters. They keep a value from meaning more than itself
// in the file that it is written into.
var (
	formHTTPS    = form("an https URL such as https://k3s.example:6443", `https://`+hostPattern+`(:[0-9]{1,5})?`)
	formMirror   = form("an http or https URL without a slash at its end", `https?://`+hostPattern+`(:[0-9]{1,5})?(/[A-Za-z0-9._~%-]+)*`)
	formHostPort = form("a host and a port such as k8s.example:6443", hostPattern+`:[0-9]{1,5}`)
	formSHA256   = form("the 64 hexadecimal digits of a SHA-256", `[0-9a-f]{64}`)
	formCAHash   = form("sha256: and 64 hexadecimal digits", `sha256:[0-9a-f]{64}`)
	formVersion  = form("a version such as 2.34.0", release)
	formKube     = form("a version such as v1.33.2", `v`+release)
	formK3s      = form("a version such as v1.32.2+k3s1", `v`+release+`\+k3s[0-9]+`)
	formRKE2     = form("a version such as v1.32.3+rke2r1", `v`+release+`\+rke2r[0-9]+`)
	formSubnet   = Form{Is: "a subnet such as 10.200.0.0/16", fits: isSubnet}
	formBits     = form("a prefix length from 8 to 30", `[89]|[12][0-9]|30`)
	formSwitch   = form(`"on" or "off"`, `on|off`)
	formProvider = form(`"external" or ""`, `external|`)
	formState    = form("new or existing", `new|existing`)
	formMembers  = form("a list name=http://address:2380,...", `[a-z0-9.-]+=https?://[a-z0-9.-]+:[0-9]{1,5}(,[a-z0-9.-]+=https?://[a-z0-9.-]+:[0-9]{1,5})*`)
	formToken    = form("a token: one word of letters, digits and : . _ - + / = ~", `[A-Za-z0-9:._+/=~-]+`)
	formJoin     = form("a bootstrap token such as abcdef.0123456789abcdef", `[a-z0-9]{6}\.[a-z0-9]{16}`)
	formSwarm    = form("a join token of docker swarm: SWMTKN-1-...", `SWMTKN-[A-Za-z0-9-]+`)
)

// paramMirror is where extension images come from.
var paramMirror = Param{
	Name: "vars.sysextMirror", Form: formMirror, Default: "https://extensions.flatcar.org/extensions",
	Means: "where the extension image is fetched; mirror it near the nodes, the hash is checked anyway",
}

// Roles is every shipped role, in the order in which a node grows.
var Roles = []Role{
	{
		Name:  RoleBase,
		Does:  "its name, its updates, its report of the first boot",
		Notes: "Writes /etc/hostname, what spec.os says about updates, and the units that report the first successful boot and then, about every minute, how the machine is. The answer to a report may be the order to run Ignition again (onConfigChange: rerun).",
	},
	{
		Name: RoleStaticNet, Does: "addresses, routes and name servers of its Networks",
		Notes: "The pool needs networks: [{ref: ...}].",
	},
	{
		Name: RoleNoAutologin, Does: "no login on the console without a password",
		Notes: "The kernel argument goes at the first boot, which then reboots once: the node takes a little longer to become ready.",
	},
	{
		Name: RoleDocker, Does: "docker from boot on",
		Notes: "Without it docker starts at the first use of its socket, and containers do not return after a reboot.",
		Params: []Param{
			{Name: "vars." + VarDockerPool, Form: formSubnet, Optional: true, Means: "addresses for docker's networks, where its own 172.17.0.0/12 would hide yours: 10.200.0.0/16"},
			{Name: "vars.dockerPoolSize", Form: formBits, Default: "24", Means: "prefix length of each of these networks"},
		},
	},
	{
		Name: RoleDockerCompose, Does: "docker compose of a pinned version and hash",
		Notes: "A system extension. With dockerComposeUpdates: \"on\" a timer stages newer versions and asks for a reboot by /run/reboot-required; the node then no longer has the version that is pinned.",
		Params: []Param{
			{Name: "vars.dockerComposeVersion", Form: formVersion, Means: "version: 2.34.0"},
			{Name: "vars.dockerComposeSHA256", Form: formSHA256, Means: "SHA-256 of docker-compose-VERSION-x86-64.raw"},
			{Name: "vars." + VarDockerComposeUpdates, Form: formSwitch, Default: "off", Means: `"on" lets systemd-sysupdate stage newer versions`},
			paramMirror,
		},
	},
	{
		Name: RoleSwarmWorker, Does: "docker from boot on, and a docker swarm to work for",
		Notes: "The token is deleted once the node has joined. It opens the swarm to whoever has it: rotate it after growing.",
		Params: []Param{
			{Name: "vars.swarmManager", Form: formHostPort, Means: "a manager: 10.0.0.1:2377"},
			{Name: "secrets.swarmToken", Form: formSwarm, Means: "what docker swarm join-token worker prints"},
		},
	},
	{
		Name: RoleK3sAgent, Does: "k3s, joined as an agent",
		Notes: "A system extension of a pinned version and hash. The token stays in a file of root's, for the agent reads it at every start: give an agent token, not the server's.",
		Params: []Param{
			{Name: "vars.k3sServer", Form: formHTTPS, Means: "the server: https://k3s.example:6443"},
			{Name: "vars.k3sVersion", Form: formK3s, Means: "version: v1.32.2+k3s1"},
			{Name: "vars.k3sSHA256", Form: formSHA256, Means: "SHA-256 of k3s-VERSION-x86-64.raw"},
			{Name: "secrets.k3sToken", Form: formToken, Means: "the agent token"},
			paramMirror,
		},
	},
	{
		Name: RoleRKE2Agent, Does: "RKE2, joined as an agent",
		Notes: "A system extension of a pinned version and hash. The token stays in a file of root's, for the agent reads it at every start: give an agent token, not the server's.",
		Params: []Param{
			{Name: "vars.rke2Server", Form: formHTTPS, Means: "the server: https://rke2.example:9345"},
			{Name: "vars.rke2Version", Form: formRKE2, Means: "version: v1.32.3+rke2r1"},
			{Name: "vars.rke2SHA256", Form: formSHA256, Means: "SHA-256 of rke2-VERSION-x86-64.raw"},
			{Name: "secrets.rke2Token", Form: formToken, Means: "the agent token"},
			paramMirror,
		},
	},
	{
		Name: RoleKubeadmJoin, Does: "Kubernetes, joined by kubeadm as a worker",
		Notes: "A system extension of a pinned version and hash. The token is deleted once the node has joined; it must live until the last node of an apply has. With updates, set spec.os.updates.coordinator: kured, so that nodes are drained before they reboot.",
		Params: []Param{
			{Name: "vars.kubernetesServer", Form: formHostPort, Means: "the API server: k8s.example:6443"},
			{Name: "vars.kubernetesVersion", Form: formKube, Means: "version: v1.33.2"},
			{Name: "vars.kubernetesSHA256", Form: formSHA256, Means: "SHA-256 of kubernetes-VERSION-x86-64.raw"},
			{Name: "vars.kubernetesCAHash", Form: formCAHash, Means: "hash of the cluster's CA: sha256:..."},
			{Name: "secrets.kubernetesToken", Form: formJoin, Means: "what kubeadm token create prints"},
			{Name: "vars.kubernetesCloudProvider", Form: formProvider, Default: "external", Means: `the kubelet's cloud provider; "" where there is no vSphere cloud provider`},
			paramMirror,
		},
	},
	{
		Name: RoleEtcd, Does: "an etcd member; its addresses for other units",
		Notes: "coreos-metadata.service writes the node's own addresses to /run/metadata/flatcar. The pool needs networks: [{ref: ...}] and should be stable: true, so that a member keeps its address. Members speak http: add TLS as a drop-in of your own. A member that was replaced joins with etcdClusterState: existing, after etcdctl member remove and add.",
		Params: []Param{
			{Name: "vars.etcdCluster", Form: formMembers, Means: "the members: etcd-m-0=http://10.0.0.10:2380,..."},
			{Name: "vars.etcdClusterState", Form: formState, Default: "new", Means: "new, or existing for a member of a cluster that runs already"},
		},
	},
}

// RoleNames returns the names of the shipped roles, in their order.
func RoleNames() []string {
	names := make([]string, 0, len(Roles))
	for _, r := range Roles {
		names = append(names, r.Name)
	}
	return names
}

// FindRole returns the role of a name, nil if there is none.
func FindRole(name string) *Role {
	i := slices.IndexFunc(Roles, func(r Role) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return &Roles[i]
}

// Param returns the role's parameter of a name such as vars.k3sServer, nil
// if it has none.
func (r *Role) Param(name string) *Param {
	i := slices.IndexFunc(r.Params, func(p Param) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &r.Params[i]
}
