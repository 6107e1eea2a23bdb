// Command server is the sample that the README and the tests put into images:
// a small HTTP server with what a server in a container needs and no more. It
// answers / with the name of the host it runs on and /healthz with "ok",
// listens on PORT (8080 where that is not set), and on SIGTERM or SIGINT lets
// the requests it has begun finish. It logs nothing: it is there to be read.
//
// Called with -health it asks the server beside it how it is, and exits 0 or 1.
// An image without a shell has no curl either, so that is its health check:
//
//	stagectl build -p 8080 --health-cmd '["/app/server","-health"]' ./server
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

const defaultPort = 8080

func main() {
	health := flag.Bool("health", false, "ask the server that runs on this host's PORT for its health and exit 0 or 1")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the usual handling returns, so that a second one
	// ends the process even if a request never does.
	context.AfterFunc(ctx, stop)

	if err := run(ctx, *health, os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// run is main without the process around it.
func run(ctx context.Context, health bool, getenv func(string) string, stdout io.Writer) error {
	port, err := parsePort(getenv("PORT"))
	if err != nil {
		return err
	}
	if health {
		return checkHealth(ctx, port)
	}
	hostname, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("finding the host name: %w", err)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort("", port))
	if err != nil {
		return fmt.Errorf("opening port %s: %w", port, err)
	}
	// The address rather than PORT, which is 0 for "any that is free".
	if _, err := fmt.Fprintf(stdout, "listening on %s\n", ln.Addr()); err != nil {
		return fmt.Errorf("announcing the address: %w", err)
	}
	return serve(ctx, ln, newHandler(hostname))
}

// parsePort returns the port that the value of PORT asks for, in decimal.
func parsePort(value string) (string, error) {
	if value == "" {
		return strconv.Itoa(defaultPort), nil
	}
	port, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return "", fmt.Errorf("reading PORT: %q is not a number from 0 to 65535", value)
	}
	return strconv.FormatUint(port, 10), nil
}
