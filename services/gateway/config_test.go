package gateway

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Without a token the gateway listens where only this machine can reach it.
func TestGuard(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  Config
		open bool
	}{
		"loopback":           {Config{Listen: "127.0.0.1:7070"}, true},
		"loopback 6":         {Config{Listen: "[::1]:7070"}, true},
		"localhost":          {Config{Listen: "localhost:7070"}, true},
		"everywhere":         {Config{Listen: ":7070"}, false},
		"zero":               {Config{Listen: "0.0.0.0:7070"}, false},
		"an address":         {Config{Listen: "10.0.0.1:7070"}, false},
		"a name":             {Config{Listen: "gateway.example:7070"}, false},
		"nonsense":           {Config{Listen: "7070"}, false},
		"token":              {Config{Listen: ":7070", TokenFile: "t"}, true},
		"client certificate": {Config{Listen: ":7070", TLS: TLS{ClientCAFile: "ca"}}, true},
		"only our own":       {Config{Listen: ":7070", TLS: TLS{CertFile: "c", KeyFile: "k"}}, false},
	} {
		err := c.cfg.guard()
		if (err == nil) != c.open || err != nil && !errors.Is(err, errExposed) {
			t.Errorf("%s: guard() = %v; want allowed %v", name, err, c.open)
		}
		if err != nil && !strings.Contains(err.Error(), "tokenFile") {
			t.Errorf("%s: %q does not say what to do", name, err)
		}
	}
}

// Without a token only this machine's own names are answered to: a web page
// whose name was pointed to loopback is not.
func TestOpenDoor(t *testing.T) {
	t.Parallel()
	for host, open := range map[string]bool{
		"127.0.0.1:7070": true, "localhost:7070": true, "localhost": true, "[::1]:7070": true,
		"evil.example:7070": false, "evil.example": false, "127.0.0.1.evil.example": false, "": false,
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", http.NoBody)
		r.Host = host
		if _, err := (door{open: true}).who(r); (err == nil) != open {
			t.Errorf("open door, Host %q: %v; want let in %v", host, err, open)
		}
		if _, err := (door{}).who(r); err == nil {
			t.Errorf("door with client certificates only, none sent: let in")
		}
	}
}

func TestLoadTokens(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdef"
	for name, c := range map[string]struct {
		content string
		holder  string // of secret; empty when the file is refused
	}{
		"bare":            {secret + "\n", "operator"},
		"named":           {"# who\n\nci   " + secret + " # since spring\n", "ci"},
		"several":         {"a fedcba9876543210\nb " + secret, "b"},
		"none":            {"# nobody\n", ""},
		"short":           {"ci 123456789012345", ""},
		"too many words":  {"my ci " + secret, ""},
		"one good, a bad": {"ci " + secret + "\nx y", ""},
	} {
		const file = "tokens"
		ts, err := tokensOf(file, []byte(c.content))
		if (err == nil) != (c.holder != "") {
			t.Errorf("%s: tokensOf: %v; want a holder %q", name, err, c.holder)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
		if got, _ := ts.holder(secret); got != c.holder {
			t.Errorf("%s: holder = %q; want %q", name, got, c.holder)
		}
		if got, ok := ts.holder(secret + "x"); ok {
			t.Errorf("%s: a wrong token is %q's", name, got)
		}
	}
}
