package harness

import (
	"testing"

	"yardmaster.dev/pkg/bus"
)

// StartService starts one of the product's services under the given instance
// name. It is started again when it ends by itself, as systemd would.
func StartService(tb testing.TB, service, instance string, args ...string) *Proc {
	tb.Helper()
	return Start(tb, Spec{
		Name: instance, Path: Binary(tb, service), Revive: true,
		Args: append([]string{"--instance", instance, "--health-listen", "off"}, args...),
	})
}

// ServiceArgs are the flags that let a service connect as user.
func (b *Bus) ServiceArgs(user string) []string {
	return []string{"--bus-url", b.URL(), "--bus-seed-file", bus.SeedFile(b.Dir, user)}
}
