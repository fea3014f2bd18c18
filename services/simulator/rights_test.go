package simulator

import (
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// What is denied is told to whoever asks, for the objects that are meant, and
// all else is granted.
func TestDeniedRights(t *testing.T) { //nolint:gocyclo // one story, told in order
	t.Parallel()
	r := start(t, Config{})
	granted := func(entity types.ManagedObjectReference) map[string]bool {
		t.Helper()
		answer, err := object.NewAuthorizationManager(r.client.Client).HasUserPrivilegeOnEntities(
			t.Context(), []types.ManagedObjectReference{entity}, DefaultUser, []string{"Datastore.AllocateSpace", "Datastore.Browse", "Network.Assign"})
		if err != nil || len(answer) != 1 || answer[0].Entity != entity {
			t.Fatalf("HasUserPrivilegeOnEntities = %v, %v; want one answer", answer, err)
		}
		out := map[string]bool{}
		for _, p := range answer[0].PrivAvailability {
			out[p.PrivId] = p.IsGranted
		}
		return out
	}
	store, folder := r.inv.datastore.Self, r.inv.vmFolder.Self
	if got := granted(store); len(got) != 3 || !got["Datastore.AllocateSpace"] || !got["Network.Assign"] {
		t.Errorf("granted at first: %v; want all", got)
	}
	if err := r.control.SetDenied(t.Context(), Denial{Privilege: "Datastore.*", On: "ds1"}); err != nil {
		t.Fatal(err)
	}
	if got := granted(store); got["Datastore.AllocateSpace"] || got["Datastore.Browse"] || !got["Network.Assign"] {
		t.Errorf("granted on ds1: %v; want Network.Assign only", got)
	}
	if got := granted(folder); !got["Datastore.AllocateSpace"] {
		t.Errorf("granted on the folder: %v; want all", got)
	}
	if err := r.control.SetDenied(t.Context(), Denial{On: "["}); err == nil {
		t.Error("SetDenied took a wrong pattern")
	}
	if denied, err := r.control.Denied(t.Context()); err != nil || len(denied) != 1 {
		t.Errorf("Denied = %v, %v; want the one that stands", denied, err)
	}
	if err := r.control.SetDenied(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := granted(store); !got["Datastore.Browse"] {
		t.Errorf("granted in the end: %v; want all", got)
	}
}
