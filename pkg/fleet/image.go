package fleet

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const (
	// DefaultImagesFrom is Flatcar's release server.
	DefaultImagesFrom = "https://{channel}.release.flatcar-linux.net/amd64-usr"
	// DefaultFingerprint is that of Flatcar's image signing key.
	DefaultFingerprint = "F88CFEDEFF29A5B4D9523864E25D9AED0593B34A"
	// DefaultImagesFolder is where templates are put in vCenter.
	DefaultImagesFolder = "yardmaster-images"
	// ImageFile is the name of Flatcar's OVA.
	ImageFile = "flatcar_production_vmware_ova.ova"
	// DefaultChannel is where a version is looked for that comes without a
	// channel.
	DefaultChannel = "stable"
)

// WithDefaults returns a copy with everything filled in that has a default.
func (s SiteImages) WithDefaults() SiteImages {
	if s.From == "" {
		s.From = DefaultImagesFrom
	}
	if s.Fingerprint == "" {
		s.Fingerprint = DefaultFingerprint
	}
	if s.Folder == "" {
		s.Folder = DefaultImagesFolder
	}
	return s
}

// TemplateOf is the name of a release's template.
func TemplateOf(version string) string { return "flatcar-" + version }

// Image is one image that a site shall have as a template.
type Image struct {
	// Name is the template's.
	Name    string
	Channel string
	Version string
	// From overrides the Site's; if it ends in .ova it is the image itself.
	From string
	// SHA256 is the image's digest in hex; Unsigned takes it by the digest
	// alone.
	SHA256   string
	Unsigned bool
}

// Location is where the image is; from is the Site's answer to that.
func (i Image) Location(from string) string {
	if i.From != "" {
		from = i.From
	}
	channel := i.Channel
	if channel == "" {
		channel = DefaultChannel
	}
	from = strings.ReplaceAll(from, "{channel}", channel)
	if strings.HasSuffix(from, ".ova") {
		return from
	}
	return strings.TrimRight(from, "/") + "/" + i.Version + "/" + ImageFile
}

var (
	imageName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)
	sha256Hex = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)
	keyText   = regexp.MustCompile(`^[0-9A-Fa-f]{40}([0-9A-Fa-f]{24})?$`)
)

// Validate returns what is wrong with an image by itself; the paths are the
// options of yardctl image import.
func (i Image) Validate() []Problem {
	c := &checker{}
	if !imageName.MatchString(i.Name) {
		c.add("name", shown(i.Name)+" cannot be the name of a template", "at most 63 of a-z, 0-9, . and -, a letter or digit at both ends")
	}
	if i.Channel != "" {
		c.oneOf("channel", i.Channel, Channels)
	}
	switch {
	case i.Version != "" && !osVersion.MatchString(i.Version):
		c.add("version", shown(i.Version)+" is not a Flatcar version", "write a release such as 4593.2.5")
	case i.Version == "" && !strings.HasSuffix(i.From, ".ova"):
		c.add("version", "is missing", "write a release such as 4593.2.5, or name the image itself: a path or URL that ends in .ova")
	}
	if i.From != "" {
		c.imageSource("from", i.From)
	}
	if i.SHA256 != "" && !sha256Hex.MatchString(i.SHA256) {
		c.add("sha256", shown(i.SHA256)+" is not a SHA-256", "write its 64 hex digits")
	}
	if i.Unsigned && i.SHA256 == "" {
		c.add("unsigned", "takes an image whose signature is not checked", "say by its sha256 which one it must be")
	}
	return c.problems
}

// images checks where a Site's images come from.
func (c *checker) images(path string, s *SiteImages) {
	if s.From != "" {
		c.imageSource(path+".from", s.From)
	}
	switch {
	case s.KeyFile == "":
		c.add(path+".keyFile", "is missing", "name the file at the executor that holds the publisher's OpenPGP key")
	case !strings.HasPrefix(s.KeyFile, "/") || !printable(s.KeyFile):
		c.add(path+".keyFile", shown(s.KeyFile)+" is not an absolute path", "")
	}
	if s.Fingerprint != "" && !keyText.MatchString(strings.ReplaceAll(s.Fingerprint, " ", "")) {
		c.add(path+".fingerprint", shown(s.Fingerprint)+" is not the fingerprint of an OpenPGP key", "gpg --show-keys prints it: 40 hex digits")
	}
	c.inventoryName(path+".cluster", s.Cluster)
	c.inventoryName(path+".datastore", s.Datastore)
	c.inventoryName(path+".network", s.Network)
	c.inventoryPath(path+".folder", s.Folder, "a folder below the datacenter's vm folder", "write web or web/edge")
}

// imageSource checks a URL or a folder of the executor's.
func (c *checker) imageSource(path, text string) {
	plain := strings.ReplaceAll(text, "{channel}", DefaultChannel)
	if strings.HasPrefix(text, "/") {
		if !printable(text) || slices.Contains(strings.Split(text, "/"), "..") {
			c.add(path, shown(text)+" is not a clean absolute path", "")
		}
		return
	}
	if !strings.Contains(text, "://") {
		c.add(path, shown(text)+" is neither a URL nor an absolute path", fmt.Sprintf("write %s or /srv/flatcar", DefaultImagesFrom))
		return
	}
	c.url(path, plain, []string{"https", "http"})
}
