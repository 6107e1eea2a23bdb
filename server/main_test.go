package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// asServer in the environment makes the test binary the server itself, so that
// the tests see exit codes and signals as an engine does.
const asServer = "STAGECTL_TEST_AS_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestExitOnSignal(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot send another a signal on Windows")
	}
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd := serverCmd(t, "0")
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			addr := readAddr(t, stdout)
			if got := get(t, "http://"+addr+"/healthz"); got != "ok\n" {
				t.Errorf("GET /healthz = %q", got)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("the server ended with %v, want exit status 0", err)
			}
		})
	}
}

func TestExitOnError(t *testing.T) {
	tests := map[string]struct {
		port, want string
		args       []string
	}{
		"malformed port": {port: "eighty", want: "server: reading PORT: \"eighty\" is not a number from 0 to 65535\n"},
		"no server":      {port: "1", args: []string{"-health"}, want: "server: checking health: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cmd := serverCmd(t, tt.port, tt.args...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			var exit *exec.ExitError
			if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("the server ended with %v, want exit status 1", err)
			}
			if !strings.HasPrefix(stderr.String(), tt.want) {
				t.Errorf("standard error: got %q, want %q…", stderr.String(), tt.want)
			}
		})
	}
}

func serverCmd(t *testing.T, port string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), asServer+"=1", "PORT="+port)
	return cmd
}
