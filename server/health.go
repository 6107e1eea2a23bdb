package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// healthTimeout is well below the 30 seconds that an engine gives a health
// check by default: a server that needs longer to say "ok" is not well.
const healthTimeout = 3 * time.Second

// checkHealth asks the server on the given port of this host for /healthz.
func checkHealth(ctx context.Context, port string) error {
	if port == "0" {
		return errors.New("checking health: PORT is 0, so the server's port is not known")
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	// The address and not "localhost", which needs /etc/hosts to mean anything.
	url := "http://" + net.JoinHostPort("127.0.0.1", port) + "/healthz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("checking health: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("checking health: %w", err)
	}
	// The status line has come, so the body decides nothing any more.
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("checking health: %s answered %s", url, resp.Status)
	}
	return nil
}
