//go:build e2e

package system

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	// The newest stable spec that the release of the examples reads.
	ignition "github.com/coreos/ignition/v2/config/v3_5"
	"github.com/google/go-cmp/cmp"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/e2e/realyard"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/render"
	"yardmaster.dev/pkg/specfile"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

// exampleSecrets are what the examples take from the environment.
var exampleSecrets = map[string]string{
	"YARD_SECRET_K3S_TOKEN":     "K10abc::node:0123456789",
	"YARD_SECRET_RKE2_TOKEN":    "K10def::node:0123456789",
	"YARD_SECRET_KUBEADM_TOKEN": "abcdef.0123456789abcdef",
	"YARD_SECRET_SWARM_TOKEN":   "SWMTKN-1-0abc-0def",
	"YARD_SECRET_SSH_KEY":       "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBVfS9Hh3G5yHkvGBTzAqr0Pt/WRbDxRyqyiXvPDXYFp somebody",
	"YARD_SECRET_PASSWORD_HASH": "$6$salt$hash",
}

// Every example applies, its nodes get ready, and what waited in their
// guestinfo is to the byte what yardctl renders offline, and read by the
// Ignition of the release in the spec.
func TestExamplesApply(t *testing.T) {
	harness.NeedSimulator(t, "the examples name its templates, networks and datastores")
	for name, value := range exampleSecrets {
		t.Setenv(name, value)
	}
	y := &yard{realyard.New(t, realyard.Options{Planners: 1, Executors: 1, Simulator: []string{"--boot-delay", "1500ms"}})}
	files, err := filepath.Glob(filepath.Join(harness.Root(t), "examples", "*.yaml"))
	if err != nil || len(files) < 11 {
		t.Fatalf("examples = %v, %v; want at least 11", files, err)
	}
	secrets := slices.Collect(maps.Values(exampleSecrets))
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			f := exampleFleet(t, file)
			seen := y.watch(f.Metadata.Name)
			y.Persist("apply", "-f", file, "--yes")
			want := 0
			for _, p := range f.Spec.Pools {
				want += p.Replicas
			}
			y.Ready(f.Metadata.Name, want, 2*time.Minute)
			seen.stop()
			for _, n := range y.mustNodes(t, f.Metadata.Name) {
				vm, ok := seen.seen[n.GetMachineUuid()]
				if !ok {
					t.Errorf("%s: nobody saw its config in guestinfo", n.GetName())
					continue
				}
				if token := y.sameAsRendered(t, file, n, &vm); token != "" {
					secrets = append(secrets, token)
				}
			}
			y.noneFailed(t)
		})
	}
	y.nowhere(t, secrets)
}

// nowhere searches all that the yard wrote for secrets that it was given and
// tokens that it drew: the bus's store with every record, event, job and
// result, the logs, and the metrics. What stands for vCenter may have them.
func (y *yard) nowhere(t *testing.T, secrets []string) {
	t.Helper()
	files := written(t, harness.Dir(t))
	files["metrics"] = y.metrics(t)
	// A var of the same fleet stands in its revision: the store can be read.
	vars := 0
	for path, content := range files {
		vars += bytes.Count(content, []byte("k3s.example:6443"))
		for _, secret := range secrets {
			if holds(content, secret) {
				t.Errorf("%s holds the secret %.12s...", path, secret)
			}
		}
	}
	if vars == 0 || len(secrets) < len(exampleSecrets)+10 {
		t.Errorf("searched for %d secrets in %d files, a var was found %d times: the search cannot find anything", len(secrets), len(files), vars)
	}
}

// holds looks for a secret in the forms in which it travels.
func holds(content []byte, secret string) bool {
	for _, form := range []string{secret, escaped([]string{secret})[0], base64.StdEncoding.EncodeToString([]byte(secret))} {
		if bytes.Contains(content, []byte(form)) {
			return true
		}
	}
	return false
}

// written are the files of a yard but those of its secrets and of vCenter.
func written(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "secrets" || d.Name() == "simulator"):
			return filepath.SkipDir
		case d.Type().IsRegular():
			files[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func (y *yard) metrics(t *testing.T) []byte {
	t.Helper()
	res, err := http.Get(y.URL() + "/metrics") //nolint:noctx // ends with the gateway
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil || len(out) == 0 {
		t.Fatalf("metrics: %d bytes, %v", len(out), err)
	}
	return out
}

func exampleFleet(t *testing.T, file string) *fleet.Fleet {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	docs, problems := specfile.Parse(file, content)
	if len(problems) > 0 {
		t.Fatal(specfile.Format(problems))
	}
	for _, d := range docs {
		if f, ok := d.Document.(*fleet.Fleet); ok {
			return f
		}
	}
	t.Fatalf("%s holds no Fleet", file)
	return nil
}

// renderedNode is what yardctl render -o json says.
type renderedNode struct {
	Ignition  json.RawMessage   `json:"ignition"`
	UserData  string            `json:"userData"`
	GuestInfo map[string]string `json:"guestInfo"`
}

var tokenLine = regexp.MustCompile(`Authorization%3A%20Bearer%20([A-Z0-9a-z]+)%0A`)

// sameAsRendered renders the node offline and puts the values that only the
// yard knew in place of their markers. It returns the node's token.
func (y *yard) sameAsRendered(t *testing.T, file string, n *ymv1.NodeView, vm *harness.VM) (token string) {
	t.Helper()
	got, err := vm.Ignition()
	if err != nil {
		t.Fatal(err)
	}
	r := y.Ctl("render", "-f", file, "--node", n.GetName(), "--with-secrets", "-o", "json")
	var rendered renderedNode
	if err := json.Unmarshal([]byte(r.Out), &rendered); r.Code != 0 || err != nil {
		t.Fatalf("render %s: exit %d, %v: %s", n.GetName(), r.Code, err, r.Err)
	}
	if m := tokenLine.FindSubmatch(got); m != nil {
		token = string(m[1])
	}
	known := []string{render.MarkerMAC, plan.MAC(n.GetMachineUuid()), render.MarkerUUID, n.GetMachineUuid(), render.MarkerToken, token, render.MarkerURL, y.URL()}
	fill := strings.NewReplacer(append(known, escaped(known)...)...)
	for key, value := range rendered.GuestInfo {
		if key != render.GuestInfoData && vm.Extra[key] != fill.Replace(value) {
			t.Errorf("%s: %s = %q; yardctl render says %q", n.GetName(), key, vm.Extra[key], fill.Replace(value))
		}
	}
	want := rendered.UserData
	if want == "" {
		r := y.Ctl("render", "-f", file, "--node", n.GetName(), "--with-secrets", "--ignition")
		want = fill.Replace(strings.TrimSuffix(r.Out, "\n"))
		if _, report, err := ignition.ParseCompatibleVersion(got); err != nil || len(report.Entries) > 0 {
			t.Errorf("%s: Ignition says %v, %s", n.GetName(), err, report)
		}
	}
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("%s: the VM's config differs from yardctl render (-render +VM):\n%s", n.GetName(), d)
	}
	return token
}

// escaped are texts as they stand in a data: URL.
func escaped(texts []string) []string {
	out := make([]string, 0, len(texts))
	for _, s := range texts {
		out = append(out, strings.ReplaceAll(url.QueryEscape(s), "+", "%20"))
	}
	return out
}
