package fleet

import "cmp"

// Domains are the names of the pool's failure domains, in order.
func (p *Pool) Domains() []string {
	if p.VSphere == nil {
		return nil
	}
	var out []string
	for i := range p.VSphere.FailureDomains {
		out = append(out, p.VSphere.FailureDomains[i].Name)
	}
	return out
}

// In is the pool as it is in one of its failure domains: itself if it has
// none of that name.
func (p *Pool) In(domain string) *Pool {
	if p.VSphere == nil {
		return p
	}
	for i := range p.VSphere.FailureDomains {
		if d := &p.VSphere.FailureDomains[i]; d.Name == domain {
			out, v := *p, p.VSphere.in(d)
			out.VSphere = &v
			return &out
		}
	}
	return p
}

func (v *VSphere) in(d *FailureDomain) VSphere {
	out := *v
	out.FailureDomains = nil
	out.Site, out.Datacenter = cmp.Or(d.Site, v.Site), cmp.Or(d.Datacenter, v.Datacenter)
	if d.Cluster != "" {
		out.Cluster, out.Host, out.ResourcePool = d.Cluster, "", ""
	}
	out.Host, out.ResourcePool = cmp.Or(d.Host, out.Host), cmp.Or(d.ResourcePool, out.ResourcePool)
	if d.Datastore != "" || d.DatastoreCluster != "" {
		out.Datastore, out.DatastoreCluster = d.Datastore, d.DatastoreCluster
	}
	out.Folder, out.Network = cmp.Or(d.Folder, v.Folder), cmp.Or(d.Network, v.Network)
	return out
}

// Places are the pool as it is in each of its failure domains, itself if it
// has none.
func (p *Pool) Places() []*Pool {
	domains := p.Domains()
	if len(domains) == 0 {
		return []*Pool{p}
	}
	var out []*Pool
	for _, d := range domains {
		out = append(out, p.In(d))
	}
	return out
}

// Sites are the Sites that the pool's machines are made at, each once.
func (p *Pool) Sites() []string {
	if p.VSphere == nil {
		return nil
	}
	var out []string
	seen := map[string]bool{}
	for _, at := range p.Places() {
		if s := at.VSphere.Site; s != "" && !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
