package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"connectrpc.com/connect"
)

// minToken is the shortest token that is accepted: what can be guessed is
// no secret.
const minToken = 16

// anonymous is the name in the audit log of whoever needs no token, because
// the gateway listens on loopback only.
const anonymous = "local"

// token is a caller's secret, kept as its hash so that all comparisons are
// of equal length and a dump of memory gives none away.
type token struct {
	name string
	hash [sha256.Size]byte
}

// tokens are those that may use the API.
type tokens []token

// door lets callers in or not.
type door struct {
	// tokens returns those of the present; nil if there are none.
	tokens func(context.Context) tokens
	// open lets everybody in: only on loopback, see Config.guard.
	open bool
}

// tokensOf understands the content of a token file: a token a line, a name
// before it if it should have one; # starts a comment.
func tokensOf(name string, content []byte) (tokens, error) {
	var out tokens
	lines := bufio.NewScanner(bytes.NewReader(content))
	for i := 1; lines.Scan(); i++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		secret := words[len(words)-1]
		// The errors never quote the line: it holds a secret.
		if len(words) > 2 || len(secret) < minToken {
			return nil, fmt.Errorf("%s:%d: write NAME TOKEN or TOKEN, with a token of at least %d characters", name, i, minToken)
		}
		t := token{name: "operator", hash: sha256.Sum256([]byte(secret))}
		if len(words) == 2 {
			t.name = words[0]
		}
		out = append(out, t)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the tokens: %s: %w", name, err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no token", name)
	}
	return out, nil
}

// holder returns whose token secret is. It looks at every token, whatever
// it finds, so that the time tells nothing.
func (ts tokens) holder(secret string) (string, bool) {
	hash := sha256.Sum256([]byte(secret))
	name, found := "", false
	for _, t := range ts {
		if subtle.ConstantTimeCompare(hash[:], t.hash[:]) == 1 {
			name, found = t.name, true
		}
	}
	return name, found
}

// bearer returns the token of a request's Authorization header.
func bearer(r *http.Request) (string, bool) {
	scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(secret), ok && strings.EqualFold(scheme, "bearer") && strings.TrimSpace(secret) != ""
}

// callerKey is the context key of a request's sender.
type callerKey struct{}

// caller is who sent the request, for the audit log.
func caller(ctx context.Context) string {
	if name, ok := ctx.Value(callerKey{}).(string); ok {
		return name
	}
	return anonymous
}

var (
	errNoToken    = errors.New("this gateway wants a token; send Authorization: Bearer TOKEN (yardctl: --token-file or YARDCTL_TOKEN)")
	errWrongToken = errors.New("the token is not one of this gateway's")
	errHost       = errors.New("this gateway asks for no token and so answers only to localhost; use that name, or give it a tokenFile")
)

// admit lets those requests pass to next whose sender is known.
func (d door) admit(next http.Handler, refuse func(http.ResponseWriter, *http.Request, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, err := d.who(r)
		if err != nil {
			refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, name)))
	})
}

// who names a request's sender: by client certificate or by token; nobody
// is asked at an open door.
func (d door) who(r *http.Request) (string, error) {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return "cert:" + r.TLS.VerifiedChains[0][0].Subject.CommonName, nil
	}
	if d.open {
		// A page in somebody's browser can let its own name point to
		// loopback, but it cannot send another name than its own.
		if !loopback(r.Host) && !loopback(r.Host+":80") {
			return "", errHost
		}
		return anonymous, nil
	}
	secret, sent := bearer(r)
	if !sent {
		return "", errNoToken
	}
	if d.tokens != nil {
		if name, ok := d.tokens(r.Context()).holder(secret); ok {
			return name, nil
		}
	}
	return "", errWrongToken
}

// refuser writes a refusal in the words of the protocol that was spoken.
func refuser(m *metrics) func(http.ResponseWriter, *http.Request, error) {
	words := connect.NewErrorWriter()
	return func(w http.ResponseWriter, r *http.Request, err error) {
		m.refused()
		w.Header().Set("WWW-Authenticate", "Bearer")
		if words.IsSupported(r) {
			_ = words.Write(w, r, connect.NewError(connect.CodeUnauthenticated, err))
			return
		}
		http.Error(w, err.Error(), http.StatusUnauthorized)
	}
}
