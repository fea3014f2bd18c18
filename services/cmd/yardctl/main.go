// Command yardctl is what people and pipelines speak to a yard with.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"yardmaster.dev/services/yardctl"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := yardctl.Run(ctx, yardctl.Env{
		Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Getenv: os.Getenv, Now: time.Now,
	})
	stop()
	os.Exit(code)
}
