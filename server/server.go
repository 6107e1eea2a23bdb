package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// A client that takes longer than these for its part holds a connection
	// that another could use. The answers are one line, so they can be short.
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 10 * time.Second
	idleTimeout       = time.Minute

	// grace is for the requests in flight when the signal comes. Docker sends
	// SIGKILL ten seconds after SIGTERM, so it has to be less.
	grace = 8 * time.Second
)

// newHandler returns the routes of the server on the host of that name.
func newHandler(hostname string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", text("Hello from "+hostname+"\n"))
	mux.Handle("GET /healthz", text("ok\n"))
	return mux
}

// text answers every request with s.
func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		// An error means that the client has gone, so there is nobody to tell.
		_, _ = io.WriteString(w, s)
	})
}

// serve answers requests from ln until ctx is done and those that had begun by
// then have finished, or have used up their grace. It closes ln.
func serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()

	select {
	case err := <-failed:
		return fmt.Errorf("serving on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	// ctx is done, so the grace needs a context that is not.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		return fmt.Errorf("shutting down: %w", errors.Join(err, srv.Close()))
	}
	return nil
}
