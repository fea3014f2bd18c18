package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var (
	buildOnce sync.Once
	buildErr  string
)

// Bin is the folder with every binary: the product's, nats-server from the
// module version that the product embeds, and the suites' own helpers. They
// are built once per test process; the go command skips what is up to date.
func Bin(tb testing.TB) string {
	tb.Helper()
	root := Root(tb)
	dir := filepath.Join(root, "bin", "e2e")
	buildOnce.Do(func() { buildErr = buildAll(root, dir) })
	if buildErr != "" {
		tb.Fatal(buildErr)
	}
	return dir
}

// Binary is the path of one of them.
func Binary(tb testing.TB, name string) string {
	tb.Helper()
	return filepath.Join(Bin(tb), name)
}

func buildAll(root, dir string) string {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err.Error()
	}
	for _, b := range []struct{ in, pkg string }{
		{"services", "./cmd/..."},
		{"e2e", "./cmd/..."},
		{"e2e", "github.com/nats-io/nats-server/v2"},
	} {
		cmd := exec.Command("go", "build", "-o", dir+"/", b.pkg) //nolint:noctx // ends by itself
		cmd.Dir = filepath.Join(root, b.in)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "go build " + b.pkg + ": " + err.Error() + "\n" + string(out)
		}
	}
	return ""
}
