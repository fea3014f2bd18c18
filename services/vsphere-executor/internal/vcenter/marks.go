package vcenter

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
)

// mark writes on a VM what no clone spec can carry: custom attributes and
// tags. Whoever finishes a new VM repeats it, and only then is the VM switched
// on: one that is on has its marks. What is no longer asked for stays: it may
// be somebody else's by then.
func (c *connection) mark(ctx context.Context, t *executor.Task, vm ref) error {
	v := t.Job.VSphere
	if len(v.CustomAttributes)+len(v.Tags) == 0 {
		return nil
	}
	leave, err := c.turn(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := t.Permit(ctx); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(v.CustomAttributes)) {
		key, err := c.names.attribute(ctx, name)
		if err != nil {
			return err
		}
		if err := object.NewCustomFieldsManager(c.vim).Set(ctx, vm, key, v.CustomAttributes[name]); err != nil {
			return fmt.Errorf("set custom attribute %s: %w", name, err)
		}
	}
	for _, tag := range v.Tags {
		if err := c.tag(ctx, vm, tag); err != nil {
			return err
		}
	}
	return nil
}

// attribute returns the key of a custom attribute that VMs can have.
func (n *names) attribute(ctx context.Context, name string) (int32, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.attributes == nil {
		defined, err := object.NewCustomFieldsManager(n.vim).Field(ctx)
		if err != nil {
			return 0, fmt.Errorf("list the custom attributes: %w", err)
		}
		n.attributes = map[string]int32{}
		for _, d := range defined {
			if d.ManagedObjectType == "" || d.ManagedObjectType == "VirtualMachine" {
				n.attributes[d.Name] = d.Key
			}
		}
	}
	key, ok := n.attributes[name]
	if !ok {
		n.attributes = nil // somebody may make it
		return 0, fault.WithHint(fault.Newf(fault.Permanent, fault.NotFound, "vCenter has no custom attribute %q for VMs", name),
			"make it in vCenter, or correct vsphere.customAttributes of the pool; then yardctl retry")
	}
	return key, nil
}

// tag attaches a tag, which is harmless where it is attached already.
func (c *connection) tag(ctx context.Context, vm ref, tag string) error {
	return c.rest.use(ctx, func(client *rest.Client) error {
		manager := tags.NewManager(client)
		id, err := c.names.tagID(ctx, manager, tag)
		if err != nil {
			return err
		}
		err = manager.AttachTag(ctx, id, vm)
		if status(err, http.StatusNotFound) {
			c.names.forget() // it was made anew
		}
		if err != nil {
			return fmt.Errorf("attach tag %s: %w", tag, err)
		}
		return nil
	})
}

// tagID finds a tag by category/name.
func (n *names) tagID(ctx context.Context, manager *tags.Manager, tag string) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if id := n.tagIDs[tag]; id != "" {
		return id, nil
	}
	category, name, _ := strings.Cut(tag, "/")
	categories, err := manager.GetCategories(ctx)
	if err != nil {
		return "", fmt.Errorf("list the tag categories: %w", err)
	}
	for _, found := range categories {
		if found.Name != category {
			continue
		}
		in, err := manager.GetTagsForCategory(ctx, found.ID)
		if err != nil {
			return "", fmt.Errorf("list the tags of category %s: %w", category, err)
		}
		for _, found := range in {
			n.tagIDs[category+"/"+found.Name] = found.ID
		}
	}
	if id := n.tagIDs[tag]; id != "" {
		return id, nil
	}
	return "", fault.WithHint(fault.Newf(fault.Permanent, fault.NotFound, "vCenter has no tag %q in category %q", name, category),
		"make it in vCenter, or correct vsphere.tags of the pool (category/name); then yardctl retry")
}
