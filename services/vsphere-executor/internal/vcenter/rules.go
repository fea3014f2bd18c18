package vcenter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

const (
	rulePrefix = "yardmaster "
	// ruleNameMost is what vCenter allows.
	ruleNameMost = 80
	// ruleLeast is how many VMs a rule is about at least.
	ruleLeast = 2
)

// ruleName is the name of a pool's rule: readable, and of this yard and fleet
// alone.
func ruleName(t *executor.Task) string {
	sum := sha256.Sum256([]byte(t.Owner.Yard + "/" + t.Owner.FleetUID + "/" + t.Job.Pool))
	mark := " " + hex.EncodeToString(sum[:8])
	text := rulePrefix + t.Job.Fleet + "/" + t.Job.Pool
	return text[:min(len(text), ruleNameMost-len(mark))] + mark
}

func required(t *executor.Task) bool { return t.Job.VSphere.AntiAffinity == fleet.ApartRequired }

// ruleOf is the pool's rule; nil if there is none.
func (n *neighbourhood) ruleOf(t *executor.Task) types.BaseClusterRuleInfo {
	for _, r := range n.rules {
		if r.GetClusterRuleInfo().Name == ruleName(t) {
			return r
		}
	}
	return nil
}

// ruled reports whether a rule says already what it should of a VM.
func (n *neighbourhood) ruled(t *executor.Task, vm ref) bool {
	r, ok := n.ruleOf(t).(*types.ClusterAntiAffinityRuleSpec)
	return ok && slices.Contains(r.Vm, vm) && asWanted(r, about{r.Vm, required(t)})
}

func asWanted(r *types.ClusterAntiAffinityRuleSpec, want about) bool {
	is := func(b *bool) bool { return b != nil && *b }
	return is(r.Enabled) && is(r.Mandatory) == want.mandatory && len(r.Vm) == len(want.vms) &&
		!slices.ContainsFunc(want.vms, func(vm ref) bool { return !slices.Contains(r.Vm, vm) })
}

// ownRule is the pool's rule as we made it; nil if there is none. A rule of
// our name that is of another kind or about other VMs is somebody else's.
func (n *neighbourhood) ownRule(t *executor.Task) (rule *types.ClusterAntiAffinityRuleSpec, foreign error) {
	found := n.ruleOf(t)
	if found == nil {
		return nil, nil
	}
	rule, ok := found.(*types.ClusterAntiAffinityRuleSpec)
	if !ok {
		return nil, foreignRule(n, t, "it is of another kind")
	}
	for _, r := range n.vms {
		if slices.Contains(rule.Vm, r.ref) && !r.blind && !samePool(r.owner, t.Owner) {
			return nil, foreignRule(n, t, "it is about VM "+r.ref.Value+", too")
		}
	}
	return rule, nil
}

func foreignRule(n *neighbourhood, t *executor.Task, why string) error {
	return fault.WithHint(
		fault.Newf(fault.Permanent, fault.NameTaken, "cluster %s has a rule %q that is not ours: %s", n.name, ruleName(t), why),
		"rename or correct that rule, then yardctl retry")
}

// members are the VMs of the pool, and those in its rule that nobody can read.
func (n *neighbourhood) members(t *executor.Task, rule *types.ClusterAntiAffinityRuleSpec) []ref {
	var out []ref
	for _, r := range n.vms {
		if samePool(r.owner, t.Owner) || r.blind && rule != nil && slices.Contains(rule.Vm, r.ref) {
			out = append(out, r.ref)
		}
	}
	return out
}

// setRule gives the pool the rule that it wants. The caller has its turn at
// the cluster.
func (c *connection) setRule(ctx context.Context, t *executor.Task, n *neighbourhood) error {
	rule, foreign := n.ownRule(t)
	if foreign != nil {
		return foreign
	}
	if err := n.room(t); err != nil {
		return err
	}
	return c.rewrite(ctx, t, n, rule, about{n.members(t, rule), required(t)})
}

// dropRule removes the pool's rule.
func (c *connection) dropRule(ctx context.Context, t *executor.Task, n *neighbourhood) error {
	rule, foreign := n.ownRule(t)
	if rule == nil || foreign != nil {
		return nil //nolint:nilerr // somebody else's stays
	}
	return c.rewrite(ctx, t, n, rule, about{})
}

// room returns an error where DRS cannot obey a rule that must be obeyed: its
// own words for it say less.
func (n *neighbourhood) room(t *executor.Task) error {
	if !required(t) {
		return nil
	}
	var why []string
	hosts, running := 0, 0
	for _, h := range n.hosts {
		if h.away == "" {
			hosts++
		} else {
			why = append(why, h.name+" "+h.away)
		}
	}
	for _, r := range n.vms {
		if r.on && samePool(r.owner, t.Owner) && !r.owner.SameNode(t.Owner) {
			running++
		}
	}
	if running < hosts {
		return nil
	}
	return crowded(t, n, append(why, fmt.Sprintf("%d VMs of the pool run on the %d hosts that take VMs", running, hosts)))
}

// about is what a rule says.
type about struct {
	vms       []ref
	mandatory bool
}

// rewrite makes the rule say what it should; about fewer than two VMs there
// is none.
func (c *connection) rewrite(ctx context.Context, t *executor.Task, n *neighbourhood, old *types.ClusterAntiAffinityRuleSpec, want about) error {
	switch {
	case old == nil && len(want.vms) < ruleLeast, old != nil && len(want.vms) >= ruleLeast && asWanted(old, want):
		return nil
	case len(want.vms) < ruleLeast:
		return c.changeRule(ctx, t, n, &types.ClusterRuleSpec{
			ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationRemove, RemoveKey: old.Key},
		})
	}
	rule, operation := types.ClusterAntiAffinityRuleSpec{}, types.ArrayUpdateOperationAdd
	if old != nil {
		rule, operation = *old, types.ArrayUpdateOperationEdit
	}
	rule.Name, rule.Enabled, rule.Mandatory, rule.Vm = ruleName(t), new(true), new(want.mandatory), want.vms
	return c.changeRule(ctx, t, n, &types.ClusterRuleSpec{ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: operation}, Info: &rule})
}

func (c *connection) changeRule(ctx context.Context, t *executor.Task, n *neighbourhood, change *types.ClusterRuleSpec) error {
	defer c.names.forgetRules(n.ref)
	_, err := c.do(ctx, t, "change_rule", func(ctx context.Context) (*object.Task, error) {
		return object.NewClusterComputeResource(c.vim, n.ref).Reconfigure(ctx, &types.ClusterConfigSpecEx{RulesSpec: []types.ClusterRuleSpec{*change}}, true)
	})
	if is[types.BaseInvalidArgument](err) || gone(err) {
		return errors.Join(errAgain, err) // a VM of the rule went meanwhile, or a rule came
	}
	if err != nil {
		return fmt.Errorf("rule %q of cluster %s: %w", ruleName(t), n.name, err)
	}
	return nil
}

func (n *names) forgetRules(cluster ref) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.ruled, cluster)
}

// leaveRule takes VMs that are gone out of the pool's rule, and the rule away
// with the last but one of them: alone, nobody needs it. It adds nothing, for a
// job that removes may be of a former spec.
func (c *connection) leaveRule(ctx context.Context, t *executor.Task) error {
	if t.Job.VSphere == nil {
		return nil
	}
	cluster, err := c.names.compute(ctx, t.Job)
	switch {
	case err == nil:
		return c.ifRuled(ctx, t, cluster, c.shrinkRule)
	case fault.Of(err).Reason == fault.NotFound:
		return nil // its rules are gone with it
	}
	return err
}

func (c *connection) shrinkRule(ctx context.Context, t *executor.Task, n *neighbourhood) error {
	old, foreign := n.ownRule(t)
	if old == nil || foreign != nil {
		return nil //nolint:nilerr // somebody else's stays
	}
	left := slices.DeleteFunc(n.members(t, old), func(vm ref) bool { return !slices.Contains(old.Vm, vm) })
	return c.rewrite(ctx, t, n, old, about{left, old.Mandatory != nil && *old.Mandatory})
}
