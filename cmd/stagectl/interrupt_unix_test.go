//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// TestInterrupt stops builds with Ctrl-C and SIGTERM while they compile, pull,
// push and write: the old output stays as it was, no temporary file is left
// and no process.
func TestInterrupt(t *testing.T) {
	stages := []struct {
		name string
		// start prepares a build that hangs and returns its arguments, its
		// environment, and a function that waits until it hangs.
		start func(t *testing.T, dir string) (args, env []string, hangs func())
	}{
		{"compiling", hangCompiling},
		{"pulling", func(t *testing.T, dir string) ([]string, []string, func()) {
			host, hangs := hangingRegistry(t, func(r *http.Request) bool {
				return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/")
			})
			return []string{"--base", host + "/base:v1"}, nil, hangs
		}},
		{"pushing", func(t *testing.T, dir string) ([]string, []string, func()) {
			host, hangs := hangingRegistry(t, func(r *http.Request) bool { return r.Method == http.MethodPatch })
			return []string{"-t", host + "/server:v1", "--push"}, nil, hangs
		}},
		{"writing", hangWriting},
		{"running", hangRunning},
		{"downloading", func(t *testing.T, dir string) ([]string, []string, func()) {
			hanging := make(chan struct{}, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, strings.Repeat("x", 1<<16))
				_ = http.NewResponseController(w).Flush()
				hanging <- struct{}{}
				<-r.Context().Done()
			}))
			t.Cleanup(server.Close)
			writeFiles(t, dir, map[string]string{"Dockerfile": "FROM scratch\nADD " + server.URL + "/f /\n"})
			return []string{"-f", filepath.Join(dir, "Dockerfile")}, nil, func() { <-hanging }
		}},
	}
	for _, stage := range stages {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
			t.Run(fmt.Sprintf("%s/%s", stage.name, sig), func(t *testing.T) {
				dir := t.TempDir()
				args, env, hangs := stage.start(t, dir)
				interrupt(t, dir, args, env, hangs, sig)
			})
		}
	}
}

func interrupt(t *testing.T, dir string, args, env []string, hangs func(), sig syscall.Signal) {
	t.Helper()
	for _, sub := range []string{"tmp", "out", "src/server"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	writeFiles(t, dir, map[string]string{
		"out/image.tar":      "old",
		"src/go.mod":         "module example.com/m\n\ngo 1.21\n",
		"src/server/main.go": "package main\n\nfunc main() {}\n",
	})
	args = append([]string{"build", "--cache-dir", filepath.Join(dir, "cache")}, args...)
	if !strings.Contains(strings.Join(args, " "), "--push") && !strings.Contains(strings.Join(args, " "), "-o ") {
		args = append(args, "-o", filepath.Join(dir, "out", "image.tar"))
	}
	cmd := exec.CommandContext(t.Context(), "stagectl", append(args, "./server")...)
	cmd.Dir = filepath.Join(dir, "src")
	cmd.Env = append(append(os.Environ(), "TMPDIR="+filepath.Join(dir, "tmp"), "GOFLAGS="), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hangs()
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if ee := (*exec.ExitError)(nil); !errors.As(err, &ee) || ee.ExitCode() != 1 {
		t.Errorf("got %v, want exit code 1; standard error:\n%s", err, &stderr)
	}
	if !strings.Contains(stderr.String(), "stagectl: interrupted") {
		t.Errorf("standard error does not say so:\n%s", &stderr)
	}
	wantFiles(t, filepath.Join(dir, "out"), "image.tar")
	wantFiles(t, filepath.Join(dir, "tmp"))
	wantFiles(t, filepath.Join(dir, "cache", "tmp"))
	if got, err := os.ReadFile(filepath.Join(dir, "out", "image.tar")); err != nil || string(got) != "old" {
		t.Errorf("the old output is %q, %v", got, err)
	}
}

// hangCompiling has a go command whose build starts a process that never ends.
func hangCompiling(t *testing.T, dir string) (args, env []string, hangs func()) {
	t.Helper()
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	bin, fifo := filepath.Join(dir, "bin"), filepath.Join(dir, "fifo")
	if err := os.Mkdir(bin, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = build ] || exec %s \"$@\"\nsh -c 'echo $$ >%s; exec sleep 1000'\n", real, fifo)
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	var pid int
	t.Cleanup(func() { wantGone(t, pid) })
	return nil, []string{"PATH=" + bin + string(filepath.ListSeparator) + os.Getenv("PATH")}, func() { pid = readPID(t, fifo) }
}

// hangRunning has a RUN of a Dockerfile with a program that never ends.
func hangRunning(t *testing.T, dir string) (args, env []string, hangs func()) {
	t.Helper()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	var pid int
	t.Cleanup(func() { wantGone(t, pid) })
	writeFiles(t, dir, map[string]string{"Dockerfile": `FROM golang AS build
COPY <<EOF /m/main.go
package main
import ("fmt"; "os"; "time")
func main() {
	os.WriteFile("` + fifo + `", fmt.Appendln(nil, os.Getpid()), 0)
	time.Sleep(time.Hour)
}
EOF
RUN go run /m/main.go
FROM scratch
COPY --from=build /m /m
`})
	env = []string{"GOTOOLCHAIN=local", "GOPROXY=off"}
	return []string{"-f", filepath.Join(dir, "Dockerfile"), "--allow-host-exec", "--offline"}, env, func() { pid = readPID(t, fifo) }
}

// readPID reads what a process says of itself.
func readPID(t *testing.T, fifo string) int {
	t.Helper()
	raw, err := os.ReadFile(fifo)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// wantGone waits for the end of a process that was told to end. Its parent is
// gone, so that nobody else can wait.
func wantGone(t *testing.T, pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		zombie := err == nil && strings.Contains(string(raw), ") Z ")
		if zombie || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Errorf("process %d is still there", pid)
			return
		}
	}
}

// hangWriting writes to a pipe that nobody empties.
func hangWriting(t *testing.T, dir string) (args, env []string, hangs func()) {
	t.Helper()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"-o", fifo}, nil, func() {
		f, err := os.Open(fifo)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if _, err := io.ReadFull(f, make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
	}
}

// hangingRegistry has a base and does not answer the requests that hang says.
func hangingRegistry(t *testing.T, hang func(*http.Request) bool) (host string, hangs func()) {
	t.Helper()
	backend := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	hanging := make(chan struct{}, 16)
	var armed atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if armed.Load() && hang(r) {
			hanging <- struct{}{}
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	host = strings.TrimPrefix(server.URL, "http://")
	ref, err := name.ParseReference(host + "/base:v1")
	if err != nil {
		t.Fatal(err)
	}
	img, err := alpine(v1.Platform{OS: "linux", Architecture: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	return host, func() { <-hanging }
}
