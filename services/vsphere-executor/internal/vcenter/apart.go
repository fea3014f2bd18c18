package vcenter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
)

// neighbourhood is a cluster (or lone host) as it is right now, as far as
// machines that avoid each other care.
type neighbourhood struct {
	ref   ref
	name  string
	hosts []berthPlace
	vms   []resident
	// ruling means that DRS chooses the hosts of VMs by the cluster's rules.
	ruling bool
	rules  []types.BaseClusterRuleInfo
}

// berthPlace is a host.
type berthPlace struct {
	ref  ref
	name string
	// away is why it takes no VM; empty if it does.
	away    string
	reaches []ref
}

// resident is a VM of the cluster.
type resident struct {
	ref   ref
	host  ref
	owner executor.Owner
	on    bool
	// blind means that vCenter cannot read it: it may be anybody's.
	blind bool
}

// pathsOfCluster are told of clusters, and by lone hosts as far as they have
// them.
var pathsOfCluster = []string{"name", "host", pathClusterConfig}

const pathClusterConfig = "configurationEx"

// cluster reads a cluster and its rules, not who is in it.
func (c *connection) cluster(ctx context.Context, r ref) (*neighbourhood, error) {
	objects, err := retrieve(ctx, c.vim, []ref{r}, pathsOfCluster...)
	if err != nil {
		return nil, fmt.Errorf("read cluster %s: %w", r.Value, err)
	}
	if len(objects) == 0 {
		return nil, fault.Newf(fault.Transient, fault.NotFound, "cluster %s does not exist any more", r.Value)
	}
	o := objects[0]
	n := &neighbourhood{ref: r, name: value[string](o, "name")}
	for _, h := range value[types.ArrayOfManagedObjectReference](o, "host").ManagedObjectReference {
		n.hosts = append(n.hosts, berthPlace{ref: h})
	}
	config := value[types.ClusterConfigInfoEx](o, pathClusterConfig)
	n.rules = config.Rule
	drs := config.DrsConfig
	n.ruling = drs.Enabled != nil && *drs.Enabled && drs.DefaultVmBehavior != types.DrsBehaviorManual
	c.names.rule(r, n.rules)
	return n, nil
}

// rule remembers which rules of ours a cluster has.
func (n *names) rule(cluster ref, rules []types.BaseClusterRuleInfo) {
	ours := []string{}
	for _, r := range rules {
		if name := r.GetClusterRuleInfo().Name; strings.HasPrefix(name, rulePrefix) {
			ours = append(ours, name)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ruled[cluster] = ours
}

// hasRule reports whether a cluster has a rule of ours. It is asked for pools
// that want none, so that what it costs does not grow with them.
func (c *connection) hasRule(ctx context.Context, cluster ref, name string) (bool, error) {
	if cluster.Type != "ClusterComputeResource" {
		return false, nil
	}
	c.names.mu.Lock()
	ours, ok := c.names.ruled[cluster]
	c.names.mu.Unlock()
	if ok {
		return slices.Contains(ours, name), nil
	}
	err := c.visit(ctx, cluster, func(n *neighbourhood) error { // nobody changes meanwhile what is remembered
		ok = slices.ContainsFunc(n.rules, func(r types.BaseClusterRuleInfo) bool { return r.GetClusterRuleInfo().Name == name })
		return nil
	})
	return ok, err
}

// populate reads a cluster's hosts and VMs.
func (c *connection) populate(ctx context.Context, n *neighbourhood) error {
	refs := make([]ref, 0, len(n.hosts))
	for _, h := range n.hosts {
		refs = append(refs, h.ref)
	}
	if len(refs) == 0 {
		return nil
	}
	objects, err := retrieve(ctx, c.vim, refs, "name", "runtime.connectionState", "runtime.inMaintenanceMode", "network", "datastore", "vm")
	if err != nil {
		return fmt.Errorf("read the hosts of cluster %s: %w", n.name, err)
	}
	n.hosts = n.hosts[:0]
	at := map[ref]ref{}
	var vms []ref
	for _, o := range objects {
		n.hosts = append(n.hosts, berthPlaceOf(o))
		for _, vm := range value[types.ArrayOfManagedObjectReference](o, "vm").ManagedObjectReference {
			at[vm] = o.Obj
			vms = append(vms, vm)
		}
	}
	slices.SortFunc(n.hosts, func(a, b berthPlace) int { return strings.Compare(a.name, b.name) })
	for page := range slices.Chunk(vms, pageSize) {
		objects, err := retrieve(ctx, c.vim, page, "runtime.powerState", "config.instanceUuid", extraPath(keyOwner))
		if err != nil {
			return fmt.Errorf("read the VMs of cluster %s: %w", n.name, err)
		}
		for _, o := range objects {
			n.vms = append(n.vms, residentOf(o, at[o.Obj]))
		}
	}
	return nil
}

func berthPlaceOf(o types.ObjectContent) berthPlace {
	h := berthPlace{ref: o.Obj, name: value[string](o, "name"), reaches: reachedBy(o)}
	state := value[types.HostSystemConnectionState](o, "runtime.connectionState")
	switch {
	case state != types.HostSystemConnectionStateConnected:
		h.away = "is " + string(state)
	case value[bool](o, "runtime.inMaintenanceMode"):
		h.away = "is in maintenance"
	}
	return h
}

// reachedBy are the networks and datastores of a host.
func reachedBy(o types.ObjectContent) []ref {
	return slices.Concat(
		value[types.ArrayOfManagedObjectReference](o, "network").ManagedObjectReference,
		value[types.ArrayOfManagedObjectReference](o, "datastore").ManagedObjectReference,
	)
}

func residentOf(o types.ObjectContent, host ref) resident {
	r := resident{ref: o.Obj, host: host, on: value[types.VirtualMachinePowerState](o, "runtime.powerState") == types.VirtualMachinePowerStatePoweredOn}
	key := extraValue(o, keyOwner)
	r.blind = key == "" && value[string](o, "config.instanceUuid") == ""
	if owner, err := executor.ParseOwner(key); err == nil {
		r.owner = owner
	}
	return r
}

// poolOf is the pool of a node's key.
func poolOf(node string) string { return node[:max(0, strings.LastIndexByte(node, '-'))] }

// samePool reports whether two machines belong to one pool.
func samePool(a, b executor.Owner) bool {
	return a.Yard == b.Yard && a.FleetUID == b.FleetUID && poolOf(a.Node) == poolOf(b.Node)
}

// visit has its turn at a cluster and works on what it sees there.
func (c *connection) visit(ctx context.Context, cluster ref, work func(*neighbourhood) error) error {
	leave, err := c.berths.turn(ctx, cluster)
	if err != nil {
		return err
	}
	defer leave()
	n, err := c.cluster(ctx, cluster)
	if err != nil {
		return err
	}
	return work(n)
}

// keepApart makes sure that a VM which is about to be switched on keeps its
// distance from the others of its pool: DRS has a rule that says so, or the VM
// lies on a host of its own. What was seen is all that counts, so that it may
// be done again at any time.
func (c *connection) keepApart(ctx context.Context, t *executor.Task, vm ref) error {
	p, err := c.names.place(ctx, t.Job)
	if err != nil {
		return err
	}
	if !t.Job.VSphere.Apart() {
		return c.ifRuled(ctx, t, p.compute, c.dropRule)
	}
	return c.visit(ctx, p.compute, func(n *neighbourhood) error {
		ruling := n.ruling && p.host == nil
		if ruling && n.ruled(t, vm) {
			return nil
		}
		if err := c.populate(ctx, n); err != nil {
			return err
		}
		if ruling {
			return c.setRule(ctx, t, n)
		}
		if err := c.dropRule(ctx, t, n); err != nil || !required(t) {
			return err
		}
		return c.alone(ctx, t, n, p, vm)
	})
}

// ifRuled does something with a pool's rule if there is one.
func (c *connection) ifRuled(ctx context.Context, t *executor.Task, cluster ref, do func(context.Context, *executor.Task, *neighbourhood) error) error {
	// A pool that has no rule needs no right to read of any.
	if ruled, err := c.hasRule(ctx, cluster, ruleName(t)); err != nil || !ruled {
		return ignoreDenied(err)
	}
	return c.visit(ctx, cluster, func(n *neighbourhood) error {
		if err := c.populate(ctx, n); err != nil {
			return err
		}
		return do(ctx, t, n)
	})
}

func ignoreDenied(err error) error {
	if is[*types.NoPermission](err) {
		return nil
	}
	return err
}

// errCrowded means that no host is left for a VM.
var errCrowded = errors.New("antiAffinity: required leaves no host")

// crowded says why there is no host for a VM.
func crowded(t *executor.Task, n *neighbourhood, why []string) error {
	return fault.WithHint(
		fault.Newf(fault.Transient, fault.NoResources, "%w of %s for VM %s: %s", errCrowded, n.name, name(t), some(why)),
		"add a host or bring one back, lower the pool's replicas (or its maxSurge), or write antiAffinity: preferred; then yardctl retry")
}
