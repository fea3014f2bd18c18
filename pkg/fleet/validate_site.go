package fleet

import (
	"net/url"
	"regexp"
	"strings"
)

// Validate returns every problem of the site by itself, in the order of its
// fields.
func (s *Site) Validate() []Problem {
	c := &checker{}
	c.header(s.APIVersion, s.Kind, KindSite)
	c.metadata(s.Metadata)
	if s.Spec.VSphere == nil {
		c.add("spec.vsphere", "is missing", "write vsphere: {url: ..., username: ..., password: ...}")
	} else {
		c.vcenter(s.Spec.VSphere)
	}
	if s.Spec.PhoneHome != "" {
		c.url("spec.phoneHome", s.Spec.PhoneHome, []string{"https", "http"})
	}
	return c.problems
}

var sha256Text = regexp.MustCompile(`^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}$`)

func (c *checker) vcenter(v *SiteVSphere) {
	const path = "spec.vsphere"
	if v.URL == "" {
		c.add(path+".url", "is missing", "write https://vcenter.example/sdk")
	} else {
		c.url(path+".url", v.URL, []string{"https"})
	}
	c.secret(path+".username", v.Username)
	c.secret(path+".password", v.Password)
	if v.Thumbprint != "" && !sha256Text.MatchString(v.Thumbprint) {
		c.add(path+".thumbprint", shown(v.Thumbprint)+" is not a SHA-256 fingerprint", "32 pairs of hex digits: AB:CD:...")
	}
	if v.CAFile != "" && (!strings.HasPrefix(v.CAFile, "/") || !printable(v.CAFile)) {
		c.add(path+".caFile", shown(v.CAFile)+" is not an absolute path", "")
	}
	c.inventoryName(path+".datacenter", v.Datacenter)
	if v.Images != nil {
		c.images(path+".images", v.Images)
	}
	c.between(path+".limits.clones", v.Limits.Clones, 0, 640)
	c.between(path+".limits.perTemplate", v.Limits.PerTemplate, 0, 640)
	c.between(path+".limits.perDatastore", v.Limits.PerDatastore, 0, 640)
	c.between(path+".limits.operations", v.Limits.Operations, 0, 2000)
}

// url checks an address of a service. Credentials never stand in it: it is
// shown in lists and logs.
func (c *checker) url(path, text string, schemes []string) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		c.add(path, "is not a URL", "write "+schemes[0]+"://host/...")
	case u.User != nil:
		c.add(path, "holds credentials", "remove what stands before the @; username and password have their own fields")
	case u.Scheme == "http" && schemes[0] == "https" && len(schemes) == 1:
		c.add(path, shown(text)+" is not encrypted", "write https://")
	case u.Host == "" || u.Scheme != schemes[0] && u.Scheme != schemes[len(schemes)-1]:
		c.add(path, shown(text)+" is not a URL of a service", "write "+schemes[0]+"://host/...")
	case u.RawQuery != "" || u.Fragment != "":
		c.add(path, shown(text)+" has a query or a fragment", "remove what follows ? or #")
	}
}
