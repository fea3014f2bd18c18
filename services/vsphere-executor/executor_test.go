package vsphereexecutor

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"yardmaster.dev/pkg/fleet"
)

func TestSecrets(t *testing.T) {
	t.Parallel()
	outside, dir := t.TempDir(), t.TempDir()
	write := func(dir, name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	inside, other := write(dir, "password", "s3cret\n"), write(outside, "other", "no")
	write(dir, "large", strings.Repeat("x", maxSecret+1))
	if err := os.Symlink(other, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"YARD_SECRET_PASS": "from env", "HOME": "/root"}[name]
		return v, ok
	}
	bound, free := secrets{dir: dir, env: env}, secrets{env: env}
	for name, c := range map[string]struct {
		secrets secrets
		from    fleet.Secret
		want    string
		fails   string
	}{
		"file":              {bound, fleet.Secret{File: inside}, "s3cret", ""},
		"relative file":     {bound, fleet.Secret{File: "password"}, "s3cret", ""},
		"file anywhere":     {free, fleet.Secret{File: other}, "no", ""},
		"file out of reach": {bound, fleet.Secret{File: other}, "", "escapes"},
		"link out of reach": {bound, fleet.Secret{File: "link"}, "", "escapes"},
		"large file":        {bound, fleet.Secret{File: "large"}, "", "larger than"},
		"no file":           {bound, fleet.Secret{File: "none"}, "", "no such file"},
		"variable":          {bound, fleet.Secret{Env: "YARD_SECRET_PASS"}, "from env", ""},
		"other variable":    {free, fleet.Secret{Env: "HOME"}, "", "out of bounds"},
		"no variable":       {free, fleet.Secret{Env: "YARD_SECRET_NONE"}, "", "no environment variable"},
		"neither":           {free, fleet.Secret{}, "", "neither"},
	} {
		got, err := c.secrets.read(c.from)
		switch {
		case c.fails == "" && (err != nil || got != c.want):
			t.Errorf("%s: read = %q, %v; want %q", name, got, err, c.want)
		case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
			t.Errorf("%s: read = %q, %v; want an error with %q", name, got, err, c.fails)
		}
	}
}

func TestSealKeys(t *testing.T) {
	t.Parallel()
	quiet := slog.New(slog.DiscardHandler)
	made, err := sealKeys("", quiet)
	if err != nil {
		t.Fatal(err)
	}
	one := made(t.Context())[0]
	seed, err := one.Seed()
	if err != nil {
		t.Fatal(err)
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	wrong, _ := user.Seed()
	file := filepath.Join(t.TempDir(), "seal.xk")
	for name, c := range map[string]struct {
		content []byte
		fails   error
	}{
		"a curve seed":  {append(seed, '\n'), nil},
		"a user's seed": {wrong, errNoCurve},
	} {
		if err := os.WriteFile(file, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		read, err := sealKeys(file, quiet)
		if !errors.Is(err, c.fails) {
			t.Errorf("%s: %v; want %v", name, err, c.fails)
		}
		if err != nil {
			continue
		}
		a, _ := one.PublicKey()
		if b, err := read(t.Context())[0].PublicKey(); err != nil || a != b {
			t.Errorf("%s: public key %q, %v; want %q", name, b, err, a)
		}
	}
	if _, err := sealKeys(file+".none", quiet); err == nil {
		t.Error("a seal key was read from a file that does not exist")
	}
}
