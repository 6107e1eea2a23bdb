package script_test

import (
	"context"
	"debug/buildinfo"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/rootfs"
	"github.com/stagectl/stagectl/builder/script"
)

// startReal runs the programs of the machine that the test runs on.
func startReal(t *testing.T, r *result) func(script.Call) error {
	t.Helper()
	return func(c script.Call) error {
		cmd := exec.CommandContext(t.Context(), c.Name, c.Args...)
		cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Dir, c.Stdin, c.Stdout, c.Stderr
		cmd.Env = slices.Concat(c.Env, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GOTOOLCHAIN=local", "GOPROXY=off", "GOCACHE=" + goCache(t)})
		r.calls = append(r.calls, c)
		return cmd.Run()
	}
}

func goCache(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOCACHE").Output()
	must(t, err)
	return strings.TrimSpace(string(out))
}

// The go command and git as they are, on a stage's files.
func TestRealPrograms(t *testing.T) {
	for _, name := range []string{"go", "git"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("there is no %s", name)
		}
	}
	f := newStage(t, append([]string{
		"-rw-r--r-- 0:0 /src/go.mod module example.com/hello\n\ngo 1.21\n",
		"-rw-r--r-- 0:0 /src/main.go package main\n\nvar version string\n\nfunc main() { println(version) }\n",
		"-rw-r--r-- 0:0 /src/lib/lib.go package lib\n",
	}, alpine...)...)
	var r result
	w := &world{command: startReal(t, &r)}
	run := &plan.Run{
		Script: "set -e\n" +
			"git init -q . && git config user.name me && git config --global user.email me@example.com\n" +
			"CGO_ENABLED=0 go build -trimpath -ldflags=\"-X main.version=$(date +%Y)\" -o /out/ . && go vet ./...\n" +
			"go list -f '{{.Dir}}' ./lib /src\n" +
			"go env GOMOD GOPATH\n" +
			"git rev-parse --show-toplevel; git config --global user.email\n" +
			"cd / && go version -m /out/hello | grep -c example.com/hello\n",
		Dir: "/src", Env: []string{"GOPATH=/go"},
	}
	got := w.run(t, f, run)
	if got.err != nil {
		t.Fatalf("%v\n%s", got.err, got.stderr)
	}
	if want := "/src/lib\n/src\n/src/go.mod\n/go\n/src\nme@example.com\n2\n"; got.stdout != want {
		t.Errorf("got %q, want %q", got.stdout, want)
	}
	host, err := f.HostPath("/out/hello")
	must(t, err)
	info, err := buildinfo.ReadFile(host)
	must(t, err)
	if info.Path != "example.com/hello" {
		t.Errorf("built %s", info.Path)
	}
	content, err := f.ReadFile("/out/hello")
	must(t, err)
	if strings.Contains(string(content), filepath.Dir(host)) {
		t.Error("the binary has a path of the host")
	}
	if config, err := f.ReadFile("/root/.gitconfig"); err != nil || !strings.Contains(string(config), "me@example.com") {
		t.Errorf("the configuration of git is %q, %v", config, err)
	}

	must(t, f.WriteFile("/src/main.go", []byte("package main\n\nfunc main() { x }\n"), 0, rootfs.Root))
	run.Script = "go build"
	got = w.run(t, f, run)
	var e *script.Error
	if !errors.As(got.err, &e) || e.Status != 1 || !strings.Contains(got.stderr, "./main.go:3:15: undefined: x") {
		t.Errorf("got error %v, %q", got.err, got.stderr)
	}
}

// A script ends when it is canceled, and so does what it started.
func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	f := newStage(t, alpine...)
	host := script.Host{Command: func(ctx context.Context, _ script.Call) error {
		cancel(stopped)
		return ctx.Err()
	}}
	err := script.Exec(ctx, f, &plan.Run{Script: "go version; while true; do :; done", Dir: "/"}, host, script.Options{})
	if !errors.Is(err, stopped) {
		t.Errorf("got error %v", err)
	}
}
