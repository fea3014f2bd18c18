package vcenter

import (
	"context"
	"slices"
	"strings"

	"github.com/vmware/govmomi/object"

	"yardmaster.dev/pkg/fleet"
)

// The rights that the executor's account needs; docs/operate.md has the same
// list for people.
var (
	rightsRoot      = []string{"Sessions.ValidateSession"}
	rightsTemplate  = []string{"VirtualMachine.Provisioning.DeployTemplate"}
	rightsPool      = []string{"Resource.AssignVMToPool"}
	rightsDatastore = []string{"Datastore.AllocateSpace"}
	rightsNetwork   = []string{"Network.Assign"}
	rightsFolder    = []string{
		"VirtualMachine.Inventory.CreateFromExisting", "VirtualMachine.Inventory.Delete",
		"VirtualMachine.Config.AddNewDisk", "VirtualMachine.Config.AddRemoveDevice", "VirtualMachine.Config.EditDevice",
		"VirtualMachine.Config.AdvancedConfig", "VirtualMachine.Config.CPUCount", "VirtualMachine.Config.Memory",
		"VirtualMachine.Config.DiskExtend", "VirtualMachine.Config.Settings", "VirtualMachine.Config.Annotation",
		"VirtualMachine.Interact.PowerOn", "VirtualMachine.Interact.PowerOff",
	}
	// rightsHost are those on a lone host's folder: all but the first, since
	// nothing is cloned there.
	rightsHost = append([]string{"VirtualMachine.Inventory.Create", "VApp.Import"}, rightsFolder[1:]...)

	rightsTagging = []string{"InventoryService.Tagging.AttachTag"}
	// rightsCluster are needed for pools whose VMs DRS keeps apart.
	rightsCluster = []string{"Host.Inventory.EditCluster"}
	// rightsConsole are of use to yardctl logs only.
	rightsConsole = []string{"Datastore.Browse"}

	rightsImportPool      = []string{"VApp.Import", "Resource.AssignVMToPool"}
	rightsImportDatastore = []string{"Datastore.FileManagement", "Datastore.AllocateSpace"}
	rightsImportFolder    = []string{
		"VirtualMachine.Inventory.Create", "VirtualMachine.Provisioning.MarkAsTemplate", "VirtualMachine.State.CreateSnapshot",
	}
)

const rightMakeFolder = "Folder.Create"

// folderRights are what a pool's machines need of their folder.
func folderRights(v *fleet.VSphere) []string {
	out := slices.Clone(rightsFolder)
	if len(v.CustomAttributes) > 0 {
		out = append(out, "Global.SetCustomField")
	}
	if len(v.Tags) > 0 {
		out = append(out, "InventoryService.Tagging.ObjectAttachable")
	}
	return out
}

// holding is an object, what we must be allowed to do with it, and what would
// be nice to be.
type holding struct {
	entity  ref
	name    string
	needs   []string
	wishes  []string
	because []string
}

func (p *placing) holding(entity ref, name string) *holding {
	i := slices.IndexFunc(p.held, func(h holding) bool { return h.entity == entity })
	if i < 0 {
		i = len(p.held)
		p.held = append(p.held, holding{entity: entity, name: name})
	}
	h := &p.held[i]
	for _, pool := range p.pools {
		if !slices.Contains(h.because, pool) {
			h.because = append(h.because, pool)
		}
	}
	return h
}

// hold notes that rights are needed on an object.
func (p *placing) hold(entity ref, name string, rights ...string) {
	h := p.holding(entity, name)
	for _, r := range rights {
		if !slices.Contains(h.needs, r) {
			h.needs = append(h.needs, r)
		}
	}
}

// like notes that rights are of use on an object.
func (p *placing) like(entity ref, name string, rights ...string) {
	h := p.holding(entity, name)
	for _, r := range rights {
		if !slices.Contains(h.wishes, r) {
			h.wishes = append(h.wishes, r)
		}
	}
}

const rightsHint = "give the account's role these privileges on that object; docs/operate.md lists all that is needed"

// rights asks vCenter what our account lacks. A user is allowed to ask about
// itself.
func (p *placing) rights(ctx context.Context) {
	p.hold(p.c.vim.ServiceContent.RootFolder, "the vCenter itself", rightsRoot...)
	manager := object.NewAuthorizationManager(p.c.vim)
	lacking := false
	for i := range p.held {
		h := &p.held[i]
		p.pools = h.because
		answer, err := manager.HasUserPrivilegeOnEntities(ctx, []ref{h.entity}, p.user, append(slices.Clone(h.needs), h.wishes...))
		if err != nil {
			lacking = true
			p.warn("rights", "let the account ask: it needs Sessions.ValidateSession and System.View at the root",
				"vCenter does not say what %s may do with %s: %v", p.user, h.name, classify(err))
			continue
		}
		var needs, wishes []string
		for _, a := range answer {
			for _, right := range a.PrivAvailability {
				switch {
				case right.IsGranted:
				case slices.Contains(h.needs, right.PrivId):
					needs = append(needs, right.PrivId)
				default:
					wishes = append(wishes, right.PrivId)
				}
			}
		}
		if len(needs) > 0 {
			lacking = true
			p.wrong("rights", rightsHint, "%s lacks on %s (%s): %s", p.user, h.name, h.entity.Value, strings.Join(needs, ", "))
		}
		if len(wishes) > 0 {
			lacking = true
			p.warn("rights", rightsHint, "%s lacks on %s (%s): %s; yardctl logs cannot show the console of a guest that never reported",
				p.user, h.name, h.entity.Value, strings.Join(wishes, ", "))
		}
	}
	p.pools = nil
	if !lacking {
		p.ok("rights", "%s may do all that is needed, on %d objects", p.user, len(p.held))
	}
}
