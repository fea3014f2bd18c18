package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxDisks leaves room for the template's own on the first controller.
	maxDisks = 12
	maxTags  = 20
	// maxDomains bounds what each new node is compared with.
	maxDomains = 32
	// maxAnnotation bounds what is put before our own note.
	maxAnnotation = 2048
	maxAttribute  = 256
)

// place checks where in a vCenter VMs are made.
func (c *checker) place(path string, v *VSphere) {
	for _, object := range []struct{ name, value string }{
		{"datacenter", v.Datacenter},
		{"cluster", v.Cluster},
		{"host", v.Host},
		{"datastore", v.Datastore},
		{"datastoreCluster", v.DatastoreCluster},
		{"network", v.Network},
	} {
		c.inventoryName(path+"."+object.name, object.value)
	}
	c.inventoryPath(path+".resourcePool", v.ResourcePool, "a resource pool below the cluster's own", "write prod or prod/web")
	if v.Datastore != "" && v.DatastoreCluster != "" {
		c.add(path+".datastoreCluster", "datastore is set, too", "keep one: vCenter chooses the datastore of a cluster")
	}
	c.inventoryPath(path+".folder", v.Folder, "a folder below the datacenter's vm folder", "write web or web/edge")
}

// failureDomains checks the places that nodes are spread over.
func (c *checker) failureDomains(path string, v *VSphere) {
	if len(v.FailureDomains) > maxDomains {
		c.add(path+".failureDomains", fmt.Sprintf("%d failure domains are too many", len(v.FailureDomains)), strconv.Itoa(maxDomains)+" are the most")
		return
	}
	seen := map[string]int{}
	for i := range v.FailureDomains {
		d, at := &v.FailureDomains[i], path+".failureDomains["+strconv.Itoa(i)+"]"
		c.name(at+".name", d.Name)
		if before, ok := seen[d.Name]; ok && d.Name != "" {
			c.add(at+".name", shown(d.Name)+" is the name of another failure domain", fmt.Sprintf("failureDomains[%d] has it, too", before))
		}
		seen[d.Name] = i
		if d.Site != "" || v.Site == "" {
			c.reference(at+".site", d.Site, "Site")
		}
		c.place(at, &VSphere{
			Datacenter: d.Datacenter, Cluster: d.Cluster, Host: d.Host, ResourcePool: d.ResourcePool,
			Datastore: d.Datastore, DatastoreCluster: d.DatastoreCluster, Folder: d.Folder, Network: d.Network,
		})
	}
}

// apart checks what is said about the pool's VMs and each other.
func (c *checker) apart(path string, v *VSphere) {
	if v.AntiAffinity != "" {
		c.oneOf(path, v.AntiAffinity, []string{ApartNone, ApartPreferred, ApartRequired})
	}
	if v.Apart() && v.Host != "" && len(v.FailureDomains) == 0 {
		c.add(path, "host puts all VMs of the pool on one", "remove host, or list failureDomains, each with its own")
	}
}

// inventoryPath checks the way to an object below another.
func (c *checker) inventoryPath(path, way, what, hint string) {
	if way == "" {
		return
	}
	for part := range strings.SplitSeq(way, "/") {
		if part == "" || part == "." || part == ".." {
			c.add(path, shown(way)+" is not "+what, hint)
			return
		}
		c.inventoryName(path, part)
	}
}

func (c *checker) disks(path string, disks []Disk) {
	if len(disks) > maxDisks {
		c.add(path, fmt.Sprintf("%d disks are too many", len(disks)), strconv.Itoa(maxDisks)+" are the most")
		return
	}
	for i, d := range disks {
		at := path + "[" + strconv.Itoa(i) + "]"
		if d.Size == "" {
			c.add(at+".size", "is missing", "write a quantity such as 100Gi")
		}
		c.quantity(at+".size", d.Size, 1<<20, maxDisk)
		if d.Provisioning != "" {
			c.oneOf(at+".provisioning", d.Provisioning, []string{ProvisionThin, ProvisionThick, ProvisionEager})
		}
	}
}

// marks checks what is written on a VM for people.
func (c *checker) marks(path string, v *VSphere) {
	if len(v.Tags) > maxTags {
		c.add(path+".tags", fmt.Sprintf("%d tags are too many", len(v.Tags)), strconv.Itoa(maxTags)+" are the most")
	}
	seen := map[string]bool{}
	for i, tag := range v.Tags {
		at := path + ".tags[" + strconv.Itoa(i) + "]"
		category, name, _ := strings.Cut(tag, "/")
		switch {
		case category == "" || name == "" || !printable(category) || !printable(name):
			c.add(at, shown(tag)+" is not a tag", "write category/name, as vCenter has them")
		case seen[tag]:
			c.add(at, shown(tag)+" is here twice", "")
		}
		seen[tag] = true
	}
	if len(v.Annotation) > maxAnnotation {
		c.add(path+".annotation", fmt.Sprintf("has %d characters", len(v.Annotation)), strconv.Itoa(maxAnnotation)+" are the most")
	}
	c.attributes(path+".customAttributes", v.CustomAttributes)
}

func (c *checker) attributes(path string, attributes map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		at := field(path, name)
		if name == "" {
			c.add(at, "an attribute has a name", "")
		}
		c.inventoryName(at, name)
		if value := attributes[name]; len(value) > maxAttribute || !printable(value) {
			c.add(at, "an attribute's value has at most "+strconv.Itoa(maxAttribute)+" printable characters on one line", "")
		}
	}
}
