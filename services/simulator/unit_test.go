package simulator

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCommand(t *testing.T) {
	t.Parallel()
	env := map[string]string{"A": "one two", "B": ""}
	id := specifiers{machineID: "mid", bootID: "bid", hostname: "host"}
	for line, want := range map[string][]string{
		`curl a  b`:                {"curl", "a", "b"},
		`curl "a b" 'c "d"' e"f"`:  {"curl", "a b", `c "d"`, "ef"},
		`curl "\"q\"" \s \n\t`:     {"curl", `"q"`, " ", "\n\t"},
		`curl ${A} x${B}y ${C} $A`: {"curl", "one two", "xy", "", "$A"},
		`curl %m/%b/%H %%`:         {"curl", "mid/bid/host", "%"},
		`curl "" ${`:               {"curl", "", "${"},
		"":                         nil,
	} {
		got, err := command(line, id, env)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("command(%q) = %q, %v; want %q", line, got, err, want)
		}
	}
	for line, want := range map[string]string{
		`curl "a`: "quote", `curl a\`: "escape", `curl 100%`: "cut short", `curl %q`: "specifier %q",
	} {
		if got, err := command(line, id, env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("command(%q) = %q, %v; want an error with %q", line, got, err, want)
		}
	}
}

func TestParseCurl(t *testing.T) {
	t.Parallel()
	got, err := parseCurl([]string{"/usr/bin/curl", "-sS", "--max-time", "2.5", "-H", "A: b", "-d", "x", "-X", "PUT", "http://a"}, nil)
	want := call{method: http.MethodPut, url: "http://a", body: "x", header: http.Header{"A": {"b"}}, timeout: 2500 * time.Millisecond}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(call{})); d != "" || err != nil {
		t.Errorf("parseCurl: %v, differs (-want +got):\n%s", err, d)
	}
	for line, want := range map[string]string{
		"wget http://a":               "not curl",
		"curl":                        "no URL",
		"curl --retry-forever http:a": "is unknown",
		"curl a b":                    "second URL",
		"curl a --max-time":           "requires parameter",
		"curl a --max-time soon":      "numerical",
		"curl a -H nonsense":          "header",
	} {
		if got, err := parseCurl(strings.Fields(line), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseCurl(%q) = %+v, %v; want an error with %q", line, got, err, want)
		}
	}
}

func TestFindPhoneHome(t *testing.T) {
	t.Parallel()
	const name = "yardmaster-phone-home.service"
	const envFile = "/etc/yardmaster/phone-home.env"
	written := map[string]string{envFile: "# a comment\nPHONE_HOME_URL=\"http://a\"\n"}
	exec := last(section(phoneHomeUnit, "Service", "ExecStart"))
	found := func(retry time.Duration) *phoneHome {
		env := map[string]string{"PHONE_HOME_URL": "http://a", "ID": "flatcar", "VERSION_ID": "1.2.3"}
		return &phoneHome{Unit: name, Exec: exec, Env: env, Retry: retry}
	}
	for title, c := range map[string]struct {
		unit    string
		written map[string]string
		want    *phoneHome
		err     string
	}{
		"as shipped":     {phoneHomeUnit, written, found(15 * time.Second), ""},
		"other delay":    {strings.ReplaceAll(phoneHomeUnit, "RestartSec=15", "RestartSec=1min 30s"), written, found(90 * time.Second), ""},
		"no delay":       {strings.ReplaceAll(phoneHomeUnit, "RestartSec=15", ""), written, found(defaultRetry), ""},
		"wrong delay":    {strings.ReplaceAll(phoneHomeUnit, "RestartSec=15", "RestartSec=soon"), written, nil, "RestartSec"},
		"another unit":   {"[Service]\nExecStart=/usr/bin/true\n", written, nil, ""},
		"condition":      {phoneHomeUnit, nil, nil, "is not met"},
		"no environment": {strings.ReplaceAll(phoneHomeUnit, "ConditionPathExists=", "Documentation="), nil, nil, "is missing"},
	} {
		got, err := findPhoneHome(map[string]string{name: c.unit}, c.written, "1.2.3")
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: findPhoneHome: %v; want %q", title, err, c.err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: findPhoneHome differs (-want +got):\n%s", title, d)
		}
	}
}

func TestStaticAddress(t *testing.T) {
	t.Parallel()
	const mac = "02:00:00:00:00:0a"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"by MAC":           {map[string]string{"00-a.network": "[Match]\nMACAddress=02:00:00:00:00:0A\n[Network]\nAddress=10.0.0.5/24\n"}, "10.0.0.5"},
		"two on a card":    {map[string]string{"00-a.network": "[Match]\nName=ens192\n[Network]\nAddress=10.0.0.5/24\nAddress=10.1.0.5/24\n"}, "10.0.0.5 10.1.0.5"},
		"another card":     {map[string]string{"00-a.network": "[Match]\nName=ens224\n[Network]\nAddress=10.0.0.5/24\n"}, ""},
		"by name":          {map[string]string{"00-a.network": "[Match]\nName=en*\n[Network]\nAddress=10.0.0.5/24\n"}, "10.0.0.5"},
		"both must match":  {map[string]string{"00-a.network": "[Match]\nName=eth*\nMACAddress=" + mac + "\n[Network]\nAddress=10.0.0.5/24\n"}, ""},
		"address section":  {map[string]string{"00-a.network": "[Match]\nName=ens192\n[Address]\nAddress=10.0.0.5/24\n"}, "10.0.0.5"},
		"other MAC":        {map[string]string{"00-a.network": "[Match]\nMACAddress=02:00:00:00:00:0b\n[Network]\nAddress=10.0.0.5/24\n"}, ""},
		"first file wins":  {map[string]string{"10-b.network": "[Match]\nName=*\n[Network]\nAddress=10.0.0.6/24\n", "00-a.network": "[Match]\nName=*\n[Network]\nDHCP=yes\n"}, ""},
		"no match section": {map[string]string{"00-a.network": "[Network]\nAddress=10.0.0.5/24\n"}, ""},
		"commented":        {map[string]string{"00-a.network": "[Match]\nName=*\n[Network]\n#Address=10.0.0.5/24\n"}, ""},
		"cleared":          {map[string]string{"00-a.network": "[Match]\nName=*\n[Network]\nAddress=10.0.0.5/24\nAddress=\nAddress=10.0.0.7/24\n"}, "10.0.0.7"},
		"not a network":    {map[string]string{"00-a.link": "[Match]\nName=*\n[Network]\nAddress=10.0.0.5/24\n"}, ""},
	} {
		files := map[string]string{}
		for f, body := range c.files {
			files[networkDir+f] = body
		}
		if got, err := staticAddresses(files, 0, mac); strings.Join(got, " ") != c.want || err != nil {
			t.Errorf("%s: staticAddresses = %q, %v; want %q", name, got, err, c.want)
		}
	}
	bad := map[string]string{networkDir + "a.network": "[Match]\nName=*\n[Network]\nAddress=10.0.0.5\n"}
	if got, err := staticAddresses(bad, 0, mac); err == nil {
		t.Errorf("staticAddresses without a prefix = %q; want an error", got)
	}
}

func TestCheckKargs(t *testing.T) {
	t.Parallel()
	for kargs, fine := range map[string]bool{
		"": true, "ip=dhcp": true, "ip=ens192:dhcp": true, "nameserver=1.1.1.1": true,
		"ip=10.0.0.5::10.0.0.1:24:web-0:ens192:none:10.0.0.53": true,
		"ip=10.0.0.5::10.0.0.1:255.255.255.0::*:off":           true,
		"ip=10.0.0.5:::24::ens192:none":                        true,
		"ip=auto6":                                             false,
		"ip=ens192:ibft":                                       false,
		"ip=::10.0.0.1:24:web-0:ens192:none":                   false,
		"ip=10.0.0.5::gateway:24:web-0:ens192:none":            false,
		"ip=10.0.0.5::10.0.0.1:33:web-0:ens192:none":           false,
	} {
		if err := checkKargs(kargs); (err == nil) != fine {
			t.Errorf("checkKargs(%q) = %v; want fine %v", kargs, err, fine)
		}
	}
}

func FuzzCommand(f *testing.F) {
	f.Add(last(section(phoneHomeUnit, "Service", "ExecStart")))
	f.Add(`curl "a\" %% ${X} '`)
	f.Fuzz(func(t *testing.T, line string) {
		argv, err := command(line, specifiers{"m", "b", "h"}, map[string]string{"X": "y"})
		if err != nil {
			return
		}
		if c, err := parseCurl(argv, nil); err == nil && c.url == "" {
			t.Errorf("parseCurl(%q) = no URL and no error", argv)
		}
	})
}

func FuzzGuestinfo(f *testing.F) {
	f.Add(`{"ignition":{"version":"3.3.0"},"storage":{"files":[{"path":"/a","contents":{"source":"data:,x","compression":"gzip"}}]}}`, "", "ip=dhcp")
	f.Add(deletedData, "base64", "ip=10.0.0.5::10.0.0.1:24:web-0:ens192:none")
	f.Fuzz(func(t *testing.T, data, encoding, kargs string) {
		_ = checkKargs(kargs)
		cfg, err := readConfig(map[string]string{keyData: data, keyEncoding: encoding})
		if err != nil {
			return
		}
		if _, err := install(cfg, "1", t.Logf); err != nil {
			return
		}
	})
}
