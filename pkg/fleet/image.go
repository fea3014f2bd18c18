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
	// libraryScheme begins the name of an item of a content library.
	libraryScheme = "library:"
	// DefaultChannel is where a version is looked for that comes without a
	// channel.
	DefaultChannel = "stable"
)

// Source is where a Site's images come from, its default included.
func (s *SiteImages) Source() string {
	if s == nil {
		return DefaultImagesFrom
	}
	return s.WithDefaults().From
}

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

// Library is the content library, and the item in it, that the image is; from
// is the Site's answer to where images are. It is false if the image is a file.
func (i Image) Library(from string) (library, item string, ok bool) {
	if i.From != "" {
		from = i.From
	}
	library, ok = strings.CutPrefix(from, libraryScheme)
	library, item, named := strings.Cut(library, "/")
	if !named {
		item = i.Name
	}
	return library, strings.NewReplacer("{channel}", i.channel(), "{version}", i.Version).Replace(item), ok
}

func (i Image) channel() string {
	if i.Channel == "" {
		return DefaultChannel
	}
	return i.Channel
}

// Location is where the image is; from is the Site's answer to that.
func (i Image) Location(from string) string {
	if i.From != "" {
		from = i.From
	}
	from = strings.ReplaceAll(from, "{channel}", i.channel())
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
	i.version(c)
	if i.From != "" {
		c.imageSource("from", i.From)
	}
	if i.SHA256 != "" && !sha256Hex.MatchString(i.SHA256) {
		c.add("sha256", shown(i.SHA256)+" is not a SHA-256", "write its 64 hex digits")
	}
	if strings.HasPrefix(i.From, libraryScheme) && i.SHA256 != "" {
		c.add("sha256", "cannot be checked: vCenter makes the template of its library's item by itself", "leave it out")
	}
	if i.Unsigned && i.SHA256 == "" {
		c.add("unsigned", "takes an image whose signature is not checked", "say by its sha256 which one it must be")
	}
	return c.problems
}

func (i Image) version(c *checker) {
	switch {
	case i.Version != "" && !osVersion.MatchString(i.Version):
		c.add("version", shown(i.Version)+" is not a Flatcar version", "write a release such as 4593.2.5")
	case i.Version == "" && !i.itself():
		c.add("version", "is missing", "write a release such as 4593.2.5, or name the image itself: a path or URL that ends in .ova, or library:NAME/ITEM")
	}
}

// itself reports whether From names one image, whatever its version.
func (i Image) itself() bool {
	if name, ok := strings.CutPrefix(i.From, libraryScheme); ok {
		return strings.Contains(name, "/") && !strings.Contains(name, "{version}")
	}
	return strings.HasSuffix(i.From, ".ova")
}

// images checks where a Site's images come from.
func (c *checker) images(path string, s *SiteImages) {
	if s.From != "" {
		c.imageSource(path+".from", s.From)
	}
	switch {
	case s.KeyFile == "" && strings.HasPrefix(s.From, libraryScheme):
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

// imageSource checks a URL, a folder of the executor's, or a content library.
func (c *checker) imageSource(path, text string) {
	if name, ok := strings.CutPrefix(text, libraryScheme); ok {
		library, item, named := strings.Cut(name, "/")
		if library == "" || named && item == "" || !printable(name) {
			c.add(path, shown(text)+" names no item of a content library", "write library:NAME, whose items are called flatcar-VERSION, or library:NAME/ITEM")
		}
		return
	}
	plain := strings.ReplaceAll(text, "{channel}", DefaultChannel)
	if strings.HasPrefix(text, "/") {
		if !printable(text) || slices.Contains(strings.Split(text, "/"), "..") {
			c.add(path, shown(text)+" is not a clean absolute path", "")
		}
		return
	}
	if !strings.Contains(text, "://") {
		c.add(path, shown(text)+" is neither a URL, nor an absolute path, nor a content library", fmt.Sprintf("write %s, /srv/flatcar or library:Flatcar", DefaultImagesFrom))
		return
	}
	c.url(path, plain, []string{"https", "http"})
}
