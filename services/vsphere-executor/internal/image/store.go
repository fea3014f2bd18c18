// Package image brings images from where they are published to the executor's
// own disk, and lets nobody have one that was not checked: its OpenPGP
// signature against a pinned key, its digest where one was given.
//
// A fetch that broke off goes on where it stopped, in a later process too. The
// store's folder is the executor's alone.
package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"yardmaster.dev/pkg/fault"
)

// MaxBytes is the largest image that is fetched; Flatcar's has 0.6 GiB.
const MaxBytes = 32 << 30

// Source is where an image is and how it is known to be the right one.
type Source struct {
	// Location is an http or https URL, or an absolute path at the executor.
	Location string
	// KeyFile holds OpenPGP keys; the one of Fingerprint is trusted, with
	// its subkeys, and no other. The signature is at Location + ".sig".
	KeyFile     string
	Fingerprint string
	// SHA256, if set, is the image's digest in hex.
	SHA256 string
	// Unsigned leaves the signature out: SHA256 must be set then.
	Unsigned bool
}

// Progress is told how much is there; total is 0 while it is not known.
type Progress func(done, total int64)

// Store keeps images in a folder.
type Store struct {
	Dir string
	// Client fetches URLs, by default http.DefaultClient.
	Client *http.Client
	// Open opens what a Source names by path, by default os.Open.
	Open func(name string) (*os.File, error)
}

// Image is a checked image, open for reading. Nobody else can fetch or remove
// it until it is closed.
type Image struct {
	*os.File
	Size   int64
	SHA256 string
	// Signer is the fingerprint of the trusted key, empty if unsigned.
	Signer string
	lock   *os.File
}

// Close lets go of the image, which stays in the store.
func (i *Image) Close() error { return errors.Join(i.File.Close(), i.lock.Close()) }

// Fetch returns the image of that name, from the store if it is there. The
// second call goes on with what the first one left. What is not what it should
// be is removed, so that the next call begins anew.
func (s *Store) Fetch(ctx context.Context, name string, from Source, tell Progress) (*Image, error) {
	trust, err := s.trust(ctx, name, from)
	if err != nil {
		return nil, err
	}
	lock, err := s.lock(name)
	if err != nil {
		return nil, err
	}
	image, err := s.fetch(ctx, name, from, trust, tell)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	image.lock = lock
	return image, nil
}

func (s *Store) fetch(ctx context.Context, name string, from Source, trust *trust, tell Progress) (*Image, error) {
	if tell == nil {
		tell = func(int64, int64) {}
	}
	f, err := os.Open(s.file(name))
	if errors.Is(err, os.ErrNotExist) {
		if err = s.bring(ctx, name, from.Location, tell); err == nil {
			f, err = os.Open(s.file(name))
		}
	}
	if err != nil {
		return nil, err
	}
	image := &Image{File: f}
	if err := image.check(ctx, from, trust); err != nil {
		if fault.Of(err).Reason == fault.ImageUntrusted {
			err = errors.Join(err, os.Remove(s.file(name)), removed(s.signed(name)))
		}
		return nil, errors.Join(err, f.Close())
	}
	if trust != nil {
		// With it the image can be checked again where nothing can be fetched.
		_ = os.WriteFile(s.signed(name), trust.signature, 0o600) // it is fetched again, else
	}
	tell(image.Size, image.Size)
	return image, nil
}

// check reads the image once, for its digest and its signature.
func (i *Image) check(ctx context.Context, from Source, trust *trust) error {
	sum := sha256.New()
	reader := &counted{inner: &stoppable{ctx, i.File}, sum: sum}
	if trust != nil {
		signer, err := trust.verify(reader, from.Location)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		i.Signer = signer
	}
	// A signature may be refused, or a digest wanted, before the end was read.
	if _, err := io.Copy(io.Discard, reader); err != nil {
		return fmt.Errorf("read %s: %w", i.Name(), err)
	}
	i.Size, i.SHA256 = reader.bytes, hex.EncodeToString(sum.Sum(nil))
	if from.SHA256 != "" && !strings.EqualFold(from.SHA256, i.SHA256) {
		return fault.WithHint(fault.Newf(fault.Permanent, fault.ImageUntrusted, "the image at %s has the SHA-256 %s, not %s", from.Location, i.SHA256, from.SHA256),
			"the image or the digest is another one: compare both with where they were published")
	}
	return nil
}

// Remove drops an image, or what was fetched of it so far.
func (s *Store) Remove(name string) error {
	var errs []error
	for _, file := range []string{s.file(name), s.part(name), s.note(name), s.signed(name), s.file(name) + ".lock"} {
		errs = append(errs, removed(file))
	}
	return errors.Join(errs...)
}

// removed removes a file that need not exist.
func removed(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Names are the images that are whole, checked or not.
func (s *Store) Names() []string {
	files, err := os.ReadDir(s.Dir)
	if err != nil {
		return nil // it is made with the first image
	}
	var names []string
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), extension); ok {
			names = append(names, name)
		}
	}
	return names
}

const extension = ".ova"

func (s *Store) file(name string) string { return filepath.Join(s.Dir, filepath.Base(name)+extension) }
func (s *Store) part(name string) string { return s.file(name) + ".part" }
func (s *Store) note(name string) string { return s.file(name) + ".part.json" }

// signed is where the signature of a checked image is kept.
func (s *Store) signed(name string) string { return s.file(name) + ".sig" }

// lock keeps other processes away from an image; the kernel gives it back
// when this one ends.
func (s *Store) lock(name string) (*os.File, error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fault.WithHint(fault.Newf(fault.Transient, fault.ImageUnreachable, "make the folder of images: %w", err), folderHint)
	}
	f, err := os.OpenFile(s.file(name)+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.WithHint(fault.Newf(fault.Transient, fault.ImageUnreachable, "lock the image: %w", err), folderHint)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = fault.Newf(fault.Transient, fault.ImageUnreachable, "another process fetches %s into %s: %w", name, s.Dir, err)
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

const folderHint = "the executor's imagesDir must be a folder that it may write to, with room for an image"

// counted counts and hashes what is read through it.
type counted struct {
	inner io.Reader
	bytes int64
	sum   hash.Hash
}

// Read implements io.Reader.
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.inner.Read(b)
	c.bytes += int64(n)
	_, _ = c.sum.Write(b[:n]) // a hash takes everything
	return n, err
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
