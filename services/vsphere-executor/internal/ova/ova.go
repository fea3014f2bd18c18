// Package ova reads virtual machines in OVA form (a tar of an OVF descriptor,
// a manifest and disks) and makes VMs of them through vCenter's or a host's
// transfer lease (NFC).
//
// An OVA comes from outside: everything in it is bounded, and its digests are
// checked by [Package.Verify]. Who made it is not this package's business:
// check its signature before anything is deployed.
package ova

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/vmware/govmomi/ovf"
)

// What an OVA may hold. Flatcar's has three entries and a descriptor of
// 16 KiB.
const (
	maxEntries    = 64
	maxDescriptor = 4 << 20
	maxManifest   = 256 << 10
	maxName       = 255
)

// Package is an opened OVA.
type Package struct {
	// Descriptor is the OVF document as it was written, Envelope what it
	// says.
	Descriptor []byte
	Envelope   *ovf.Envelope
	// Files are all entries, in their order.
	Files []File

	manifest map[string]digest
	from     io.ReaderAt
}

// File is one entry of an OVA.
type File struct {
	Name   string
	Size   int64
	offset int64
}

// Open reads the table of contents, the descriptor and the manifest of an OVA
// of that many bytes. The reader must stay as it is for as long as the Package
// is used.
func Open(r io.ReaderAt, size int64) (*Package, error) {
	p := &Package{from: r}
	if err := p.list(size); err != nil {
		return nil, err
	}
	if err := p.describe(); err != nil {
		return nil, err
	}
	return p, p.readManifest()
}

// list walks the tar's headers.
func (p *Package) list(size int64) error {
	section := io.NewSectionReader(p.from, 0, size)
	archive := tar.NewReader(section)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the OVA as a tar archive: %w", err)
		}
		if err := p.entry(h); err != nil {
			return err
		}
		// The tar reader takes whole headers and nothing beyond.
		at, err := section.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if h.Size > size-at {
			return fmt.Errorf("the OVA ends in the middle of %s: %w", h.Name, io.ErrUnexpectedEOF)
		}
		p.Files = append(p.Files, File{Name: h.Name, Size: h.Size, offset: at})
	}
	if len(p.Files) == 0 {
		return errors.New("the OVA holds no files")
	}
	return nil
}

// entry refuses what has no place in an OVA.
func (p *Package) entry(h *tar.Header) error {
	switch {
	case len(p.Files) == maxEntries:
		return fmt.Errorf("the OVA has more than %d entries", maxEntries)
	case h.Typeflag != tar.TypeReg:
		return fmt.Errorf("the OVA's entry %q is no plain file", h.Name)
	case h.Name == "" || len(h.Name) > maxName || path.Base(h.Name) != h.Name || strings.ContainsFunc(h.Name, unprintable):
		return fmt.Errorf("the OVA's entry %q has a name that a file must not have", h.Name)
	case p.index(h.Name) >= 0:
		return fmt.Errorf("the OVA has two entries of the name %q", h.Name)
	}
	return nil
}

func unprintable(r rune) bool { return r < ' ' || r == 0x7f }

func (p *Package) index(name string) int {
	return slices.IndexFunc(p.Files, func(f File) bool { return f.Name == name })
}

// Open returns the content of a file.
func (p *Package) Open(name string) (io.Reader, int64, error) {
	i := p.index(name)
	if i < 0 {
		return nil, 0, fmt.Errorf("the OVA has no file %q", name)
	}
	f := p.Files[i]
	return io.NewSectionReader(p.from, f.offset, f.Size), f.Size, nil
}

// only returns the one file with an extension, empty if there is none.
func (p *Package) only(extension string) (string, error) {
	var hits []string
	for _, f := range p.Files {
		if strings.EqualFold(path.Ext(f.Name), extension) {
			hits = append(hits, f.Name)
		}
	}
	if len(hits) > 1 {
		return "", fmt.Errorf("the OVA has %d %s files: %s", len(hits), extension, strings.Join(hits, ", "))
	}
	return strings.Join(hits, ""), nil
}

// content reads a small file whole.
func (p *Package) content(name string, most int64) ([]byte, error) {
	r, size, err := p.Open(name)
	if err != nil {
		return nil, err
	}
	if size > most {
		return nil, fmt.Errorf("%s has %d bytes; at most %d are read", name, size, most)
	}
	return io.ReadAll(r)
}

// describe reads the descriptor and checks what deploying relies on.
func (p *Package) describe() error {
	name, err := p.only(".ovf")
	if err != nil {
		return err
	}
	if name == "" {
		return errors.New("the OVA holds no .ovf descriptor")
	}
	if p.Descriptor, err = p.content(name, maxDescriptor); err != nil {
		return err
	}
	if p.Envelope, err = ovf.Unmarshal(bytes.NewReader(p.Descriptor)); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	system := p.Envelope.VirtualSystem
	if system == nil || len(system.VirtualHardware) != 1 {
		return fmt.Errorf("%s does not describe one virtual machine with its hardware", name)
	}
	for _, f := range p.Envelope.References {
		i := p.index(f.Href)
		if i < 0 {
			return fmt.Errorf("%s refers to %q, which is not in the OVA", name, f.Href)
		}
		if f.Size != 0 && uint64(f.Size) != uint64(p.Files[i].Size) { //nolint:gosec // sizes of files are not negative
			return fmt.Errorf("%s says that %s has %d bytes; it has %d", name, f.Href, f.Size, p.Files[i].Size)
		}
	}
	return nil
}
