package render_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	ignition33 "github.com/coreos/ignition/v2/config/v3_3"
	"github.com/coreos/ignition/v2/config/v3_3/types"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/render"
)

const someHash = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"

// roleVars and roleSecrets are something for every parameter of every role.
func roleVars() map[string]string {
	return map[string]string{
		"dockerPool": "10.200.0.0/16", "dockerComposeVersion": "2.34.0", "dockerComposeSHA256": someHash, "dockerComposeUpdates": "on",
		"swarmManager": "10.0.0.1:2377", "k3sServer": "https://k3s.example:6443", "k3sVersion": "v1.32.2+k3s1", "k3sSHA256": someHash,
		"rke2Server": "https://rke2.example:9345", "rke2Version": "v1.32.3+rke2r1", "rke2SHA256": someHash,
		"kubernetesServer": "k8s.example:6443", "kubernetesVersion": "v1.33.2", "kubernetesSHA256": someHash, "kubernetesCAHash": "sha256:" + someHash,
		"etcdCluster": "web-edge-0=http://10.0.0.1:2380,web-edge-1=http://10.0.0.2:2380",
	}
}

func roleSecrets() map[string]string {
	return map[string]string{
		"swarmToken": "SWMTKN-1-0abc-0def", "k3sToken": "K10abc::node:0123", "rke2Token": "K10abc::node:4567", "kubernetesToken": "abcdef.0123456789abcdef",
	}
}

// roleFleet is a fleet with these roles and all that they need.
func roleFleet(names ...string) *fleet.Fleet {
	f := newFleet()
	for _, name := range names {
		f.Spec.Config = append(f.Spec.Config, fleet.Layer{Role: name})
	}
	f.Spec.Vars, f.Spec.Secrets = roleVars(), map[string]fleet.Secret{}
	for name := range roleSecrets() {
		f.Spec.Secrets[name] = fleet.Secret{Env: "YARD_SECRET_" + strings.ToUpper(name)}
	}
	return f
}

func roleNode(ordinal int) render.Node {
	n := newNode(ordinal)
	n.Secrets = roleSecrets()
	return n
}

// Every pair of roles, and all of them, merge into a config that the oldest
// Ignition that we write for reads, and whose stamped form is the slow one.
func TestRolesCompose(t *testing.T) {
	t.Parallel()
	sets := [][]string{fleet.RoleNames()}
	for i, a := range fleet.RoleNames() {
		sets = append(sets, []string{a})
		for _, b := range fleet.RoleNames()[i+1:] {
			sets = append(sets, []string{a, b}, []string{b, a})
		}
	}
	for _, set := range sets {
		t.Run(strings.Join(set, "+"), func(t *testing.T) {
			t.Parallel()
			c := compile(t, roleFleet(set...))
			if c.Structural() {
				t.Error("Structural() = true; roles must be stamped")
			}
			nodes := 3
			if len(set) == 2 { // there are many pairs
				nodes = 1
			}
			for i := range nodes {
				cfg := stamp(t, c, roleNode(i))
				slow, err := c.SlowIgnition(roleNode(i))
				if err != nil || !bytes.Equal(slow, cfg.Ignition) {
					t.Fatalf("slow path: %v\n%s\nstamped:\n%s", err, slow, cfg.Ignition)
				}
				if _, rep, err := ignition33.Parse(cfg.Ignition); err != nil || len(rep.Entries) > 0 {
					t.Fatalf("Ignition 3.3.0 says %v, %s", err, rep)
				}
			}
		})
	}
}

// What each role gives by itself, and what it weighs with all others.
func TestRolesGolden(t *testing.T) {
	t.Parallel()
	for _, name := range fleet.RoleNames() {
		cfg := stamp(t, compile(t, roleFleet(name)), roleNode(3))
		var b bytes.Buffer
		if err := json.Indent(&b, cfg.Ignition, "", "  "); err != nil {
			t.Fatal(err)
		}
		golden(t, "roles/"+name+".json", b.String()+"\n")
	}
	all := stamp(t, compile(t, roleFleet(fleet.RoleNames()...)), roleNode(3))
	if all.Size > 8<<10 {
		t.Errorf("all roles together are %d bytes encoded; want at most 8 KiB of the 48", all.Size)
	}
}

// The table of roles and their texts must not drift apart.
func TestRoleParameters(t *testing.T) {
	t.Parallel()
	everything, nothing := roleFleet(fleet.RoleNames()...), newFleet()
	everything.Spec.OS.Updates = &fleet.Updates{Coordinator: fleet.CoordinatorKured}
	for _, role := range fleet.Roles {
		text := strings.Join(render.RoleText(everything, &everything.Spec.Pools[0], &role), "\n")
		if len(render.RoleText(nothing, &nothing.Spec.Pools[0], &role)) == 0 || role.Does == "" {
			t.Errorf("role %s has no text", role.Name)
		}
		for _, p := range role.Params {
			checkParam(t, role.Name, p, text)
		}
	}
}

func checkParam(t *testing.T, role string, p fleet.Param, text string) {
	t.Helper()
	kind, name, _ := strings.Cut(p.Name, ".")
	if p.Default != "" && !p.Form.Fits(p.Default) {
		t.Errorf("role %s: the default of %s is not %s", role, p.Name, p.Form.Is)
	}
	if !strings.Contains(text, "{{ ."+p.Name+" }}") && name != fleet.VarDockerComposeUpdates {
		t.Errorf("role %s does not use %s", role, p.Name)
	}
	if kind != "vars" && kind != "secrets" || p.Means == "" || p.Form.Is == "" {
		t.Errorf("role %s: %s is neither var nor secret, or nothing says what it is", role, p.Name)
	}
}

// docs/roles.md is printed from the table; YARD_UPDATE=1 writes it.
func TestRolesPage(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`# The shipped roles

A role is a config layer: write ` + "`- role: NAME`" + ` in a fleet's or a pool's ` + "`config`" + `,
in any order and number; roles are merged like all layers, and a layer after a
role changes what it gave. Parameters are vars and secrets of the fleet or the
pool. ` + "`yardctl roles NAME`" + ` prints a role's Butane. This page is printed from the
roles' table by a test (` + "`pkg/fleet/roles.go`" + `).
`)
	for _, r := range fleet.Roles {
		b.WriteString("\n## " + r.Name + "\n\nGives: " + r.Does + ".\n")
		if r.Notes != "" {
			b.WriteString("\n" + r.Notes + "\n")
		}
		if len(r.Params) > 0 {
			b.WriteString("\n| parameter | is | must be | default |\n|---|---|---|---|\n")
		}
		for _, p := range r.Params {
			otherwise := "`" + p.Default + "`"
			switch {
			case p.Optional:
				otherwise = "left out"
			case p.Required():
				otherwise = "**required**"
			}
			b.WriteString("| `" + p.Name + "` | " + p.Means + " | " + p.Form.Is + " | " + otherwise + " |\n")
		}
	}
	golden(t, "../../../docs/roles.md", b.String())
}

func TestRoleDefaults(t *testing.T) {
	t.Parallel()
	f := roleFleet("docker", "docker-compose", "kubeadm-join")
	f.Spec.Vars["sysextMirror"] = "http://mirror.example/x"
	delete(f.Spec.Vars, "dockerPool")
	delete(f.Spec.Vars, "dockerComposeUpdates")
	text := string(stamp(t, compile(t, f), roleNode(0)).Ignition)
	for _, want := range []string{`"source":"http://mirror.example/x/docker-compose-2.34.0-x86-64.raw"`, "external", "sha256-" + someHash} {
		if !strings.Contains(text, want) {
			t.Errorf("config lacks %s:\n%s", want, text)
		}
	}
	for _, other := range []string{"daemon.json", "sysupdate"} {
		if strings.Contains(text, other) {
			t.Errorf("config has %s, which nobody asked for", other)
		}
	}
	f.Spec.Vars["kubernetesCloudProvider"] = ""
	if text := content(t, stamp(t, compile(t, f), roleNode(0)), "/etc/kubernetes/join.yaml"); !strings.HasSuffix(text, "value: \"\"\n") {
		t.Errorf("join.yaml = %s; want no cloud provider", text)
	}
}

// A secret must be what the role's file takes, or it would mean something
// else there; the message does not repeat it.
func TestRoleSecretsHaveAForm(t *testing.T) {
	t.Parallel()
	for role, c := range map[string]struct{ secret, value, says string }{
		"kubeadm-join": {"kubernetesToken", "abcdef.hunter2", "secrets.kubernetesToken is not a bootstrap token such as abcdef.0123456789abcdef"},
		"swarm-worker": {"swarmToken", "SWMTKN-1-hunter2\nX=1", "secrets.swarmToken is not a join token of docker swarm"},
		"k3s-agent":    {"k3sToken", "hunter2 hunter2", "secrets.k3sToken is not a token"},
	} {
		n := roleNode(0)
		n.Secrets[c.secret] = c.value
		_, err := compile(t, roleFleet(role)).Stamp(n)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: Stamp = %v; want %q and no secret", role, err, c.says)
		}
	}
}

// unitKeys are the keys that our units use, by section: a misspelt one would
// be ignored by systemd with a line in a log that nobody reads.
var unitKeys = map[string][]string{
	"Unit":    {"Description", "Wants", "After", "Requires", "ConditionPathExists", "StartLimitIntervalSec"},
	"Service": {"Type", "EnvironmentFile", "Environment", "ExecStart", "ExecStartPre", "ExecStartPost", "Restart", "RestartSec", "RemainAfterExit", "Nice"},
	"Install": {"WantedBy"},
}

func TestUnitsOfRoles(t *testing.T) {
	t.Parallel()
	f := roleFleet(fleet.RoleNames()...)
	cfg := stamp(t, compile(t, f), roleNode(0))
	parsed, _, err := ignition33.Parse(cfg.Ignition)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range parsed.Systemd.Units {
		if u.Contents != nil {
			checkUnit(t, u.Name, *u.Contents)
		}
		for _, d := range u.Dropins {
			checkUnit(t, u.Name+"/"+d.Name, *d.Contents)
		}
		// A unit of ours that restarts needs no limit, or it gives up.
		if u.Contents != nil && strings.Contains(*u.Contents, "Restart=") && !strings.Contains(*u.Contents, "StartLimitIntervalSec=0") {
			t.Errorf("%s gives up after five tries", u.Name)
		}
	}
	checkSecretFiles(t, parsed.Storage.Files)
}

func checkUnit(t *testing.T, name, text string) {
	t.Helper()
	section := ""
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\\\n", " "), "\n") {
		key, value, assigned := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
			if unitKeys[section] == nil {
				t.Errorf("%s: unknown section %s", name, section)
			}
		case !assigned || !slices.Contains(unitKeys[section], key):
			t.Errorf("%s: %q is no key of [%s] that we use", name, key, section)
		case strings.HasPrefix(key, "Exec") && !strings.HasPrefix(value, "/usr/"):
			t.Errorf("%s: %s is not an absolute path", name, line)
		}
	}
	if strings.Contains(text, "Requires=") && !strings.Contains(text, "After=") {
		t.Errorf("%s: Requires= without After= may start too early", name)
	}
}

// checkSecretFiles wants every file with a secret to be root's alone.
func checkSecretFiles(t *testing.T, files []types.File) {
	t.Helper()
	for _, f := range files {
		if f.Contents.Source == nil {
			continue
		}
		text, _ := render.PlainText(*f.Contents.Source)
		for _, secret := range slices.Collect(maps.Values(roleSecrets())) {
			if strings.Contains(text, secret) && (f.Mode == nil || *f.Mode != 0o600) {
				t.Errorf("%s holds a secret and is not 0600", f.Path)
			}
		}
	}
}
