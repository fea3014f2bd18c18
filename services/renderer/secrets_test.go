package renderer

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// newSecrets is a folder of secrets beside a file that no fleet may read.
func newSecrets(t *testing.T) *secrets {
	t.Helper()
	outer := t.TempDir()
	dir := filepath.Join(outer, "secrets")
	write := func(path, content string) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(outer, "shadow"), "forbidden")
	write(filepath.Join(dir, "join"), "value\r\n")
	write(filepath.Join(dir, "k8s", "..2026", "token"), "mounted\n\n")
	write(filepath.Join(dir, "large"), strings.Repeat("x", maxSecretFile+1))
	// A mounted Kubernetes secret is a chain of links within its folder.
	for link, target := range map[string]string{
		"k8s/..data": "..2026", "k8s/token": "..data/token", "escape": "../shadow", "root": "/etc",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &secrets{dir: dir, env: func(name string) (string, bool) {
		v, ok := map[string]string{"YARD_SECRET_JOIN": "from env\n", "AWS_SECRET": "forbidden"}[name]
		return v, ok
	}}
}

func TestSecretsStayInBounds(t *testing.T) {
	t.Parallel()
	s := newSecrets(t)
	for name, c := range map[string]struct {
		from       fleet.Secret
		want, says string
	}{
		"file":           {from: fleet.Secret{File: "join"}, want: "value"},
		"absolute":       {from: fleet.Secret{File: s.dir + "/join"}, want: "value"},
		"mounted":        {from: fleet.Secret{File: "k8s/token"}, want: "mounted\n"},
		"variable":       {from: fleet.Secret{Env: "YARD_SECRET_JOIN"}, want: "from env\n"},
		"other variable": {from: fleet.Secret{Env: "AWS_SECRET"}, says: "begin with " + EnvPrefix},
		"no variable":    {from: fleet.Secret{Env: "YARD_SECRET_X"}, says: "no environment variable YARD_SECRET_X"},
		"parent":         {from: fleet.Secret{File: "../shadow"}, says: "only files below " + s.dir},
		"inner parent":   {from: fleet.Secret{File: "k8s/../../shadow"}, says: "only files below " + s.dir},
		"other absolute": {from: fleet.Secret{File: "/etc/hostname"}, says: "only files below " + s.dir},
		"link out":       {from: fleet.Secret{File: "escape"}, says: "cannot be read"},
		"folder out":     {from: fleet.Secret{File: "root/hostname"}, says: "cannot be read"},
		"folder":         {from: fleet.Secret{File: "k8s"}, says: "not a regular file"},
		"pipe":           {from: fleet.Secret{File: "pipe"}, says: "not a regular file"},
		"large":          {from: fleet.Secret{File: "large"}, says: "larger than"},
		"missing":        {from: fleet.Secret{File: "gone"}, says: "no such file"},
		"nothing":        {says: "neither a file nor a variable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := s.read("x", c.from)
			if c.says == "" {
				if err != nil || got != c.want {
					t.Errorf("read(%+v) = %q, %v; want %q", c.from, got, err, c.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || fault.Of(err).Reason != fault.SecretMissing {
				t.Errorf("read(%+v) = %q, %v; want %s that says %q", c.from, got, err, fault.SecretMissing, c.says)
			}
			if err != nil && strings.Contains(err.Error(), "forbidden") {
				t.Errorf("read(%+v): the error quotes what must not be read: %v", c.from, err)
			}
		})
	}
}
