package simulator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/vmware/govmomi/vim25/types"
	"golang.org/x/sync/errgroup"

	"yardmaster.dev/pkg/service"
)

const (
	headerTimeout = 5 * time.Second
	stopGrace     = 3 * time.Second
)

// errStarting is the health of a world that does not serve yet.
var errStarting = errors.New("the simulated world is being built")

// Run is the process: it builds the world, serves it, and stops with ctx. The
// world is ready when GET /readyz at the control address answers 200.
func Run(ctx context.Context, cfg Config, env service.Env) error {
	env.Health.Set("world", errStarting)
	// govmomi's simulator writes to the standard logger.
	log.SetFlags(0)
	log.SetOutput(slog.NewLogLogger(env.Log.Handler(), slog.LevelDebug).Writer())
	w, err := New(ctx, cfg, env.Log)
	if err != nil {
		return err
	}
	return w.Serve(ctx, env.Health)
}

// Serve runs the world until ctx ends; the check named world of health turns
// fine once both addresses answer.
func (w *World) Serve(ctx context.Context, health *service.Health) error {
	defer func() { _ = w.journal.close() }()
	cert, err := identity(w.cfg)
	if err != nil {
		return err
	}
	front, err := openDoor(ctx, w.cfg.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = front.Close() }()
	back, err := service.Listen(ctx, w.cfg.Control)
	if err != nil {
		return err
	}
	defer func() { _ = back.Close() }()
	w.addresses.set(front.Addr().String(), back.Addr().String())
	w.leasesAt("https://" + front.Addr().String() + w.reg.Path)
	defer w.away.Wait()
	group, ctx := errgroup.WithContext(ctx)
	secure := tls.NewListener(front, &tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12,
		// The simulator knows no HTTP/2.
		NextProtos: []string{"http/1.1"},
	})
	group.Go(func() error { return w.listen(ctx, secure, w.svc.ServeMux) })
	group.Go(func() error { return w.listen(ctx, back, w.controlHandler(ctx, front, health)) })
	group.Go(func() error { return w.guests.run(ctx, w.cfg.Guests) })
	group.Go(func() error {
		select {
		case err := <-w.failed:
			return err
		case <-ctx.Done():
			return nil
		}
	})
	health.Set("world", nil)
	w.log.InfoContext(ctx, "simulated vcenter is ready", service.KeyAddress, front.Addr().String(),
		service.KeyCount, len(w.machines()))
	return group.Wait()
}

// leasesAt says where the files of imports are uploaded to.
func (w *World) leasesAt(url string) {
	options := w.reg.OptionManager()
	w.reg.WithLock(w.context(), options, func() {
		options.Setting = append(options.Setting, &types.OptionValue{Key: "vcsim.server.url", Value: url})
	})
}

func (w *World) listen(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ErrorLog:          slog.NewLogLogger(w.log.Handler(), slog.LevelDebug),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", l.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		if server.Shutdown(grace) != nil {
			return server.Close()
		}
		return nil
	})
	return group.Wait()
}
