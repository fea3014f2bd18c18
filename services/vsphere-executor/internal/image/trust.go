package image

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"

	"yardmaster.dev/pkg/fault"
)

const (
	maxKeys      = 1 << 20
	maxSignature = 64 << 10
)

// trust is a signature and the only key that may have made it.
type trust struct {
	key       *openpgp.Entity
	signature []byte
}

// trust reads the key and the signature, which are small: what cannot be
// checked need not be fetched. It is nil for an image that need not be signed.
func (s *Store) trust(ctx context.Context, name string, from Source) (*trust, error) {
	if from.Unsigned {
		if from.SHA256 == "" {
			return nil, fault.WithHint(fault.Newf(fault.Permanent, fault.ImageUntrusted, "the image is to be taken unsigned, and no digest says what it is"), "name its SHA-256")
		}
		return nil, nil //nolint:nilnil // no signature was asked for
	}
	keys, err := s.small(from.KeyFile, maxKeys)
	if err != nil {
		return nil, fault.WithHint(fault.Newf(fault.Permanent, fault.ImageUntrusted, "read the key that images are signed with: %w", err),
			"spec.vsphere.images.keyFile of the Site names a file at the executor")
	}
	key, err := pinned(keys, from.Fingerprint)
	if err != nil {
		return nil, fault.WithHint(fault.Newf(fault.Permanent, fault.ImageUntrusted, "%s: %w", from.KeyFile, err),
			"fetch the publisher's key again, compare its fingerprint by another way, and put it into the file")
	}
	signature, err := s.signature(ctx, from.Location+".sig")
	if err != nil {
		var ok bool
		if signature, ok = s.kept(name); !ok {
			return nil, err
		}
	}
	return &trust{key: key, signature: signature}, nil
}

// kept is the signature of an image that is there and was checked before.
func (s *Store) kept(name string) ([]byte, bool) {
	if _, err := os.Stat(s.file(name)); err != nil {
		return nil, false
	}
	b, err := os.ReadFile(s.signed(name))
	return b, err == nil
}

// signature fetches a detached signature, in binary or armored.
func (s *Store) signature(ctx context.Context, location string) ([]byte, error) {
	if !remote(location) {
		b, err := s.small(location, maxSignature)
		return b, unreachable(err, location)
	}
	answer, err := s.get(ctx, location, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := bounded(answer.Body, maxSignature)
	if err != nil {
		return nil, fault.Newf(fault.Transient, fault.ImageUnreachable, "read %s: %w", location, err)
	}
	return b, nil
}

// small reads a local file of bounded size.
func (s *Store) small(name string, most int64) ([]byte, error) {
	f, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return bounded(f, most)
}

func (s *Store) open(name string) (*os.File, error) {
	if s.Open != nil {
		return s.Open(name)
	}
	return os.Open(name)
}

func bounded(r io.Reader, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("it is larger than %d bytes", most)
	}
	return b, err
}

// pinned returns the key of that fingerprint among those of a key file,
// which is armored or binary.
func pinned(file []byte, fingerprint string) (*openpgp.Entity, error) {
	read := openpgp.ReadKeyRing
	if isArmored(file) {
		read = openpgp.ReadArmoredKeyRing
	}
	var keys openpgp.EntityList
	err := guarded(func() (err error) {
		keys, err = read(bytes.NewReader(file))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("the file holds no OpenPGP keys: %w", err)
	}
	want := plain(fingerprint)
	var others []string
	for _, k := range keys {
		have := hex.EncodeToString(k.PrimaryKey.Fingerprint)
		if have == want {
			return k, nil
		}
		others = append(others, strings.ToUpper(have))
	}
	return nil, fmt.Errorf("the key with fingerprint %s is not in the file, which holds %s", strings.ToUpper(want), strings.Join(others, ", "))
}

// plain writes a fingerprint without what people write into it.
func plain(fingerprint string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", ":", "").Replace(fingerprint))
}

func isArmored(b []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(b), []byte("-----BEGIN PGP")) }

// verify reads the image and returns the fingerprint of the key that signed
// it.
func (t *trust) verify(image io.Reader, location string) (string, error) {
	signature := t.signature
	if isArmored(signature) {
		err := guarded(func() error {
			block, err := armor.Decode(bytes.NewReader(signature))
			if err == nil {
				signature, err = bounded(block.Body, maxSignature)
			}
			return err
		})
		if err != nil {
			return "", untrusted(location, fmt.Errorf("read the signature: %w", err), "fetch the signature again")
		}
	}
	var signer *openpgp.Entity
	err := guarded(func() (err error) {
		_, signer, err = openpgp.VerifyDetachedSignature(openpgp.EntityList{t.key}, image, bytes.NewReader(signature), nil)
		return err
	})
	if err != nil {
		return "", untrusted(location, fmt.Errorf("check the signature: %w", err), t.hint(err))
	}
	return strings.ToUpper(hex.EncodeToString(signer.PrimaryKey.Fingerprint)), nil
}

// guarded runs an OpenPGP reader. Malformed packets have made the library's
// parser panic; whoever publishes images must not stop the executor with one.
func guarded(read func() error) (err error) {
	defer func() {
		if broken := recover(); broken != nil {
			err = fmt.Errorf("malformed OpenPGP data: %v", broken)
		}
	}()
	return read()
}

// hint says what to do about a signature that is not accepted.
func (t *trust) hint(err error) string {
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return fmt.Sprintf("it was made with another key than %X or a subkey that the key file does not have yet; if the publisher has a new one, fetch the key file again", t.key.PrimaryKey.Fingerprint)
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return "the key has expired; fetch the key file again, the publisher prolongs keys and adds subkeys"
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return "the publisher revoked the key: do not use the image"
	}
	return "the image is not what was signed; if fetching it again does not help, do not use it"
}

func untrusted(location string, err error, hint string) error {
	return fault.WithHint(fault.Newf(fault.Permanent, fault.ImageUntrusted, "the image at %s: %w", location, err), hint)
}
