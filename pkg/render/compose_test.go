package render_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	ignition33 "github.com/coreos/ignition/v2/config/v3_3"
	ignition34 "github.com/coreos/ignition/v2/config/v3_4"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/render"
)

// plain is a fleet without anything of a node: what stands in it is all.
func plain(layers ...fleet.Layer) *fleet.Fleet {
	f := newFleet(layers...)
	f.Spec.Pools[0].Networks = nil
	return f
}

func TestAutologinConfig(t *testing.T) {
	t.Parallel()
	cfg := stamp(t, compile(t, plain(butane("kernel_arguments:", "  should_not_exist: [flatcar.autologin]"))), newNode(0))
	want := `{"ignition":{"version":"3.3.0"},"kernelArguments":{"shouldNotExist":["flatcar.autologin"]}}`
	if got := string(cfg.Ignition); got != want {
		t.Errorf("Ignition = %s; want %s", got, want)
	}
}

func TestRolesAreMergedNotJoined(t *testing.T) {
	t.Parallel()
	key := func(name string) string {
		return "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBVfS9Hh3G5yHkvGBTzAqr0Pt/WRbDxRyqyiXvPDXYFp " + name
	}
	extension := func(name string) fleet.Layer {
		return butane(
			"passwd:", "  users:", "    - name: core", "      ssh_authorized_keys: ["+key(name)+"]",
			"storage:", "  files:",
			"    - path: /etc/hostname", "      overwrite: true", "      contents: {inline: "+name+"}",
			"    - path: /etc/sysupdate.d/noop.conf", "      contents: {inline: noop}",
			"systemd:", "  units:", "    - name: systemd-sysupdate.service", "      dropins:",
			"        - name: "+name+".conf", "          contents: \"[Service]\"",
		)
	}
	cfg := stamp(t, compile(t, plain(extension("docker"), extension("k3s"))), newNode(0))
	parsed, _, err := ignition33.Parse(cfg.Ignition)
	if err != nil {
		t.Fatal(err)
	}
	if len(parsed.Storage.Files) != 2 || len(parsed.Systemd.Units) != 1 || len(parsed.Systemd.Units[0].Dropins) != 2 ||
		len(parsed.Passwd.Users) != 1 || len(parsed.Passwd.Users[0].SSHAuthorizedKeys) != 2 {
		t.Errorf("merged = %s; want 2 files, 1 unit with 2 drop-ins, 1 user with 2 keys", cfg.Ignition)
	}
	if got := content(t, cfg, "/etc/hostname"); got != "k3s" {
		t.Errorf("hostname = %q; want that of the later layer", got)
	}
	for _, s := range cfg.Provenance {
		if s.Name == "/etc/hostname" && strings.Join(s.Layers, " ") != "spec.config[0].butane spec.config[1].butane" {
			t.Errorf("provenance of /etc/hostname = %v; want both layers", s.Layers)
		}
	}
}

func TestPoolLayersAndVarsComeLast(t *testing.T) {
	t.Parallel()
	f := plain(file("/etc/x", "      contents: {inline: \"fleet {{ .vars.greeting }}\"}"))
	f.Spec.Pools[0].Config = []fleet.Layer{file("/etc/x", "      contents: {inline: \"pool {{ .vars.greeting }}\"}")}
	f.Spec.Pools[0].Vars = map[string]string{"greeting": "Moin"}
	if got := content(t, stamp(t, compile(t, f), newNode(0)), "/etc/x"); got != "pool Moin" {
		t.Errorf("/etc/x = %q; want the pool's", got)
	}
}

func TestLowestSpec(t *testing.T) {
	t.Parallel()
	luks := `, "storage": {"luks": [{"name": "data", "device": "/dev/sdb"%s}]}`
	lowest := stamp(t, compile(t, plain(fleet.Layer{Ignition: `{"ignition": {"version": "3.4.0"}` + fmt.Sprintf(luks, "") + "}"})), newNode(0))
	if _, _, err := ignition33.Parse(lowest.Ignition); err != nil {
		t.Errorf("a 3.4.0 layer that needs nothing of it: %v", err)
	}
	newest := stamp(t, compile(t, plain(fleet.Layer{Ignition: `{"ignition": {"version": "3.4.0"}` + fmt.Sprintf(luks, `, "discard": true`) + "}"})), newNode(0))
	if _, _, err := ignition34.Parse(newest.Ignition); err != nil || !bytes.Contains(newest.Ignition, []byte(`"discard":true`)) {
		t.Errorf("Ignition = %s, %v; want 3.4.0 with discard", newest.Ignition, err)
	}
}

// What changes the structure per node is translated for each node.
func TestStructuralPlaceholders(t *testing.T) {
	t.Parallel()
	key := "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBVfS9Hh3G5yHkvGBTzAqr0Pt/WRbDxRyqyiXvPDXYFp {{ .node.hostname }}"
	for name, c := range map[string]struct {
		layer fleet.Layer
		want  string // in the config of node 5
	}{
		"path":           {file("/etc/{{ .node.hostname }}.conf", inline), `"path":"/etc/web-edge-5.example.conf"`},
		"unit name":      {unit("a@{{ .ordinal }}.service", "[Unit]\nA=b"), `"name":"a@5.service"`},
		"key":            {user("ssh_authorized_keys: [\"" + key + "\"]"), `YFp web-edge-5.example"`},
		"password":       {user("password_hash: \"{{ .secrets.hash }}\""), `"passwordHash":"$6$salt$hash"`},
		"karg":           {butane("kernel_arguments:", "  should_exist: [\"ip={{ .node.address }}\"]"), `"shouldExist":["ip=10.0.0.6"]`},
		"source":         {file("/etc/x", "      contents: {source: \"https://x.example/{{ .node.name }}\"}"), `"source":"https://x.example/web-edge-5"`},
		"link target":    {butane("storage:", "  links:", "    - {path: /etc/x, target: \"/opt/{{ .node.mac }}\"}"), `"target":"/opt/02:0a:0b:0c:0d:05"`},
		"header":         {file("/etc/x", "      contents: {source: https://x.example/a, http_headers: [{name: A, value: \"{{ .secrets.hash }}\"}]}"), `"value":"$6$salt$hash"`},
		"binary content": {file("/etc/x", `      contents: {inline: "\0{{ .node.address }}"}`), `"source":"data:,%0010.0.0.6"`},
		"long unit line": {unit("a.service", "[Service]\nEnvironment=A="+strings.Repeat("x", 1800)+"{{ .node.address }}"), `x10.0.0.6\n`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := withRoles(c.layer)
			compiled := compile(t, f)
			if !compiled.Structural() {
				t.Error("Structural() = false; want the slow path")
			}
			n := newNode(5)
			cfg := stamp(t, compiled, n)
			if !strings.Contains(string(cfg.Ignition), c.want) {
				t.Errorf("Ignition = %s\nwant it to hold %s", cfg.Ignition, c.want)
			}
			if _, rep, err := ignition33.Parse(cfg.Ignition); err != nil || len(rep.Entries) > 0 {
				t.Errorf("Ignition says %v, %s", err, rep)
			}
			if got := render.Check(f); len(got) > 0 {
				t.Errorf("Check = %v; want none, whatever the secrets are", got)
			}
		})
	}
}

// A value on the slow path meets every rule, and its message no secret.
func TestSlowPathRefusesWithoutTellingSecrets(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		layer        fleet.Layer
		secret, says string
	}{
		"password":     {user("password_hash: \"{{ .secrets.hash }}\""), "hunter2-hunter2", "line 6: passwordHash is not a crypt(5) hash"},
		"karg":         {butane("kernel_arguments:", "  should_exist: [\"a={{ .secrets.hash }}\"]"), "x y-hunter2", `kernel argument "a={{ .secrets.hash }}"`},
		"path":         {file("/{{ .secrets.hash }}/x", inline), "usr/hunter2", "/{{ .secrets.hash }}/x: /usr is read-only"},
		"dirty path":   {file("/{{ .secrets.hash }}/x", inline), "../hunter2", "not fully simplified"},
		"key":          {user("ssh_authorized_keys: [\"{{ .secrets.hash }}\"]"), strings.Repeat("hunter2 ", 20), `"{{ .secrets.hash }}" is not one SSH public key`},
		"proxy":        {butane("ignition:", "  proxy: {http_proxy: \"http://u:{{ .secrets.hash }}@x.example\"}"), "hunter2", "credentials in a URL"},
		"URL":          {file("/etc/x", "      contents: {source: \"{{ .secrets.hash }}\"}"), "hunter2://x", "invalid url scheme"},
		"unit in full": {unit("a.service", "[Service]\nA="+strings.Repeat("x", 1900)+"{{ .secrets.hash }}"), "hunter2#\t", "cannot stand in a systemd unit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(5)
			n.Secrets["hash"] = c.secret
			compiled, err := render.Compile(withRoles(c.layer), "edge")
			if err == nil {
				_, err = compiled.Stamp(n)
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("Stamp = %v; want it to say %q", err, c.says)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the message tells the secret: %v", err)
			}
			if _, ok := errors.AsType[*render.RefusedError](err); !ok && !errors.Is(err, render.ErrValue) {
				t.Errorf("Stamp = %T; want a refusal", err)
			}
		})
	}
}

func TestSecretsThatAConfigUses(t *testing.T) {
	t.Parallel()
	if got := compile(t, withRoles(page())).Secrets(); len(got) != 1 || got[0] != "join" {
		t.Errorf("Secrets() = %v; want join", got)
	}
	if got := compile(t, withRoles()).Secrets(); len(got) != 0 {
		t.Errorf("Secrets() = %v; want none: a secret that is not used need not be there", got)
	}
}
