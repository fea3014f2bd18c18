package yardctl

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// served is a file of this machine while an executor fetches it from here.
// Nothing else is served, and under a path that nobody can guess. That the
// transfer is not encrypted does no harm: an image is no secret, and the
// executor checks its signature and its digest.
type served struct {
	url    string
	sha256 string
	stop   func()
}

const serveHeaders = 10 * time.Second

// serveFile serves an image and its signature, if there is one, at addr.
func serveFile(ctx context.Context, addr, file string) (*served, error) {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() {
		return nil, fmt.Errorf("--serve %s: write HOST:PORT of this machine as the executor reaches it, such as 192.0.2.7:8088", addr)
	}
	sum, err := digest(file)
	if err != nil {
		return nil, fmt.Errorf("--file %s: %w", file, err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--serve %s: %w", addr, err)
	}
	at := "/" + rand.Text() + "/" + filepath.Base(file)
	mux := http.NewServeMux()
	for _, suffix := range []string{"", ".sig"} {
		mux.HandleFunc("GET "+at+suffix, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file+suffix) })
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: serveHeaders}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) }) // ends by stop
	_, port, err := net.SplitHostPort(l.Addr().String())
	return &served{url: "http://" + net.JoinHostPort(host, port) + at, sha256: sum, stop: func() {
		_ = server.Close()
		serving.Wait()
	}}, err
}

// digest is the SHA-256 of a file.
func digest(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
