package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
)

// NewRegistry returns a registry with the process's own metrics.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newBuildInfo(),
	)
	return r
}

func newBuildInfo() prometheus.Collector {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "yardmaster_build_info",
		Help: "What this process was built from; always 1.",
	}, []string{"version", "commit", "go_version"})
	v := Build()
	g.WithLabelValues(v.Version, v.Commit, v.Go).Set(1)
	return g
}

// ObserveHandler serves /healthz, /readyz and /metrics.
func ObserveHandler(health *Health, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	Observe(mux, health, metrics)
	return mux
}

// Observe adds /healthz (the process lives), /readyz (it can work) and
// /metrics to mux.
func Observe(mux *http.ServeMux, health *Health, metrics prometheus.Gatherer) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.Handle("GET /readyz", health)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{EnableOpenMetrics: true}))
}

const (
	headerTimeout  = 5 * time.Second
	maxHeaderBytes = 64 << 10
	shutdownGrace  = 5 * time.Second
)

// ServeHTTP serves h on addr until ctx ends, then lets requests finish.
// A taken port is reported with its owner, where that can be found.
func ServeHTTP(ctx context.Context, addr string, h http.Handler, log *slog.Logger) error {
	listener, err := Listen(ctx, addr)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", addr, err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			return server.Close()
		}
		return nil
	})
	return group.Wait()
}

// Listen opens a TCP listener; the error of a taken port names its owner.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		if owner := PortOwner(addr); owner != "" {
			return nil, fmt.Errorf("listen on %s: the port is taken by %s: %w", addr, owner, err)
		}
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l, nil
}
