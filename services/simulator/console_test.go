package simulator

import (
	"io"
	"strings"
	"testing"

	"github.com/vmware/govmomi/object"
)

// The console of a guest lies beside its VM, for whoever has a session.
func TestConsoleInTheDatastore(t *testing.T) {
	t.Parallel()
	r, _ := bootRendered(t, Config{})
	r.machine(t, node, reported)
	read := func() (string, error) {
		store := object.NewDatastore(r.client.Client, r.inv.datastore.Self)
		f, _, err := store.Download(t.Context(), node+"/vmware.log", nil)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }()
		text, err := io.ReadAll(f)
		return string(text), err
	}
	got, err := read()
	if err != nil || !strings.Contains(got, "Reached target multi-user.target") {
		t.Errorf("vmware.log = %q, %v; want the guest's boot", got, err)
	}
	if err := r.client.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := read(); err == nil {
		t.Errorf("without a session vmware.log = %q", got)
	}
}
