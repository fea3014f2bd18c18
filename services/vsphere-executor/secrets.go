package vsphereexecutor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"yardmaster.dev/pkg/fleet"
)

// envPrefix begins every environment variable that a Site may name. Without
// it, whoever may apply a Site could have this process's whole environment
// sent to a server of their own.
const envPrefix = "YARD_SECRET_"

// maxSecret bounds what is read of a file.
const maxSecret = 4 << 10

// secrets reads what a Site refers to; its errors name the place, never the
// value.
type secrets struct {
	dir string
	env func(string) (string, bool)
}

func (s secrets) read(from fleet.Secret) (string, error) {
	switch {
	case from.File != "":
		return s.file(from.File)
	case from.Env != "":
		return s.variable(from.Env)
	}
	return "", errors.New("the Site names neither a file nor a variable")
}

func (s secrets) variable(name string) (string, error) {
	if !strings.HasPrefix(name, envPrefix) {
		return "", fmt.Errorf("environment variable %s is out of bounds: a Site may only name those that begin with %s", name, envPrefix)
	}
	value, ok := s.env(name)
	if !ok {
		return "", fmt.Errorf("the executor has no environment variable %s", name)
	}
	return value, nil
}

func (s secrets) file(name string) (string, error) {
	f, err := inside(s.dir).open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	if len(content) > maxSecret {
		return "", fmt.Errorf("file %s is larger than %d bytes", name, maxSecret)
	}
	return strings.TrimRight(string(content), "\r\n"), nil
}

// inside is the only folder whose files may be opened, empty for any.
type inside string

// open opens a file, below the folder if there is one: the root refuses links
// that lead out.
func (dir inside) open(name string) (*os.File, error) {
	if dir == "" {
		return os.Open(name)
	}
	below := name
	if filepath.IsAbs(name) {
		rel, err := filepath.Rel(string(dir), name)
		if err != nil {
			return nil, fmt.Errorf("file %s is not below %s: %w", name, dir, err)
		}
		below = rel
	}
	root, err := os.OpenRoot(string(dir))
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	return root.Open(below)
}
