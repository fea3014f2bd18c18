package bus

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/nats-io/nkeys"
)

// maxKeys is how many keys a file may hold: one, and while it is rotated the
// one before it.
const maxKeys = 2

var (
	errNoSeed   = errors.New("it holds no seed")
	errManyKeys = errors.New("it holds more than two seeds")
	errMixed    = errors.New("its seeds are of different kinds")
)

// ParseKeys understands a file of seeds, one a line. The first is the key to
// use; one after it is older and still good.
func ParseKeys(content []byte) ([]nkeys.KeyPair, error) {
	var keys []nkeys.KeyPair
	var kind []byte
	for line := range bytes.Lines(content) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if len(keys) == maxKeys {
			return nil, errManyKeys
		}
		key, err := keyFromSeed(line)
		if err != nil {
			return nil, err // never says the line
		}
		if len(keys) > 0 && !bytes.HasPrefix(line, kind) {
			return nil, errMixed
		}
		kind = slices.Clone(line[:2])
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errNoSeed
	}
	return keys, nil
}

func keyFromSeed(seed []byte) (nkeys.KeyPair, error) {
	if bytes.HasPrefix(seed, []byte("SX")) {
		return nkeys.FromCurveSeed(seed)
	}
	return nkeys.FromSeed(seed)
}

// readKeys reads the keys in a file.
func readKeys(file string) ([]nkeys.KeyPair, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	keys, err := ParseKeys(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return keys, nil
}

// Rotate makes a new key and puts it before the one in the file, which stays
// good until [Finish].
func Rotate(file string) error {
	keys, err := readKeys(file)
	if err != nil {
		return err
	}
	if len(keys) == maxKeys {
		return fmt.Errorf("%s holds an older key beside its own already; once nobody uses that, drop it (--finish)", file)
	}
	seed, err := keys[0].Seed()
	if err != nil {
		return err
	}
	create := nkeys.CreateUser
	if bytes.HasPrefix(seed, []byte("SX")) {
		create = nkeys.CreateCurveKeys
	}
	fresh, err := create()
	if err != nil {
		return err
	}
	return writeKeys(file, fresh, keys[0])
}

// Finish drops the older key of a file.
func Finish(file string) error {
	keys, err := readKeys(file)
	if err != nil {
		return err
	}
	return writeKeys(file, keys[0])
}

// writeKeys writes aside and renames: a crash must not leave half a seed,
// which would never be mended.
func writeKeys(file string, keys ...nkeys.KeyPair) error {
	var content []byte
	for _, key := range keys {
		seed, err := key.Seed()
		if err != nil {
			return err
		}
		content = append(append(content, seed...), '\n')
	}
	if err := os.WriteFile(file+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
