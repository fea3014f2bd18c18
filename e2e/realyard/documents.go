package realyard

import (
	"cmp"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"yardmaster.dev/e2e/harness"
)

// portOf is the port of a URL that must have one.
func portOf(tb testing.TB, address string) string {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil || u.Port() == "" {
		tb.Fatalf("YARD_E2E_GATEWAY %q: want http://HOST:PORT (%v)", address, err)
	}
	return u.Port()
}

// site is the document of a vCenter.
func (y *Yard) site(p *Place) string {
	t := harness.TheTarget(y.TB)
	dir := filepath.Join(harness.Dir(y.TB), "secrets")
	for name, content := range map[string]string{"user": t.User, "password": t.Password} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			y.TB.Fatal(err)
		}
	}
	trust := ""
	switch {
	case !t.Foreign():
		trust = fmt.Sprintf("    thumbprint: %q\n", p.Simulator.Thumbprint())
	case t.Thumbprint != "":
		trust = fmt.Sprintf("    thumbprint: %q\n", t.Thumbprint)
	case t.CAFile != "":
		trust = fmt.Sprintf("    caFile: %q\n", t.CAFile)
	}
	return fmt.Sprintf(`---
apiVersion: yardmaster.dev/v1alpha1
kind: Site
metadata: {name: %s}
spec:
  vsphere:
    url: %s
    username: {file: %s}
    password: {file: %s}
    datacenter: %q
`, p.Name, p.url, filepath.Join(dir, "user"), filepath.Join(dir, "password"), cmp.Or(y.datacenter, t.Datacenter)) + trust
}

// Network has the addresses of every fleet.
func Network(tb testing.TB) string {
	tb.Helper()
	t := harness.TheTarget(tb)
	document := fmt.Sprintf(`---
apiVersion: yardmaster.dev/v1alpha1
kind: Network
metadata: {name: lan}
spec:
  subnet: %s
  range: %s
  portgroup: %q
`, t.Subnet, t.Range, t.Portgroup)
	if t.Gateway != "" {
		document += fmt.Sprintf("  gateway: %s\n", t.Gateway)
	}
	if t.DNS != "" {
		document += fmt.Sprintf("  dns: [%s]\n", strings.ReplaceAll(t.DNS, ",", ", "))
	}
	return document
}

var bare = regexp.MustCompile(`^[A-Za-z][\w./-]*$`)

// scalar is a name as YAML takes it, quoted if need be.
func scalar(name string) string {
	if bare.MatchString(name) {
		return name
	}
	return strconv.Quote(name)
}

// FleetOf is a fleet with an own layer that shows every placeholder.
func FleetOf(tb testing.TB, name string, nodes int, more string) string {
	tb.Helper()
	t := harness.TheTarget(tb)
	folder, ready := name, ""
	os, source := "os: {channel: stable, version: "+t.Version()+"}", ""
	if t.Version() == t.Template {
		os, source = "os: {channel: stable}", fmt.Sprintf(", source: {template: %q}", t.Template)
	}
	if t.Foreign() {
		folder = t.Folder + "/" + name
		if t.Guests == "" {
			ready = "      ready: {by: guest-address}\n"
		}
	}
	return fmt.Sprintf(`---
apiVersion: yardmaster.dev/v1alpha1
kind: Fleet
metadata: {name: %[1]s}
spec:
  %[4]s
  config:
    - role: base
    - role: static-net
    - butane: |
        variant: flatcar
        version: 1.0.0
        storage:
          files:
            - path: /etc/who
              mode: 0644
              contents:
                inline: "{{ .node.name }} {{ .node.hostname }} {{ .node.address }} {{ .vars.word }}"
  vars: {word: hello}
  pools:
    - name: w
      replicas: %[2]d
      networks: [{ref: lan}]
      vsphere: {site: dc1, cluster: %[5]s, datastore: %[6]s, folder: %[7]s, cpus: 2, memory: 4Gi, clone: %[8]s%[10]s}
%[9]s  protect: {maxDestroyPercent: 100, maxCreate: 10000}
%[3]s`, name, nodes, more, os, scalar(t.Cluster), scalar(t.Datastore), scalar(folder), t.Clone, ready, source)
}

// From has a fleet's document name another template.
func From(tb testing.TB, document, template string) string {
	tb.Helper()
	t := harness.TheTarget(tb)
	document = strings.Replace(document, fmt.Sprintf(", source: {template: %q}", t.Template), "", 1)
	document = strings.Replace(document, "version: "+t.Version(), "", 1)
	return strings.Replace(document, "clone: "+t.Clone, fmt.Sprintf("clone: %s, source: {template: %s}", t.Clone, template), 1)
}
