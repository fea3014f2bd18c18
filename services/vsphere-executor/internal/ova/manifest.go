package ova

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // older OVAs have such manifests; the signature is what proves who made them
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"regexp"
	"strings"
)

// digest is what a manifest says of a file.
type digest struct {
	algorithm string
	sum       string
}

var hashes = map[string]func() hash.Hash{"SHA1": sha1.New, "SHA256": sha256.New, "SHA512": sha512.New}

var manifestLine = regexp.MustCompile(`^(SHA1|SHA256|SHA512) ?\((.+)\) ?= ?([0-9a-fA-F]+)$`)

// readManifest reads the digests; an OVA without a manifest has none, and is
// refused by Verify.
func (p *Package) readManifest() error {
	name, err := p.only(".mf")
	if err != nil || name == "" {
		return err
	}
	body, err := p.content(name, maxManifest)
	if err != nil {
		return err
	}
	p.manifest = map[string]digest{}
	lines := bufio.NewScanner(bytes.NewReader(body))
	for number := 1; lines.Scan(); number++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		m := manifestLine.FindStringSubmatch(text)
		if m == nil {
			return fmt.Errorf("%s line %d is no digest: write SHA256(file)= hex", name, number)
		}
		if p.index(m[2]) < 0 {
			return fmt.Errorf("%s line %d: %q is not in the OVA", name, number, m[2])
		}
		p.manifest[m[2]] = digest{m[1], strings.ToLower(m[3])}
	}
	return lines.Err()
}

// Verify compares every file with the manifest. A file that the descriptor
// needs and the manifest leaves out is an error, as is an OVA without one.
func (p *Package) Verify(ctx context.Context) error {
	if p.manifest == nil {
		return fmt.Errorf("the OVA has no manifest (.mf), so that its files cannot be checked")
	}
	for _, f := range p.Envelope.References {
		if _, ok := p.manifest[f.Href]; !ok {
			return fmt.Errorf("the OVA's manifest leaves %s out", f.Href)
		}
	}
	for _, f := range p.Files {
		want, ok := p.manifest[f.Name]
		if !ok {
			continue
		}
		h := hashes[want.algorithm]()
		if _, err := io.Copy(h, &stoppable{ctx, io.NewSectionReader(p.from, f.offset, f.Size)}); err != nil {
			return fmt.Errorf("read %s: %w", f.Name, err)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != want.sum {
			return fmt.Errorf("%s is damaged: its %s is %s, the manifest says %s", f.Name, want.algorithm, got, want.sum)
		}
	}
	return nil
}

// stoppable ends a long reading with its context.
type stoppable struct {
	ctx context.Context //nolint:containedctx // io.Reader has none
	io.Reader
}

// Read implements io.Reader.
func (s *stoppable) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.Reader.Read(b)
}
