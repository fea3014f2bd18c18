package yardmaster

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// files is the layout of a yard's data folder.
type files string

func (d files) log() string            { return filepath.Join(string(d), "yard.log") }
func (d files) simulatorLog() string   { return filepath.Join(string(d), "simulator.log") }
func (d files) simulator() string      { return filepath.Join(string(d), "simulator") }
func (d files) nats() string           { return filepath.Join(string(d), "nats") }
func (d files) users() string          { return filepath.Join(string(d), "users") }
func (d files) secrets() string        { return filepath.Join(string(d), "secrets") }
func (d files) images() string         { return filepath.Join(string(d), "images") }
func (d files) token() string          { return filepath.Join(string(d), "token") }
func (d files) site() string           { return filepath.Join(string(d), "site.yaml") }
func (d files) secret(n string) string { return absolute(filepath.Join(d.secrets(), n)) }
func (d files) applied() string        { return filepath.Join(string(d), "first-applied") }

// absolute is for paths that a document names: it may be read from anywhere.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// create makes the folders; only their owner can look inside.
func (d files) create() error {
	for _, dir := range []string{string(d), d.simulator(), d.nats(), d.users(), d.secrets()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make the data folder: %w", err)
		}
	}
	return nil
}

// ownToken returns the token of this yard's owner, made on first use. The
// file is in the gateway's form: a name for the audit log, then the token.
func (d files) ownToken() (string, error) {
	content, err := os.ReadFile(d.token())
	if err == nil {
		fields := strings.Fields(string(content))
		if len(fields) == 0 {
			return "", fmt.Errorf("%s is empty; remove it and a new token is made", d.token())
		}
		return fields[len(fields)-1], nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := rand.Text()
	if err := os.WriteFile(d.token(), []byte("owner "+token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep the token: %w", err)
	}
	return token, nil
}

// Reset forgets the yard in dir. It refuses a folder that is not a yard's.
func Reset(dir string) error {
	d := files(dir)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(d.nats()); err != nil {
		return fmt.Errorf("%s does not look like a yard's data folder (it has no nats folder); nothing was removed", dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("forget the yard: %w", err)
	}
	return nil
}
