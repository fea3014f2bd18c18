package plan

import (
	"fmt"
	"slices"

	"yardmaster.dev/pkg/fleet"
)

// importImage writes that a site shall have an image. Whether it has it
// already is for its executor to see: asking again is harmless, and the way to
// have what failed tried again.
func (d *decision) importImage(c *ImportImage) *Receipt {
	s := d.w.Site(c.Site)
	if s == nil {
		return refuse(RefusedNotFound, fmt.Sprintf("there is no Site %s; yardctl get sites lists them", c.Site))
	}
	var words []string
	for _, p := range c.Image.Validate() {
		text := p.Path + ": " + p.Message
		if p.Hint != "" {
			text += "; " + p.Hint
		}
		words = append(words, text)
	}
	if len(words) > 0 {
		return refuse(RefusedInvalid, words...)
	}
	v := s.Document.Spec.VSphere
	if v == nil {
		return refuse(RefusedInvalid, fmt.Sprintf("Site %s has no vsphere section, so that it has no templates", c.Site))
	}
	if v.Images == nil && (!c.Image.Unsigned || c.Image.From == "") {
		return refuse(RefusedInvalid, fmt.Sprintf(
			"Site %s does not say whose images are good: write spec.vsphere.images with the publisher's keyFile, and apply it", c.Site))
	}
	next := d.w.images[c.Site].without(c.Site, c.Image.Name)
	if len(next.Wanted) >= MaxImages {
		return refuse(RefusedInvalid, fmt.Sprintf("Site %s is asked to have %d images already; yardctl image forget takes old ones off", c.Site, MaxImages))
	}
	next.Wanted = append(next.Wanted, WantedImage{Image: c.Image, Asked: d.now, By: d.by})
	d.put("images/"+c.Site, next)
	return accept(0, "Site %s is to have image %s", c.Site, c.Image.Name)
}

// forgetImage takes an image off the list.
func (d *decision) forgetImage(c *ForgetImage) *Receipt {
	old := d.w.images[c.Site]
	if old == nil || !old.wants(c.Name) {
		return refuse(RefusedNotFound, fmt.Sprintf("nobody asked for image %s in Site %s; yardctl get images lists them", c.Name, c.Site))
	}
	d.put("images/"+c.Site, old.without(c.Site, c.Name))
	return accept(0, "image %s is no longer asked for in Site %s; its template, if there is one, stays", c.Name, c.Site)
}

// forgetImages drops the list of a Site that goes.
func (d *decision) forgetImages(site string) {
	if old := d.w.images[site]; old != nil && len(old.Wanted) > 0 {
		d.put("images/"+site, &Images{Site: site})
	}
}

func (r *Images) wants(name string) bool {
	return slices.ContainsFunc(r.Wanted, func(w WantedImage) bool { return w.Name == name })
}

// without is a copy of the record, which may be nil, that lacks an image.
func (r *Images) without(site, name string) *Images {
	out := &Images{Site: site}
	if r != nil {
		out.Wanted = slices.DeleteFunc(slices.Clone(r.Wanted), func(w WantedImage) bool { return w.Name == name })
	}
	return out
}

// Images returns the record of a site's images, nil if nobody asked for any.
func (w *World) Images(site string) *Images { return w.images[site] }

// Template is the template that a pool's machines are made from, and whether
// its image can be imported: only what is named by release can.
func Template(version string, v *fleet.VSphere) (name string, importable bool) {
	if v == nil {
		return "", false
	}
	name = v.Source.Template
	return name, version != "" && name == fleet.TemplateOf(version)
}
