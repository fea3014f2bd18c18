package simulator

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"reflect"
	"slices"
	"sync"
	"time"
	"unicode"

	"github.com/vmware/govmomi/vim25/types"

	"yardmaster.dev/pkg/fleet"
)

// Verb is something that happens to a VM and that a [Rule] can spoil.
type Verb string

// The verbs. A rule may also name a method of the API, such as CreateFolder
// or RetrievePropertiesEx; it then spoils the call itself.
const (
	OnClone       Verb = "clone"
	OnCreate      Verb = "create"
	OnPowerOn     Verb = "power-on"
	OnPowerOff    Verb = "power-off"
	OnReset       Verb = "reset"
	OnReconfigure Verb = "reconfigure"
	OnRename      Verb = "rename"
	OnDestroy     Verb = "destroy"
	// OnBoot is the guest's boot, OnPhoneHome its first report, OnReport
	// each later word of how it is.
	OnBoot      Verb = "boot"
	OnPhoneHome Verb = "phone-home"
	OnReport    Verb = "report"
	// OnLogin spoils logins: they are refused.
	OnLogin Verb = "login"
)

var verbs = []Verb{
	OnClone, OnCreate, OnPowerOn, OnPowerOff, OnReset, OnReconfigure, OnRename, OnDestroy,
	OnBoot, OnPhoneHome, OnReport, OnLogin,
}

// Rule is one fault.
type Rule struct {
	// On is a verb or the name of an API method.
	On Verb `json:"on"`
	// VM is a pattern of VM names as path.Match has it; empty means all.
	VM string `json:"vm,omitempty"`
	// Count is how many times the rule strikes; zero means always.
	Count int `json:"count,omitempty"`
	// Delay is added to what the thing takes anyway.
	Delay fleet.Duration `json:"delay,omitzero"`
	// Fault is the name of a vSphere fault, such as NoDiskSpace, that the
	// task (or the call, for a method) ends with.
	Fault string `json:"fault,omitempty"`
	// Ghost lets the task do its work and report Fault all the same.
	Ghost bool `json:"ghost,omitempty"`
	// Never is for boot, phone-home and report: it does not happen. A guest
	// without any way to the gateway has never of both.
	Never bool `json:"never,omitempty"`
	// Address is for boot: the guest takes this address instead of its own.
	Address string `json:"address,omitempty"`
	// Unit is for boot: this unit of the guest's config fails.
	Unit string `json:"unit,omitempty"`
}

// Validate returns what is wrong with the rule, or nil.
func (r Rule) Validate() error {
	if _, err := path.Match(r.VM, ""); err != nil {
		return fmt.Errorf("vm %q is not a pattern: %w", r.VM, err)
	}
	if !slices.Contains(verbs, r.On) && !r.isMethod() {
		return fmt.Errorf("on %q is neither a method of the API nor one of %v", r.On, verbs)
	}
	if r.On == OnBoot || r.On == OnPhoneHome || r.On == OnReport {
		return r.validateGuest()
	}
	return r.validateCall()
}

func (r Rule) validateGuest() error {
	if r.Fault != "" || r.Ghost {
		return fmt.Errorf("%s has no fault to choose", r.On)
	}
	if r.On != OnBoot && (r.Address != "" || r.Unit != "") {
		return fmt.Errorf("address and unit are for %s, not for %s", OnBoot, r.On)
	}
	if r.Address == "" {
		return nil
	}
	if _, err := netip.ParseAddr(r.Address); err != nil {
		return fmt.Errorf("address %q: %w", r.Address, err)
	}
	return nil
}

func (r Rule) validateCall() error {
	switch {
	case r.Never || r.Address != "" || r.Unit != "":
		return fmt.Errorf("never, address and unit are for %s, %s and %s, not for %s", OnBoot, OnPhoneHome, OnReport, r.On)
	case r.Ghost && r.Fault == "":
		return errors.New("ghost needs a fault to report")
	case r.Fault != "" && r.On == OnLogin:
		return fmt.Errorf("%s has no fault to choose", r.On)
	case r.Fault != "" && vimFault(r.Fault) == nil:
		return fmt.Errorf("fault %q is not a fault of the vSphere API", r.Fault)
	}
	return nil
}

func (r Rule) isMethod() bool { return r.On != "" && unicode.IsUpper(rune(r.On[0])) }

// Strike is a rule and how often it struck.
type Strike struct {
	Rule
	Struck int `json:"struck"`
}

// faultBook holds the rules that are on.
type faultBook struct {
	mu    sync.Mutex
	rules []Strike
}

func checkRules(rules []Rule) error {
	for i, r := range rules {
		if err := r.Validate(); err != nil {
			return fmt.Errorf("fault %d: %w", i, err)
		}
	}
	return nil
}

// set replaces the rules; the counts begin anew.
func (b *faultBook) set(rules []Rule) error {
	if err := checkRules(rules); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rules = nil
	for _, r := range rules {
		b.rules = append(b.rules, Strike{Rule: r})
	}
	return nil
}

func (b *faultBook) list() []Strike {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Strike{}, b.rules...)
}

// strike returns the first rule that still has a strike for this, and counts
// it; the zero Rule spoils nothing.
func (b *faultBook) strike(on Verb, vm string) Rule {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.rules {
		r := &b.rules[i]
		if r.On != on || r.Count > 0 && r.Struck >= r.Count {
			continue
		}
		if ok, err := path.Match(r.VM, vm); r.VM != "" && (err != nil || !ok) {
			continue
		}
		r.Struck++
		return r.Rule
	}
	return Rule{}
}

// spoilsCalls reports whether any rule names a method, so that the common case
// costs nothing.
func (b *faultBook) spoilsCalls() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.rules, func(s Strike) bool { return s.isMethod() })
}

func (r Rule) fault() types.BaseMethodFault {
	if r.Fault == "" {
		return nil
	}
	return vimFault(r.Fault)
}

// vimFault makes a fault by its name in the API, with the fields that a
// client may show; nil if there is no such fault.
func vimFault(name string) types.BaseMethodFault {
	switch name {
	case "NoDiskSpace":
		return &types.NoDiskSpace{Datastore: "ds1", FileFault: types.FileFault{File: "[ds1]"}}
	case "FileLocked":
		return &types.FileLocked{FileFault: types.FileFault{File: "[ds1]"}}
	case "InsufficientResources":
		return &types.InsufficientResourcesFault{}
	case "InsufficientMemoryResources":
		return &types.InsufficientMemoryResourcesFault{Unreserved: 0, Requested: templateMemory << 20}
	case "InsufficientCpuResources":
		return &types.InsufficientCpuResourcesFault{Unreserved: 0, Requested: 1000}
	case "SystemError":
		return &types.SystemError{Reason: "simulated"}
	case "NoPermission":
		return &types.NoPermission{
			Object:      &types.ManagedObjectReference{Type: "Folder", Value: "group-v3"},
			PrivilegeId: "VirtualMachine.Inventory.CreateFromExisting",
		}
	case "InvalidArgument":
		return &types.InvalidArgument{InvalidProperty: "spec.location"}
	}
	kind, ok := types.TypeFunc()(name)
	if !ok || kind.Kind() != reflect.Struct {
		return nil
	}
	fault, _ := reflect.TypeAssert[types.BaseMethodFault](reflect.New(kind))
	return fault
}

// pause is how long a thing takes: about as long as usual, and what the rule
// adds.
func (w *World) pause(usual fleet.Duration, r Rule) time.Duration {
	return w.jitter(usual.Duration) + r.Delay.Duration
}
