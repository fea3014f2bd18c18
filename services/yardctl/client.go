package yardctl

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/goccy/go-yaml"

	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
)

const (
	defaultServer = "http://127.0.0.1:7070"
	dialTimeout   = 5 * time.Second
	// callTimeout bounds every call but watches: the gateway answers within
	// 5 s, or says that it will take longer.
	callTimeout = 30 * time.Second
)

// settings are the contents of ~/.config/yardmaster/config.yaml.
type settings struct {
	Server    string `yaml:"server"`
	TokenFile string `yaml:"tokenFile"`
	CAFile    string `yaml:"caFile"`
}

// client finds the gateway and the token.
func (a *app) client() (yardmasterv1connect.YardServiceClient, error) {
	file, err := a.settings()
	if err != nil {
		return nil, wrongInput(err)
	}
	a.server = strings.TrimRight(first(a.server, a.env.Getenv("YARDCTL_SERVER"), file.Server, defaultServer), "/")
	u, err := url.Parse(a.server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, wrongInput(fmt.Errorf("%q is not the URL of a gateway; write %s", a.server, defaultServer))
	}
	token, err := a.token(file, u)
	if err != nil {
		return nil, wrongInput(err)
	}
	transport, err := a.transport(file)
	if err != nil {
		return nil, wrongInput(err)
	}
	return yardmasterv1connect.NewYardServiceClient(&http.Client{Transport: transport}, a.server, connect.WithInterceptors(bearer(token))), nil
}

func (a *app) transport(file settings) (http.RoundTripper, error) {
	t := &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		DialContext:       (&net.Dialer{Timeout: dialTimeout}).DialContext,
		ForceAttemptHTTP2: true,
	}
	name := first(a.caFile, a.env.Getenv("YARDCTL_CA_FILE"), file.CAFile)
	if name == "" {
		return t, nil
	}
	pem, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the CAs: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", name)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}

// settings reads the user's configuration; having none is fine.
func (a *app) settings() (settings, error) {
	var out settings
	dir := a.env.Getenv("XDG_CONFIG_HOME")
	if dir == "" {
		dir = filepath.Join(a.env.Getenv("HOME"), ".config")
	}
	name := filepath.Join(dir, "yardmaster", "config.yaml")
	content, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("read the configuration: %w", err)
	}
	if err := yaml.UnmarshalWithOptions(content, &out, yaml.Strict()); err != nil {
		return out, fmt.Errorf("%s: %s; its fields are server, tokenFile and caFile", name, firstLine(err.Error()))
	}
	return out, nil
}

// token finds the token; none is fine on loopback. The token that a yard
// leaves in its folder is only ever sent to this machine.
func (a *app) token(file settings, server *url.URL) (string, error) {
	if a.tokenFile != "" {
		return readToken(a.tokenFile)
	}
	if token := a.env.Getenv("YARDCTL_TOKEN"); token != "" {
		return token, nil
	}
	if file.TokenFile != "" {
		return readToken(file.TokenFile)
	}
	if ip := net.ParseIP(server.Hostname()); server.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", nil
	}
	if name := nearby(filepath.Join(".yard", "token")); name != "" {
		return readToken(name)
	}
	return "", nil
}

// nearby finds a file in this folder or in one above it.
func nearby(file string) string {
	dir, err := os.Getwd()
	for err == nil {
		name := filepath.Join(dir, file)
		if _, err := os.Stat(name); err == nil {
			return name
		}
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	return ""
}

// readToken reads the first token of a file: the last word of the first line
// that is no comment, as the gateway reads it.
func readToken(name string) (string, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	for scan := bufio.NewScanner(bytes.NewReader(content)); scan.Scan(); {
		line, _, _ := strings.Cut(scan.Text(), "#")
		if words := strings.Fields(line); len(words) > 0 {
			return words[len(words)-1], nil
		}
	}
	return "", fmt.Errorf("%s holds no token", name)
}

// bearer sends a token with every call.
type bearer string

// WrapUnary adds the token and bounds the call.
func (b bearer) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		b.sign(req.Header())
		return next(ctx, req)
	}
}

// WrapStreamingClient adds the token to a watch.
func (b bearer) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		b.sign(conn.RequestHeader())
		return conn
	}
}

// WrapStreamingHandler is for servers.
func (b bearer) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

func (b bearer) sign(h http.Header) {
	if b != "" {
		h.Set("Authorization", "Bearer "+string(b))
	}
}

// first returns the first text that is not empty.
func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
