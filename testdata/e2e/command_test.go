//go:build linux

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// result is how a command ended.
type result struct {
	Stdout, Stderr string
	Code           int
}

// execute runs cmd and returns how it ended; not starting at all is fatal.
func execute(t testing.TB, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", cmd, err)
	}
	return result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
}

// output runs cmd, which must succeed, and returns its standard output without
// the last line's end.
func output(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	r := execute(t, cmd)
	if r.Code != 0 {
		t.Fatalf("%s\nexit code %d\n%s%s", cmd, r.Code, r.Stdout, r.Stderr)
	}
	return strings.TrimSuffix(r.Stdout, "\n")
}

// opts say how to run stagectl; the zero value is right for most tests.
type opts struct {
	// Dir is where to run, env.Source unless set.
	Dir string
	// Env holds KEY=VALUE on top of what baseEnv has.
	Env []string
	// Stdin is what the command reads.
	Stdin string
	// Attr runs it as somebody else or somewhere else.
	Attr *syscall.SysProcAttr
}

// stagectl runs the command under test, by default with nothing in its cache.
func stagectl(t testing.TB, o opts, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), env.Stagectl, args...)
	cmd.Dir = o.Dir
	if cmd.Dir == "" {
		cmd.Dir = env.Source
	}
	cmd.Env = append(baseEnv(t), o.Env...)
	cmd.Stdin = strings.NewReader(o.Stdin)
	cmd.SysProcAttr = o.Attr
	r := execute(t, cmd)
	t.Logf("stagectl %s: exit code %d\n%s", strings.Join(args, " "), r.Code, r.Stderr)
	return r
}

// mustStagectl runs stagectl, which must succeed, and returns its standard output
// without the last line's end.
func mustStagectl(t testing.TB, o opts, args ...string) string {
	t.Helper()
	r := stagectl(t, o, args...)
	if r.Code != 0 {
		t.FailNow()
	}
	return strings.TrimSuffix(r.Stdout, "\n")
}

// baseEnv is a whole environment: nothing of the host's but its Go settings.
// Home and cache are new for every call.
func baseEnv(t testing.TB) []string {
	t.Helper()
	home := t.TempDir()
	vars := append(engineEnv(),
		"HOME="+home,
		"XDG_CACHE_HOME="+filepath.Join(home, ".cache"),
		"PATH="+os.Getenv("PATH"),
		"TMPDIR="+os.TempDir(),
		"SSL_CERT_FILE="+services.CA,
		"SSL_CERT_DIR="+home,
	)
	for key, value := range env.Go {
		vars = append(vars, key+"="+value)
	}
	return vars
}

// useMirror are the flags that make `--base alpine` come from the mirror.
func useMirror() []string {
	host := services.Mirror.Host
	return []string{"--registry-mirror", "docker.io=" + host, "--insecure-registry", host}
}

// buildOnAlpine runs `stagectl build --base alpine` with more arguments.
func buildOnAlpine(t testing.TB, o opts, args ...string) string {
	t.Helper()
	return mustStagectl(t, o, append(append([]string{"build", "--base", "alpine"}, useMirror()...), args...)...)
}

// writeFiles writes files below a new directory and returns it.
func writeFiles(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// equal compares and fails with the difference.
func equal[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// contains fails unless text has part in it.
func contains(t testing.TB, what, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%s does not have %q:\n%s", what, part, text)
	}
}
