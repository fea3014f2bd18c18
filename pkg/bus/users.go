package bus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nkeys"

	"yardmaster.dev/proto/subject"
)

// Identity is a bus user with its public key: what the server must know.
type Identity struct {
	subject.User
	PublicKey string
}

// MakeUsers makes the keys of every user of the topology that has none yet,
// in <dir>/users/<user>.nk, and returns an identity per key, and each site's curve key to which configs are
// sealed, in <dir>/users/seal-<site>.xk. The files hold seeds and are for
// their owner only.
func MakeUsers(dir string, t subject.Topology) ([]Identity, error) {
	if err := os.MkdirAll(filepath.Join(dir, "users"), 0o700); err != nil {
		return nil, fmt.Errorf("make bus users: %w", err)
	}
	var out []Identity
	for _, u := range t.Users() {
		keys, err := keysIn(SeedFile(dir, u.Name), nkeys.CreateUser)
		if err != nil {
			return nil, fmt.Errorf("make bus user %s: %w", u.Name, err)
		}
		for _, key := range keys {
			public, err := key.PublicKey()
			if err != nil {
				return nil, fmt.Errorf("make bus user %s: %w", u.Name, err)
			}
			out = append(out, Identity{User: u, PublicKey: public})
		}
	}
	for _, site := range t.Sites {
		if _, err := keysIn(SealFile(dir, site), nkeys.CreateCurveKeys); err != nil {
			return nil, fmt.Errorf("make seal key of site %s: %w", site, err)
		}
	}
	return out, nil
}

// SeedFile is where a user's nkey seed lies.
func SeedFile(dir, user string) string { return filepath.Join(dir, "users", user+".nk") }

// SealFile is where a site's curve seed lies.
func SealFile(dir, site string) string { return filepath.Join(dir, "users", "seal-"+site+".xk") }

// keysIn reads the keys in file, or makes one.
func keysIn(file string, create func() (nkeys.KeyPair, error)) ([]nkeys.KeyPair, error) {
	keys, err := readKeys(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return keys, err
	}
	key, err := create()
	if err != nil {
		return nil, err
	}
	return []nkeys.KeyPair{key}, writeKeys(file, key)
}
