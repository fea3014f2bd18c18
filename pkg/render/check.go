package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"yardmaster.dev/pkg/fleet"
)

// Check returns everything that is wrong with the configs of a fleet's
// pools, as far as it can be known without its secrets. The fleet has passed
// its own Validate.
func Check(f *fleet.Fleet) []fleet.Problem {
	var out []fleet.Problem
	good := map[string]bool{}
	for i := range f.Spec.Pools {
		key := likeness(&f.Spec.Pools[i])
		if good[key] {
			continue // many pools often have one config, and each costs milliseconds
		}
		problems := checkPool(f, i)
		good[key] = len(problems) == 0
		for _, p := range problems {
			if !slices.Contains(out, p) { // a fleet's layer is in every pool
				out = append(out, p)
			}
		}
	}
	return out
}

// likeness is all of a pool that its config's validity hangs on.
func likeness(p *fleet.Pool) string {
	like := fleet.Pool{Hostname: p.Hostname, Networks: p.Networks, Config: p.Config, Vars: p.Vars, Ready: p.Ready}
	if p.VSphere != nil {
		like.VSphere = &fleet.VSphere{UserData: p.VSphere.UserData}
	}
	text, err := json.Marshal(like)
	if err != nil {
		return p.Name
	}
	return string(text)
}

func checkPool(f *fleet.Fleet, i int) []fleet.Problem {
	c, err := compile(f, i)
	if refusal, ok := errors.AsType[*RefusedError](err); ok {
		return refusal.Problems
	}
	path := fmt.Sprintf("spec.pools[%d].config", i)
	if err != nil {
		return []fleet.Problem{{Path: path, Message: err.Error()}}
	}
	if c.userData != "" {
		path = fmt.Sprintf("spec.pools[%d].vsphere.userData", i)
	} else if out := c.checkRoles(&f.Spec.Pools[i], f.Spec.OS.Updates, path); len(out) > 0 {
		return out
	}
	// A sample node shows what only values can: sizes, and what the slow
	// path says.
	_, err = c.sample(f, i)
	if refusal, ok := errors.AsType[*RefusedError](err); ok {
		return refusal.Problems
	}
	if err != nil {
		hint := ""
		if errors.Is(err, ErrTooLarge) {
			hint = "have large files fetched: contents: {source: https://..., verification: {hash: sha256-...}}"
		}
		return []fleet.Problem{{Path: path, Message: err.Error(), Hint: hint}}
	}
	return nil
}

// checkRoles finds pools whose nodes could never become ready, or would not
// get their address.
func (c *Compiled) checkRoles(p *fleet.Pool, updates *fleet.Updates, path string) []fleet.Problem {
	var out []fleet.Problem
	if p.Ready.By != fleet.ReadyByGuestAddress && !c.hasRole(fleet.RoleBase) {
		out = append(out, fleet.Problem{
			Path: path, Message: "the pool's nodes are ready when they phone home, but nothing makes them phone home",
			Hint: "add role: base, or set ready: {by: guest-address}",
		})
	}
	if c.static && !c.hasRole(fleet.RoleStaticNet) && !c.usesAddress() {
		out = append(out, fleet.Problem{
			Path: path, Message: "the pool's nodes have a static address, but nothing tells them",
			Hint: "add role: static-net",
		})
	}
	if updates != nil && !c.hasRole(fleet.RoleBase) {
		out = append(out, fleet.Problem{
			Path: path, Message: "spec.os.updates is written by role base, which the pool does not have",
			Hint: "add role: base, or remove spec.os.updates",
		})
	}
	if !c.static && c.hasRole(fleet.RoleStaticNet) {
		out = append(out, fleet.Problem{
			Path: path, Message: "role static-net needs a static address",
			Hint: "add networks: [{ref: ...}] to the pool, or remove the role",
		})
	}
	return out
}

func (c *Compiled) hasRole(name string) bool {
	return slices.ContainsFunc(c.layers, func(l layer) bool { return l.role != nil && l.role.Name == name })
}
