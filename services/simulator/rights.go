package simulator

import (
	"fmt"
	"path"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Denial is a privilege that the account lacks. Whoever asks the vCenter what
// the account may do hears of it; what the account does all the same is not
// refused by it: that is a [Rule] with the fault NoPermission.
type Denial struct {
	// Privilege is a pattern of privilege ids as path.Match has it; empty
	// means all.
	Privilege string `json:"privilege,omitempty"`
	// On is a pattern of names of objects; empty means all.
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

// denies reports whether the account lacks a privilege on an object of that
// name.
func (r *rights) denies(privilege, object string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.denied {
		if fits(d.Privilege, privilege) && fits(d.On, object) {
			return true
		}
	}
	return false
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
		name := ""
		if e, ok := c.w.reg.Get(ref).(mo.Entity); ok {
			ctx.WithLock(e, func() { name = e.Entity().Name })
		}
		answer := types.EntityPrivilege{Entity: ref}
		for _, id := range req.PrivId {
			answer.PrivAvailability = append(answer.PrivAvailability, types.PrivilegeAvailability{
				PrivId: id, IsGranted: !c.w.rights.denies(id, name),
			})
		}
		res.Returnval = append(res.Returnval, answer)
	}
	return &methods.HasUserPrivilegeOnEntitiesBody{Res: res}
}
