package vsphereexecutor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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

func TestSealKey(t *testing.T) {
	t.Parallel()
	made, err := sealKey("")
	if err != nil {
		t.Fatal(err)
	}
	seed, err := made.Seed()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "seal.xk")
	if err := os.WriteFile(file, append(seed, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := sealKey(file)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := made.PublicKey()
	if b, err := read.PublicKey(); err != nil || a != b {
		t.Errorf("public key %q, %v; want %q", b, err, a)
	}
	if _, err := sealKey(file + ".none"); err == nil {
		t.Error("a seal key was read from a file that does not exist")
	}
}
