//go:build unix

package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A prune says that it waits for a build, takes nothing away from it, and can
// be called off with Ctrl-C.
func TestPruneWaits(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "src/server"), 0o750); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, dir, map[string]string{
		"src/go.mod":         "module example.com/m\n\ngo 1.21\n",
		"src/server/main.go": "package main\n\nfunc main() {}\n",
	})
	cacheFlag := []string{"--cache-dir", filepath.Join(dir, "cache")}
	_, env, hangs := hangCompiling(t, dir)
	building := exec.CommandContext(t.Context(), "stagectl", append([]string{"build", "-o", filepath.Join(dir, "image.tar"), "./server"}, cacheFlag...)...)
	building.Dir = filepath.Join(dir, "src")
	building.Env = append(append(os.Environ(), "GOFLAGS="), env...)
	if err := building.Start(); err != nil {
		t.Fatal(err)
	}
	hangs()
	kept := filepath.Join(dir, "cache", "blobs", "sha256", strings.Repeat("0", 64))
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		prune, stderr, _ := startPrune(t, cacheFlag)
		waitForLine(t, stderr, "waiting for the end of the builds that use the cache")
		if err := prune.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(stderr)
		err := prune.Wait()
		if ee := (*exec.ExitError)(nil); !errors.As(err, &ee) || ee.ExitCode() != 1 || !strings.Contains(string(rest), "interrupted") {
			t.Errorf("%s: %v: %s", sig, err, rest)
		}
	}
	prune, stderr, stdout := startPrune(t, cacheFlag)
	waitForLine(t, stderr, "waiting for the end of the builds that use the cache")
	if _, err := os.Stat(kept); err != nil {
		t.Error("a blob was taken away from a build: ", err)
	}
	if err := building.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = building.Wait()
	rest, _ := io.ReadAll(stderr)
	if err := prune.Wait(); err != nil || !strings.HasPrefix(stdout.String(), "removed ") {
		t.Errorf("%v: %s%s", err, rest, stdout)
	}
	if _, err := os.Stat(kept); !errors.Is(err, os.ErrNotExist) {
		t.Error("the blob is left: ", err)
	}
}

func startPrune(t *testing.T, flags []string) (cmd *exec.Cmd, stderr *bufio.Reader, stdout *bytes.Buffer) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), "stagectl", append([]string{"cache", "prune"}, flags...)...)
	stdout = &bytes.Buffer{}
	cmd.Stdout = stdout
	pipe, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewReader(pipe), stdout
}

func waitForLine(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if strings.Contains(line, want) {
			return
		}
		if err != nil {
			t.Fatalf("got %v before the line %q", err, want)
		}
	}
}
