//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stack is what runs beside the tests.
type stack struct {
	// Mirror serves library/alpine without TLS, as a mirror of Docker Hub.
	Mirror *registry
	// Registry has TLS and asks for the password of a user.
	Registry *registry
	// Alpine is the base image that the mirror serves.
	Alpine *alpine
	// CA is the PEM file of the authority that signed Registry's certificate.
	CA string

	daemons []*daemon
}

// startServices starts the registries and dockerd and fills the mirror.
func startServices(dir string) (_ *stack, err error) {
	s := &stack{CA: filepath.Join(dir, "ca.pem")}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	pair, err := makeCertificate(dir, s.CA, registryName)
	if err != nil {
		return nil, err
	}
	if s.Mirror, err = s.startRegistry(dir, mirrorName, mirrorAddr, ""); err != nil {
		return nil, err
	}
	auth, err := htpasswd(dir)
	if err != nil {
		return nil, err
	}
	if s.Registry, err = s.startRegistry(dir, registryName, registryAddr, pair+auth); err != nil {
		return nil, err
	}
	if s.Alpine, err = pushAlpine(s.Mirror.Host); err != nil {
		return nil, err
	}
	return s, s.startDocker(dir)
}

// stop ends the daemons, the last one first.
func (s *stack) stop() error {
	var errs []error
	for i := len(s.daemons) - 1; i >= 0; i-- {
		errs = append(errs, s.daemons[i].stop())
	}
	return errors.Join(errs...)
}

// daemon is a program that runs as long as the tests do.
type daemon struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// start runs a program that goes on running, its output in dir/NAME.log, and
// returns once ready says so.
func (s *stack) start(dir, name string, ready func(context.Context) error, cmd *exec.Cmd) (*daemon, error) {
	d := &daemon{name: name, cmd: cmd, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	out, err := os.Create(d.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		_ = cmd.Wait()
		close(d.done)
	}()
	s.daemons = append(s.daemons, d)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = poll(ctx, func() error {
		select {
		case <-d.done:
			cancel()
			return errors.New("it ended")
		default:
			return ready(ctx)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w\n%s", name, err, d.tail())
	}
	return d, nil
}

// tail is the end of the daemon's log.
func (d *daemon) tail() string {
	data, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// stop asks the daemon to end and waits until it has.
func (d *daemon) stop() error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	select {
	case <-d.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s does not stop\n%s", d.name, d.tail())
	}
}

// poll calls check until it succeeds or ctx ends, and returns its last error.
func poll(ctx context.Context, check func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
