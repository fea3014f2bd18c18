package vcenter

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/services/vsphere-executor/internal/image"
	"yardmaster.dev/services/vsphere-executor/internal/ova"
)

// stock are the images of a lone host, which has no templates: they lie in the
// executor's store, were checked by this process, and are kept open, so that
// what was checked is what is uploaded.
type stock struct {
	mu   sync.Mutex
	kept map[string]*kept
}

// errNoStock means that an image is not there, or was not checked yet by this
// process.
var errNoStock = errors.New("its executor has no image")

// kept is one of them; one that is retired is closed by its last user.
type kept struct {
	*ova.Package
	file    *image.Image
	state   wire.ImageState
	users   int
	retired bool
}

func newStock() *stock { return &stock{kept: map[string]*kept{}} }

// put takes in a checked image.
func (s *stock) put(p *ova.Package, file *image.Image, state wire.ImageState) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.retire(state.Name)
	s.kept[state.Name] = &kept{Package: p, file: file, state: state}
	return err
}

// take returns an image and how to give it back.
func (s *stock) take(name string) (*kept, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kept[name]
	if k == nil {
		return nil, nil, fault.WithHint(fault.Newf(fault.Permanent, fault.TemplateMissing, "the site is a lone ESXi host: %w %q", errNoStock, name),
			"yardctl image import brings it; then yardctl retry")
	}
	k.users++
	return k, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		k.users--
		_ = k.closeIdle() // it was only read
	}, nil
}

// state returns the state of an image that is there.
func (s *stock) state(name string) (wire.ImageState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kept[name]
	if k == nil {
		return wire.ImageState{}, false
	}
	return k.state, true
}

// states are those of all images; one whose file somebody removed is let go.
func (s *stock) states() map[string]wire.ImageState {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]wire.ImageState{}
	for name, k := range s.kept {
		if _, err := os.Stat(k.file.Name()); errors.Is(err, os.ErrNotExist) {
			_ = s.retire(name)
			continue
		}
		out[name] = k.state
	}
	return out
}

// clear lets go of all images: another process may need them, or what is to be
// trusted is no longer the same.
func (s *stock) clear() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for name := range s.kept {
		errs = append(errs, s.retire(name))
	}
	return errors.Join(errs...)
}

// retire lets go of one; the caller holds the lock.
func (s *stock) retire(name string) error {
	k := s.kept[name]
	if k == nil {
		return nil
	}
	delete(s.kept, name)
	k.retired = true
	if err := k.closeIdle(); err != nil {
		return fmt.Errorf("close image %s: %w", name, err)
	}
	return nil
}

func (k *kept) closeIdle() error {
	if !k.retired || k.users > 0 {
		return nil
	}
	return k.file.Close()
}
