// Command stagectl makes container images out of Go packages without Docker.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(run()) }

// run is main with an exit code: 0 done, 1 failed, 2 wrongly called.
func run() int {
	ctx, stop := interruptible(context.Background())
	defer stop()
	a := &app{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Environ: os.Environ(), Getwd: os.Getwd, Now: time.Now,
	}
	return a.main(ctx, os.Args[1:])
}

// interruptible returns a context that ends at the first Ctrl-C or SIGTERM,
// which lets everything clean up. The second one ends the process at once.
func interruptible(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals)
		cancel()
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel()
	}
}
