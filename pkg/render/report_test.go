package render_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vincent-petithory/dataurl"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/guest"
)

// roleFile returns a file that the base role writes.
func roleFile(t *testing.T, path string) string {
	t.Helper()
	f := newFleet(fleet.Layer{Role: "base"})
	n := newNode(0)
	raw, err := compile(t, f).StampIgnition(&n)
	if err != nil {
		t.Fatal(err)
	}
	var cfg struct {
		Storage struct {
			Files []struct {
				Path     string
				Contents struct{ Source string }
			}
		}
	}
	if err := json.Unmarshal(raw, &cfg); err != nil {
		t.Fatal(err)
	}
	for _, file := range cfg.Storage.Files {
		if file.Path == path {
			u, err := dataurl.DecodeString(file.Contents.Source)
			if err != nil {
				t.Fatal(err)
			}
			return string(u.Data)
		}
	}
	t.Fatalf("the base role writes no %s", path)
	return ""
}

// The commands of the guest, as far as the script can tell. sleep ends it
// after its second report.
const (
	systemctl = `case "$*" in
is-system-running) echo "$(cat "$HERE/state")"; exit 1 ;;
"show --value --property=UserspaceTimestampMonotonic --") echo 3100500 ;;
"show --value --property=FinishTimestampMonotonic --") echo 0 ;;
"show --value --property=ActiveEnterTimestampMonotonic -- network-online.target") echo 4200000 ;;
"show --value --property=ActiveEnterTimestampMonotonic -- yardmaster-phone-home.service") ;;
reboot) touch "$HERE/rebooted" ;;
"show --value --property=Result -- "*) echo exit-code ;;
"list-units --state=failed --plain --no-legend --no-pager") cat "$HERE/failed" ;;
*) echo "systemctl $*" >>"$HERE/unknown" ;;
esac`
	journalctl = `[[ "$*" == *"--unit=-.mount"* ]] || printf 'first of %s\n\nsecond\ttab\n' "$2"`
	curl       = `printf '%s\n' "$@" >"$HERE/curl.args"; cat >>"$HERE/curl.body"; echo ---- >>"$HERE/curl.body"; cat "$HERE/order" 2>/dev/null; exit "$(cat "$HERE/answer")"`
	vmtoolsd   = `[[ "$2" != "info-get guestinfo.ignition.config.data" ]] || { cat "$HERE/guestinfo"; exit; }; printf '%s\n' "$@" >>"$HERE/vmtoolsd.args"`
	reset      = `printf '%s\n' "$@" >"$HERE/reset.args"; echo staged; echo no such option >&2; exit "$(cat "$HERE/reset" 2>/dev/null || echo 0)"`
	sleeping   = `echo "$1" >>"$HERE/slept"; echo 0 >"$HERE/answer"; [[ $(wc -l <"$HERE/slept") -lt 2 ]] || kill "$PPID"`
)

// machine is a folder in which the script finds its commands.
func machine(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range map[string]string{
		"systemctl": systemctl, "journalctl": journalctl, "curl": curl, "vmtoolsd": vmtoolsd, "sleep": sleeping, "flatcar-reset": reset,
	} {
		put(t, filepath.Join(dir, name), "#!/bin/bash\n"+body+"\n", 0o700)
	}
	put(t, filepath.Join(dir, "report"), roleFile(t, "/opt/yardmaster/report"), 0o600)
	return dir
}

func put(t *testing.T, name, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func take(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Clean(name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(b)
}

// reports runs the script until it has reported twice.
func reports(t *testing.T, dir string) []guest.Report {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatalf("the script needs bash, as make does: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), bash, filepath.Join(dir, "report"))
	cmd.Env = []string{
		"PATH=" + dir + ":" + os.Getenv("PATH"), "HERE=" + dir,
		"REPORT_URL=http://yard.example/v1/nodes/web-edge-0/report", "REPORT_EVERY=60", "VERSION_ID=4593.2.5",
	}
	out, _ := cmd.CombinedOutput() // it is killed in the end
	if s := take(t, filepath.Join(dir, "unknown")); s != "" {
		t.Errorf("the script asked what no guest of this test answers: %s", s)
	}
	var all []guest.Report
	for text := range strings.SplitSeq(strings.TrimSuffix(take(t, filepath.Join(dir, "curl.body")), "----\n"), "----\n") {
		r, err := guest.Parse([]byte(text))
		if err != nil {
			t.Fatalf("the script says %q: %v\n%s", text, err, out)
		}
		all = append(all, r)
	}
	return all
}

// What the base role's script says is what the gateway reads.
func TestReportScript(t *testing.T) {
	t.Parallel()
	dir := machine(t)
	put(t, filepath.Join(dir, "state"), "degraded", 0o600)
	put(t, filepath.Join(dir, "answer"), "0", 0o600)
	put(t, filepath.Join(dir, "failed"), "nginx.service loaded failed failed web\n-.mount loaded failed failed /\na\\x2db.service loaded failed failed x\n", 0o600)
	got := reports(t, dir)
	if len(got) != 2 || got[0].BootID == "" || got[0].Up <= 0 {
		t.Fatalf("reports = %+v; want two", got)
	}
	want := guest.Report{
		BootID: got[0].BootID, MachineID: got[0].MachineID, OSVersion: "4593.2.5", State: guest.StateDegraded, Up: got[0].Up,
		Stages: []guest.Stage{{Name: guest.StageSystem, After: 3100 * time.Millisecond}, {Name: guest.StageNetwork, After: 4200 * time.Millisecond}},
		Failed: []guest.Failed{
			{Unit: "nginx.service", Result: "exit-code", Log: []string{"first of --unit=nginx.service", "second tab"}},
			{Unit: "-.mount", Result: "exit-code"},
			{Unit: `a\x2db.service`, Result: "exit-code", Log: []string{`first of --unit=a\x2db.service`, "second tab"}},
		},
	}
	if d := cmp.Diff(want, got[0]); d != "" {
		t.Errorf("report differs (-want +got):\n%s", d)
	}
	args := take(t, filepath.Join(dir, "curl.args"))
	for _, arg := range []string{"--fail\n", "@/etc/yardmaster/authorization\n", "http://yard.example/v1/nodes/web-edge-0/report\n"} {
		if !strings.Contains(args, arg) {
			t.Errorf("curl is called with\n%s; %q is missing", args, arg)
		}
	}
	if s := take(t, filepath.Join(dir, "vmtoolsd.args")); s != "" {
		t.Errorf("a report that arrived went through guestinfo too: %s", s)
	}
	if s := strings.Fields(take(t, filepath.Join(dir, "slept"))); len(s) != 2 || len(s[0]) != 2 || s[0] < "54" || s[0] > "66" {
		t.Errorf("slept %v; want 54 to 66 s", s)
	}
}

// A machine without a route tells it through guestinfo, and takes it back
// once the gateway answers.
func TestReportScriptGoesAround(t *testing.T) {
	t.Parallel()
	dir := machine(t)
	put(t, filepath.Join(dir, "state"), "starting", 0o600)
	put(t, filepath.Join(dir, "answer"), "7", 0o600) // until the first sleep
	put(t, filepath.Join(dir, "failed"), "", 0o600)
	sent := reports(t, dir)
	args := strings.Split(take(t, filepath.Join(dir, "vmtoolsd.args")), "\n")
	if len(args) != 5 || args[3] != "info-set guestinfo.yardmaster.report " {
		t.Fatalf("vmtoolsd was called with %q; want a report and its removal", args)
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(args[1], "info-set guestinfo.yardmaster.report "))
	if err != nil {
		t.Fatal(err)
	}
	got, err := guest.Parse(text)
	if d := cmp.Diff(sent[0], got); d != "" || err != nil {
		t.Errorf("through guestinfo: %v, differs:\n%s", err, d)
	}
	if s := take(t, filepath.Join(dir, "slept")); s != "5\n5\n" {
		t.Errorf("while it boots it slept %q; want 5 s", s)
	}
}

// offered puts a config into the guestinfo of a machine and returns its digest.
func offered(t *testing.T, dir, config string) string {
	t.Helper()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(config)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "guestinfo"), base64.StdEncoding.EncodeToString(packed.Bytes()), 0o600)
	sum := sha256.Sum256([]byte(config))
	return hex.EncodeToString(sum[:])
}

// An order is obeyed if guestinfo holds the config that it names, and once;
// else the next report says why not.
func TestReportScriptTakesOrders(t *testing.T) {
	t.Parallel()
	const config = `{"ignition":{"version":"3.3.0"}}`
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir string)
		order   func(digest string) string
		args    string
		refused string
	}{
		"obeyed": {
			order: func(digest string) string {
				return guest.Order{Rerun: digest, Keep: []string{"/var/lib/da ta", "/opt/(a|b)"}}.String()
			},
			args: "--keep-machine-id\n--keep-paths\n/etc/ssh/ssh_host_.*\n/var/log\nHERE/obeyed\n/var/lib/da ta\n/opt/(a|b)\n",
		},
		"obeyed before": {
			prepare: func(t *testing.T, dir string) {
				t.Helper()
				put(t, filepath.Join(dir, "obeyed"), offered(t, dir, config)+"\n", 0o600)
			},
			order:   func(digest string) string { return guest.Order{Rerun: digest}.String() },
			refused: "it was obeyed before",
		},
		"another config": {
			order:   func(string) string { return guest.Order{Rerun: strings.Repeat("0", 64)}.String() },
			refused: "guestinfo does not hold the config",
		},
		"no config": {
			prepare: func(t *testing.T, dir string) { t.Helper(); put(t, filepath.Join(dir, "guestinfo"), "", 0o600) },
			order:   func(digest string) string { return guest.Order{Rerun: digest}.String() },
			refused: "guestinfo does not hold the config",
		},
		"no reset": {
			prepare: func(t *testing.T, dir string) { t.Helper(); put(t, filepath.Join(dir, "reset"), "2", 0o600) },
			order:   func(digest string) string { return guest.Order{Rerun: digest}.String() },
			args:    "--keep-machine-id\n--keep-paths\n/etc/ssh/ssh_host_.*\n/var/log\nHERE/obeyed\n",
			refused: "flatcar-reset: no such option",
		},
		"no order":  {order: func(string) string { return "thanks\nrerun x\n" }},
		"bad order": {order: func(string) string { return guest.OrderMagic + "\nrerun $(reboot)\n" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := machine(t)
			put(t, filepath.Join(dir, "state"), "running", 0o600)
			put(t, filepath.Join(dir, "answer"), "0", 0o600)
			put(t, filepath.Join(dir, "failed"), "", 0o600)
			digest := offered(t, dir, config)
			if c.prepare != nil {
				c.prepare(t, dir)
			}
			put(t, filepath.Join(dir, "order"), c.order(digest), 0o600)
			sent := reports(t, dir)
			if got := strings.ReplaceAll(take(t, filepath.Join(dir, "reset.args")), dir, "HERE"); got != c.args {
				t.Errorf("flatcar-reset was called with %q; want %q", got, c.args)
			}
			_, err := os.Stat(filepath.Join(dir, "rebooted"))
			if rebooted, want := err == nil, name == "obeyed"; rebooted != want {
				t.Errorf("rebooted %v; want %v", rebooted, want)
			}
			var want []guest.Failed
			if c.refused != "" {
				want = []guest.Failed{{Unit: guest.UnitOrder, Result: "refused", Log: []string{c.refused}}}
			}
			if d := cmp.Diff(want, sent[1].Failed); d != "" {
				t.Errorf("the second report differs (-want +got):\n%s", d)
			}
		})
	}
}

// The token stands in a file of root's and on no command line.
func TestTokenIsInOneFile(t *testing.T) {
	t.Parallel()
	n := newNode(0)
	if got, want := roleFile(t, "/etc/yardmaster/authorization"), "Authorization: Bearer "+n.PhoneHomeToken+"\n"; got != want {
		t.Errorf("authorization = %q; want %q", got, want)
	}
	for _, path := range []string{"/etc/yardmaster/phone-home.env", "/etc/yardmaster/report.env", "/opt/yardmaster/report"} {
		if strings.Contains(roleFile(t, path), n.PhoneHomeToken) {
			t.Errorf("%s holds the token", path)
		}
	}
}
