package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// builds remembers what was built in this test process: name to a
// sync.OnceValue.
var builds sync.Map

// Binary is the path of a program, built from this checkout: one of the
// product's, one of the suites' own (cmd/), or nats-server from the very
// module version that the product embeds. The go command skips what is up
// to date.
func Binary(tb testing.TB, name string) string {
	tb.Helper()
	root := Root(tb)
	once, _ := builds.LoadOrStore(name, sync.OnceValues(func() (string, error) { return build(root, name) }))
	path, err := once.(func() (string, error))() //nolint:errcheck // only such are stored
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

func build(root, name string) (string, error) {
	out := filepath.Join(root, "bin", "e2e", name)
	module, pkg := "services", "./cmd/"+name
	if _, err := os.Stat(filepath.Join(root, "e2e", "cmd", name)); err == nil {
		module = "e2e"
	}
	if name == "nats-server" {
		module, pkg = "e2e", "github.com/nats-io/nats-server/v2"
	}
	cmd := exec.Command("go", "build", "-o", out, pkg) //nolint:noctx // ends by itself
	cmd.Dir = filepath.Join(root, module)
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, b)
	}
	return out, nil
}
