package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTargetFromEnvironment(t *testing.T) {
	for _, name := range []string{"USER", "PASSWORD_FILE", "DATACENTER", "CLUSTER", "DATASTORE", "TEMPLATE", "NETWORK", "SUBNET", "RANGE", "NODES", "PATIENCE", "THUMBPRINT", "CA_FILE", "CLONE", "FOLDER", "GATEWAY", "DNS"} {
		t.Setenv(targetPrefix+name, "")
	}
	t.Setenv(targetPrefix+"URL", "")
	if got, err := readTarget(); err != nil || got.Foreign() {
		t.Fatalf("without a URL: %v, %v; want a simulator of its own", got, err)
	}
	t.Setenv(targetPrefix+"URL", "https://vcenter.example/sdk")
	if _, err := readTarget(); err == nil || !strings.Contains(err.Error(), targetPrefix+"PASSWORD_FILE") {
		t.Errorf("with a URL alone: %v; want to be told what is missing", err)
	}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"USER": "u", "PASSWORD_FILE": file, "DATACENTER": "d", "CLUSTER": "c", "DATASTORE": "s", "TEMPLATE": "flatcar-1.2.3",
		"NETWORK": "n", "SUBNET": "192.0.2.0/24", "RANGE": "192.0.2.10-192.0.2.20", "NODES": "5",
	} {
		t.Setenv(targetPrefix+name, value)
	}
	got, err := readTarget()
	if err != nil {
		t.Fatal(err)
	}
	want := Target{
		URL: "https://vcenter.example/sdk", User: "u", Password: "secret", Datacenter: "d", Cluster: "c", Datastore: "s", Template: "flatcar-1.2.3",
		Clone: "full", Folder: "yardmaster-e2e", Portgroup: "n", Subnet: "192.0.2.0/24", Range: "192.0.2.10-192.0.2.20",
		Guests: os.Getenv("YARD_E2E_GATEWAY"), Nodes: 5, Patience: 10,
	}
	if *got != want {
		t.Errorf("got %+v; want %+v", *got, want)
	}
	t.Setenv(targetPrefix+"NODES", "none")
	if _, err := readTarget(); err == nil || !strings.Contains(err.Error(), targetPrefix+"NODES") {
		t.Errorf("NODES=none: %v; want to be told", err)
	}
}
