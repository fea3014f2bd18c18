package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/service"
	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
)

const (
	headerTimeout = 5 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 32 << 10
	// maxMessage bounds a request of the API: some files of specfile.MaxSize.
	maxMessage = 8 << 20
	stopGrace  = 5 * time.Second
)

// phoneHomePath is where nodes report that they booted.
const phoneHomePath = "POST /v1/nodes/{node}/phone-home"

// routes puts together what the listener serves: the API behind the door,
// the nodes' reports, which have tokens of their own, and, if asked for, the
// process's health and metrics.
func (g *Gateway) routes(d door, observe http.Handler) http.Handler {
	api, handler := yardmasterv1connect.NewYardServiceHandler(g,
		connect.WithInterceptors(g.metrics, readAfter{g}),
		connect.WithReadMaxBytes(maxMessage))
	mux := http.NewServeMux()
	mux.Handle(api, withDeadlines(d.admit(handler, refuser(g.metrics))))
	mux.HandleFunc(phoneHomePath, g.phoneHome)
	mux.HandleFunc(reportPath, g.report)
	if observe != nil {
		mux.Handle("GET /healthz", observe)
		mux.Handle("GET /readyz", observe)
		mux.Handle("GET /metrics", d.admitLocal(observe, refuser(g.metrics)))
	}
	return mux
}

// admitLocal asks only those for a token who are not on this machine.
func (d door) admitLocal(next http.Handler, refuse func(http.ResponseWriter, *http.Request, error)) http.Handler {
	guarded := d.admit(next, refuse)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if loopback(r.RemoteAddr) {
			next.ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

type deadlinesKey struct{}

// withDeadlines lets a stream's handler bound each of its writes: a reader
// that stopped reading must not hold the stream for ever.
func withDeadlines(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), deadlinesKey{}, control)))
	})
}

// serve serves h on l until ctx ends; then it calls stop, which ends the
// streams, and lets the requests finish.
func serve(ctx context.Context, l net.Listener, server *http.Server, stop func()) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", l.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		stop()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			return server.Close()
		}
		return nil
	})
	return group.Wait()
}

// newServer bounds what strangers can make the listener hold. It speaks
// HTTP/1.1 and HTTP/2, the latter without TLS too, because gRPC needs it.
func newServer(h http.Handler, log *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           h,
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// listen opens the listener, with TLS if it is configured.
func listen(ctx context.Context, cfg Config, log *slog.Logger) (net.Listener, error) {
	if err := cfg.guard(); err != nil {
		return nil, err
	}
	secured, err := cfg.TLS.load(log)
	if err != nil {
		return nil, err
	}
	l, err := service.Listen(ctx, cfg.Listen)
	if err != nil {
		return nil, err
	}
	if secured != nil {
		l = tls.NewListener(l, secured)
	}
	return l, nil
}
