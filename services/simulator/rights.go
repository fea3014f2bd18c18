package simulator

import (
	"fmt"
	"path"
	"slices"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Denial is a privilege that the account lacks. Whoever asks the vCenter what
// the account may do hears of it, and calls that change something and need it
// are refused.
type Denial struct {
	// Privilege is a pattern of privilege ids as path.Match has it; empty
	// means all.
	Privilege string `json:"privilege,omitempty"`
	// On is a pattern of names of objects, which is meant for all that lies in
	// them too; empty means all.
	On string `json:"on,omitempty"`
}

// Validate returns what is wrong with the denial, or nil.
func (d Denial) Validate() error {
	for _, pattern := range []string{d.Privilege, d.On} {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("%q is not a pattern: %w", pattern, err)
		}
	}
	return nil
}

// rights holds what is denied.
type rights struct {
	mu     sync.Mutex
	denied []Denial
}

func (r *rights) set(denied []Denial) error {
	for i, d := range denied {
		if err := d.Validate(); err != nil {
			return fmt.Errorf("denial %d: %w", i, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.denied = append([]Denial{}, denied...)
	return nil
}

func (r *rights) list() []Denial {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Denial{}, r.denied...)
}

// any reports whether anything is denied at all.
func (r *rights) any() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.denied) > 0
}

// denies reports whether the account lacks a privilege on an object, of which
// lineage has the name and those of all that it lies in.
func (r *rights) denies(privilege string, lineage []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.denied, func(d Denial) bool {
		return fits(d.Privilege, privilege) && slices.ContainsFunc(lineage, func(name string) bool { return fits(d.On, name) })
	})
}

func fits(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return pattern == "" || err == nil && ok
}

// rightsCall answers in place of the simulator, which grants everything.
type rightsCall struct {
	free
	*simulator.AuthorizationManager
	w *World
}

// HasUserPrivilegeOnEntities says which of the privileges are not denied.
func (c *rightsCall) HasUserPrivilegeOnEntities(ctx *simulator.Context, req *types.HasUserPrivilegeOnEntities) soap.HasFault {
	res := &types.HasUserPrivilegeOnEntitiesResponse{}
	for _, ref := range req.Entities {
		names := c.w.lineage(ctx, ref)
		answer := types.EntityPrivilege{Entity: ref}
		for _, id := range req.PrivId {
			answer.PrivAvailability = append(answer.PrivAvailability, types.PrivilegeAvailability{
				PrivId: id, IsGranted: !c.w.rights.denies(id, names),
			})
		}
		res.Returnval = append(res.Returnval, answer)
	}
	return &methods.HasUserPrivilegeOnEntitiesBody{Res: res}
}
