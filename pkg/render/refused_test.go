package render_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/render"
)

func file(path, rest string) fleet.Layer {
	return butane("storage:", "  files:", "    - path: "+path, rest)
}

const inline = "      contents: {inline: x}"

func unit(name, text string) fleet.Layer {
	return butane("systemd:", "  units:", "    - name: "+name, "      contents: |", "        "+strings.ReplaceAll(text, "\n", "\n        "))
}

func user(rest string) fleet.Layer {
	return butane("passwd:", "  users:", "    - name: core", "      "+rest)
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "    - path: /etc/f%d\n", i)
	}
	return b.String()
}

// The table of flatcar.md, section 8, as far as it concerns a VM, and what
// was found since. Each must be refused with words that lead to the place.
func TestRefusedLayers(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("x", 100<<10)
	for name, c := range map[string]struct {
		layer fleet.Layer
		says  []string
	}{
		"misspelt key":         {butane("storage:", "  file: []"), []string{"butane: line 4: unused key file", "$.storage.file"}},
		"decimal mode":         {file("/etc/x", "      mode: 644"), []string{"line 6: ", "mode"}},
		"wrong type":           {file("/etc/x", "      mode: often"), []string{"line 6: cannot unmarshal !!str `often` into int"}},
		"duplicate path":       {file("/etc/x", inline+"\n    - path: /etc/x"), []string{"duplicate"}},
		"file and link":        {file("/etc/x", inline+"\n  links:\n    - path: /etc/x\n      target: /y"), []string{"duplicate"}},
		"duplicate key":        {butane("storage: {}", "storage: {}"), []string{"line 4: mapping key \"storage\" already defined at line 3"}},
		"relative path":        {file("etc/x", inline), []string{"line 5: path not absolute"}},
		"dirty path":           {file("/etc/../../x", inline), []string{"line 5: path is not fully simplified"}},
		"NUL in path":          {file(`"/etc/\0x"`, inline), []string{"line 5", "control characters"}},
		"read-only path":       {file("/usr/bin/x", inline), []string{"line 5: /usr/bin/x: /usr is read-only"}},
		"read-only by link":    {file("/lib/x", inline), []string{"/lib is a part of /usr"}},
		"hidden path":          {file("/tmp/x", inline), []string{"line 5: /tmp/x: a file system is mounted over /tmp"}},
		"variant openshift":    {fleet.Layer{Butane: "variant: openshift\nversion: 4.14.0\n"}, []string{"line 1: variant must be flatcar"}},
		"variant fcos":         {fleet.Layer{Butane: "version: 1.5.0\nvariant: fcos\n"}, []string{"line 2: variant must be flatcar"}},
		"variant Flatcar":      {fleet.Layer{Butane: "variant: Flatcar\nversion: 1.0.0\n"}, []string{"variant must be flatcar"}},
		"no variant":           {fleet.Layer{Butane: "version: 1.0.0\n"}, []string{"variant must be flatcar"}},
		"experimental":         {fleet.Layer{Butane: "variant: flatcar\nversion: 1.2.0-experimental\n"}, []string{"line 2: version must be 1.0.0 or 1.1.0"}},
		"short version":        {fleet.Layer{Butane: "variant: flatcar\nversion: 1.0\n"}, []string{"version must be"}},
		"local file":           {file("/etc/x", "      contents: {local: x}"), []string{"line 6", "inline the content"}},
		"trees":                {butane("storage:", "  trees:", "    - local: x"), []string{"inline the content"}},
		"merge of a local":     {butane("ignition:", "  config:", "    merge:", "      - local: x"), []string{"inline the content"}},
		"tag":                  {file("/etc/x", "      contents: {inline: !x \"{{ .node.name }}\"}"), []string{"line 6: YAML tags are not allowed"}},
		"alias":                {file("/etc/x", "      contents: {inline: &a x}\n    - path: /etc/y\n      contents: {inline: *a}"), []string{"line 6: YAML anchors", "line 8: YAML anchors"}},
		"alias bomb":           {fleet.Layer{Butane: "variant: flatcar\nversion: 1.0.0\nx: &a " + huge + "\ny: [" + strings.Repeat("*a, ", 1000) + "]\n"}, []string{"anchors and aliases are not allowed"}},
		"too many files":       {fleet.Layer{Butane: "variant: flatcar\nversion: 1.0.0\nstorage:\n  files:\n" + many(5000)}, []string{"5000 files"}},
		"too large":            {file("/etc/x", "      contents: {inline: "+huge+huge+huge+"}"), []string{"300 KiB of Butane"}},
		"two documents":        {butane("---", "variant: flatcar"), []string{"more than one YAML document"}},
		"nothing":              {fleet.Layer{Butane: "# only a comment\n"}, []string{"an empty Butane document"}},
		"a scalar":             {fleet.Layer{Butane: "hello\n"}, []string{"not a Butane document"}},
		"YAML syntax":          {butane("storage: [", "  x"), []string{"line "}},
		"tabs":                 {butane("storage:", "\tfiles: []"), []string{"line 4: found character that cannot start any token"}},
		"password":             {user("password_hash: hunter2"), []string{"line 6: passwordHash is not a crypt(5) hash"}},
		"key with newline":     {user(`ssh_authorized_keys: ["ssh-ed25519 AAAA\nssh-rsa BBBB"]`), []string{"line 6", "is not one SSH public key"}},
		"garbage key":          {user("ssh_authorized_keys: [hello]"), []string{`"hello" is not one SSH public key`}},
		"user name":            {butane("passwd:", "  users:", "    - name: root:x"), []string{`line 5: user name "root:x"`}},
		"relative home":        {user("home_dir: core"), []string{`"core" of user core is not an absolute path`}},
		"gecos":                {user(`gecos: "a:b"`), []string{"would break /etc/passwd"}},
		"owner":                {file("/etc/x", inline+"\n      user: {name: \"a b\"}"), []string{`owner "a b"`}},
		"unit name":            {unit("../../../etc/x.service", "[Unit]\nA=b"), []string{`line 5: unit name "../../../etc/x.service"`}},
		"not a unit":           {unit("a.service", "not a unit"), []string{"line ", "not a systemd unit"}},
		"unit without section": {unit("a.service", "A=b"), []string{"does not begin with a [Section]"}},
		"unit line":            {unit("a.service", "[Unit]\nhello"), []string{"line 6: invalid unit content"}},
		"no Install":           {butane("systemd:", "  units:", "    - name: a.service", "      enabled: true", "      contents: |", "        [Unit]"), []string{"line 7", "no install section", "WantedBy"}},
		"drop-in name":         {butane("systemd:", "  units:", "    - name: a.service", "      dropins:", "        - name: x/y.conf", "          contents: \"[Unit]\""), []string{`drop-in name "x/y.conf"`}},
		"karg quote":           {butane("kernel_arguments:", "  should_exist:", `    - 'a"b'`), []string{"line 5: kernel argument"}},
		"karg newline":         {butane("kernel_arguments:", "  should_exist:", `    - "a\nb"`), []string{"kernel argument"}},
		"karg shell":           {butane("kernel_arguments:", "  should_not_exist:", `    - $(x)`), []string{"kernel argument"}},
		"merge of data":        {butane("ignition:", "  config:", "    merge:", `      - source: "data:,%7B%7D"`), []string{"merge and replace are not allowed"}},
		"merge by http":        {butane("ignition:", "  config:", "    merge:", `      - source: http://x.example/a.ign`), []string{"merge and replace are not allowed"}},
		"replace":              {ignition(`, "x": 1`), []string{"unused key x"}},
		"header CRLF":          {file("/etc/x", "      contents: {source: https://x.example/a, http_headers: [{name: A, value: \"b\\r\\nC: d\"}]}"), []string{"header value"}},
		"header name":          {file("/etc/x", "      contents: {source: https://x.example/a, http_headers: [{name: \"A:\", value: b}]}"), []string{`header name "A:"`}},
		"URL password":         {file("/etc/x", "      contents: {source: \"https://a:b@x.example/a\"}"), []string{"line 6", "credentials in a URL"}},
		"http without hash":    {file("/etc/x", "      contents: {source: \"http://x.example/a\"}"), []string{"line 6: http://x.example/a: http without a hash"}},
		"s3":                   {file("/etc/x", "      contents: {source: \"s3://bucket/a\"}"), []string{`scheme "s3" is not allowed`}},
		"short hash":           {file("/etc/x", "      contents: {source: \"https://x.example/a\", verification: {hash: sha256-abcd}}"), []string{"incorrect size for hash sum"}},
		"md5":                  {file("/etc/x", "      contents: {source: \"https://x.example/a\", verification: {hash: md5-abcd}}"), []string{"unrecognized hash function"}},
		"hostname":             {file("/etc/hostname", "      overwrite: true\n      contents: {inline: \"a b\"}"), []string{`"a b" is not a host name`}},
		"cloud-config":         {fleet.Layer{Butane: "#cloud-config\nusers: []\n"}, []string{"not Butane", "cloud-config"}},
		"script":               {fleet.Layer{Ignition: "#!/bin/sh\n"}, []string{"not Ignition JSON", "scripts"}},
		"ignition v1":          {fleet.Layer{Ignition: `{"ignitionVersion": 1}`}, []string{"Ignition v1"}},
		"ignition v2":          {fleet.Layer{Ignition: `{"ignition": {"version": "2.1.0"}}`}, []string{"Ignition v2.1.0 configs are not supported"}},
		"ignition 3.5":         {fleet.Layer{Ignition: `{"ignition": {"version": "3.5.0"}}`}, []string{"newer than every supported Flatcar"}},
		"ignition 3.4-exp":     {fleet.Layer{Ignition: `{"ignition": {"version": "3.4.0-experimental"}}`}, []string{"newer than"}},
		"empty object":         {fleet.Layer{Ignition: `{}`}, []string{"ignition.version is missing"}},
		"null":                 {fleet.Layer{Ignition: `null`}, []string{"ignition.version is missing"}},
		"trailing text":        {fleet.Layer{Ignition: "{\"ignition\": {\"version\": \"3.3.0\"}}\nx"}, []string{"line 2: not JSON"}},
		"JSON type":            {ignition(",\n\"storage\": {\"files\": {}}"), []string{"line 2: a object where"}},
		"unknown JSON key":     {ignition(",\n\"storage\": {\"file\": []}"), []string{"ignition: line 2: unused key file"}},
		"many in JSON":         {ignition(`, "storage": {"files": [` + strings.Repeat(`{}, `, 400) + `{}]}`), []string{"401 files"}},
		"base64":               {ignition(",\n" + `"storage": {"files": [{"path": "/etc/x", "contents": {"source": "data:;base64,{{ .secrets.hash }}"}}]}`), []string{"line 2: a placeholder cannot stand in base64"}},
		"unknown role":         {fleet.Layer{Role: "bse"}, []string{`spec.config[2].role: there is no role "bse"`, `did you mean "base"?`}},
		"empty layer":          {fleet.Layer{}, []string{"spec.config[2]: an empty layer"}},
		"unquoted placeholder": {file("/etc/x", "      contents: {inline: {{ .node.hostname }}}"), []string{"line 6", "must be quoted"}},
		"placeholder key":      {butane("storage:", `  "{{ .vars.dir }}": []`), []string{"line 4: a placeholder in the name of a field"}},
		"JSON key":             {ignition(`, "{{ .vars.dir }}": 1`), []string{"a placeholder in the name of a field"}},
		"unknown placeholder":  {file("/etc/x", "      contents: {inline: \"{{ .node.hostnam }}\"}"), []string{`line 6: {{ .node.hostnam }}: nothing is called that; did you mean "node.hostname"?`}},
		"unknown var":          {file("/etc/x", "      contents: {inline: \"{{ .vars.greting }}\"}"), []string{`line 6: {{ .vars.greting }}: the fleet has no var "greting"; did you mean "greeting"?`}},
		"unknown secret":       {file("/etc/x", "      contents: {inline: \"{{ .secrets.jion }}\"}"), []string{`no secret "jion"; did you mean "join"?`}},
		"a role's own":         {file("/etc/x", "      contents: {inline: \"{{ .node.phoneHomeToken }}\"}"), []string{"nothing is called that"}},
		"Go template":          {file("/etc/x", "      contents: {inline: \"{{ range .x }}\"}"), []string{"line 6: {{ range .x }} is not a placeholder"}},
		"var is no octet":      {file("/etc/x", "      contents: {inline: \"{{ .vars.dir | lastOctet }}\"}"), []string{"line 6", "not an IPv4 address"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, withRoles(c.layer), c.says...)
		})
	}
}

// refused checks that the fleet is refused, by Check and by Compile alike.
func refused(t *testing.T, f *fleet.Fleet, says ...string) {
	t.Helper()
	_, err := render.Compile(f, "edge")
	refusal, ok := errors.AsType[*render.RefusedError](err)
	if !ok {
		t.Fatalf("Compile = %v; want a refusal", err)
	}
	if got := (&render.RefusedError{Problems: render.Check(f)}).Error(); got != refusal.Error() {
		t.Errorf("Check says %s\nCompile says %s", got, refusal)
	}
	for _, want := range says {
		if !strings.Contains(refusal.Error(), want) {
			t.Errorf("refusal = %s\nwant it to say %q", refusal, want)
		}
	}
}

func TestEveryProblemIsReportedInOrder(t *testing.T) {
	t.Parallel()
	layers := []fleet.Layer{
		butane("a: 1", "b: 2", "c: 3", "d: 4", "storage:", "  files:", "    - {path: x, mode: 644, e: 1}"),
		{Role: "nope"},
		butane("z: 1"),
	}
	first := ""
	for range 50 { // the reports come in the order of a map
		_, err := render.Compile(withRoles(layers...), "edge")
		if err == nil {
			t.Fatal("Compile = nil; want a refusal")
		}
		if first == "" {
			first = err.Error()
		}
		if err.Error() != first {
			t.Fatalf("two orders:\n%s\n\n%s", first, err)
		}
	}
	_, err := render.Compile(withRoles(layers[0], layers[2]), "edge")
	golden(t, "problems.txt", err.Error()+"\n")
}

func TestLayersOfAnOldRelease(t *testing.T) {
	t.Parallel()
	f := withRoles(fleet.Layer{Butane: "variant: flatcar\nversion: 1.1.0\n"})
	f.Spec.OS.Version = "3510.2.0"
	refused(t, f, "spec.config[2].butane: this layer needs Ignition 3.4.0; Flatcar 3510.2.0 reads 3.3.0 at most")
	f.Spec.OS.Version = "3033.3.18"
	refused(t, f, "spec.os.version: Flatcar 3033.3.18 reads Ignition v2 only")
	f = withRoles(file("/opt/x", "      contents: {source: \"https://x.example/a\"}"))
	f.Spec.OS.Version = "3227.2.0"
	refused(t, f, "cannot fetch anything at first boot with a static address")
}

func TestLayersThatContradictEachOther(t *testing.T) {
	t.Parallel()
	f := withRoles(
		unit("a.service", "[Unit]\nA=b"),
		file("/etc/systemd/system/a.service", inline),
	)
	refused(t, f, "the layers contradict each other: path conflicts with systemd unit or dropin")
	var layers []fleet.Layer
	for i := range 4 {
		layers = append(layers, fleet.Layer{Butane: "variant: flatcar\nversion: 1.0.0\nstorage:\n  files:\n" + strings.ReplaceAll(many(60), "/f", fmt.Sprintf("/%d-", i))})
	}
	refused(t, withRoles(layers...), "in all layers together; the most is 200")
}

func TestPoolsThatCouldNotWork(t *testing.T) {
	t.Parallel()
	says := func(f *fleet.Fleet, want string) {
		t.Helper()
		if got := (&render.RefusedError{Problems: render.Check(f)}).Error(); !strings.Contains(got, want) || strings.Count(got, "\n") > 0 {
			t.Errorf("Check = %q; want one problem: %q", got, want)
		}
	}
	says(newFleet(fleet.Layer{Role: "static-net"}), "spec.pools[0].config: the pool's nodes are ready when they phone home, but nothing makes them")
	says(newFleet(fleet.Layer{Role: "base"}), "have a static address, but nothing tells them")
	dhcp := withRoles()
	dhcp.Spec.Pools[0].Networks = []fleet.PoolNetwork{{DHCP: true}}
	says(dhcp, "role static-net needs a static address")
	dhcp = newFleet(fleet.Layer{Role: "base"}, file("/etc/x", "      contents: {inline: \"{{ .node.address }}\"}"))
	dhcp.Spec.Pools[0].Networks = nil
	says(dhcp, "the pool has no static address")
	if got := render.Check(withRoles(page())); len(got) > 0 {
		t.Errorf("Check(a good fleet) = %v", got)
	}
	// A layer of the fleet is reported once, not once for each pool.
	two := withRoles(butane("x: 1"))
	two.Spec.Pools = append(two.Spec.Pools, two.Spec.Pools[0])
	two.Spec.Pools[1].Name = "other"
	says(two, "spec.config[2].butane: line 3: unused key x")
}

func TestTooLargeForGuestinfo(t *testing.T) {
	t.Parallel()
	f := withRoles(file("/etc/x", "      contents: {inline: \""+scramble(60000)+"\"}"))
	_, err := compile(t, f).Stamp(newNode(0))
	if !errors.Is(err, render.ErrTooLarge) || !strings.Contains(err.Error(), "49152") {
		t.Errorf("Stamp = %v; want %v with the limit", err, render.ErrTooLarge)
	}
	if got := render.Check(f); len(got) != 1 || !strings.Contains(got[0].Message, "too large") || !strings.Contains(got[0].Hint, "have large files fetched") {
		t.Errorf("Check = %v; want the size", got)
	}
}

// Few bytes of placeholders must not become many of config.
func TestValuesThatMultiply(t *testing.T) {
	t.Parallel()
	often := func(name string) fleet.Layer {
		return file("/etc/x", "      contents: {inline: \""+strings.Repeat("{{ ."+name+" }}", 100)+"\"}")
	}
	f := withRoles(often("vars.greeting"))
	f.Spec.Vars["greeting"] = strings.Repeat("x", 64<<10)
	refused(t, f, "line 6: the values of the placeholders are more than 1024 KiB together")

	n := newNode(0)
	n.Secrets["join"] = strings.Repeat("x", 32<<10)
	if _, err := compile(t, withRoles(often("secrets.join"))).Stamp(n); !errors.Is(err, render.ErrTooLarge) {
		t.Errorf("Stamp = %v; want %v", err, render.ErrTooLarge)
	}
	structural := withRoles(often("secrets.join"), file("/etc/{{ .node.name }}", inline))
	if _, err := compile(t, structural).Stamp(n); err == nil || !strings.Contains(err.Error(), "1024 KiB") {
		t.Errorf("Stamp = %v; want the limit on the slow path too", err)
	}
}

// scramble makes text that compresses badly, the same each time.
func scramble(n int) string {
	b := make([]byte, n)
	state := uint64(88172645463325252)
	for i := range b {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		b[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[state%64]
	}
	return string(b)
}
