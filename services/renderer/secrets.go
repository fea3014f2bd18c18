package renderer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// EnvPrefix begins every environment variable that a fleet may refer to.
// Without it, whoever may write a fleet could read all that this process was
// started with.
const EnvPrefix = "YARD_SECRET_"

// maxSecretFile bounds what is read; render has its own, lower bound.
const maxSecretFile = 64 << 10

// secrets reads secrets from one folder and from variables with the prefix.
type secrets struct {
	dir string
	env func(string) (string, bool)
}

// read returns a secret's value; its errors name the place, never the value.
func (s *secrets) read(name string, from fleet.Secret) (string, error) {
	var value string
	var err error
	switch {
	case from.File != "":
		value, err = s.file(from.File)
	case from.Env != "":
		value, err = s.variable(from.Env)
	default:
		err = errors.New("it names neither a file nor a variable")
	}
	if err != nil {
		return "", fault.Newf(fault.Permanent, fault.SecretMissing, "secret %s: %w", name, err)
	}
	return value, nil
}

func (s *secrets) variable(name string) (string, error) {
	if !strings.HasPrefix(name, EnvPrefix) {
		return "", fmt.Errorf("environment variable %s is out of bounds: the renderer reads only those that begin with %s", name, EnvPrefix)
	}
	value, ok := s.env(name)
	if !ok {
		return "", fmt.Errorf("the renderer has no environment variable %s", name)
	}
	return value, nil
}

// file reads a file below the folder. The root resolves every link itself
// and refuses one that leads out: a textual check would follow it.
func (s *secrets) file(name string) (string, error) {
	inside := name
	if filepath.IsAbs(name) {
		rel, err := filepath.Rel(s.dir, name)
		if err != nil || !filepath.IsLocal(rel) {
			return "", fmt.Errorf("file %s is out of bounds: the renderer reads only files below %s", name, s.dir)
		}
		inside = rel
	}
	if !filepath.IsLocal(inside) {
		return "", fmt.Errorf("file %s is out of bounds: the renderer reads only files below %s", name, s.dir)
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return "", fmt.Errorf("the renderer's folder of secrets cannot be opened: %w", err)
	}
	defer func() { _ = root.Close() }()
	// A pipe would block the worker for ever.
	info, err := root.Stat(inside)
	if err != nil {
		return "", fmt.Errorf("file %s cannot be read below %s: %w", name, s.dir, err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", name)
	}
	f, err := root.Open(inside)
	if err != nil {
		return "", fmt.Errorf("file %s cannot be read below %s: %w", name, s.dir, err)
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", fmt.Errorf("read file %s: %w", name, err)
	}
	if len(content) > maxSecretFile {
		return "", fmt.Errorf("file %s is larger than %d KiB", name, maxSecretFile>>10)
	}
	return trimNewline(string(content)), nil
}

// trimNewline takes away the line end that editors and echo leave.
func trimNewline(s string) string { return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r") }
