//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// tools maps every program that the tests run to its Debian package.
var tools = map[string]string{
	"busybox":         "busybox-static",
	"containerd":      "containerd",
	"crun":            "crun",
	"ctr":             "containerd",
	"docker":          "docker.io",
	"docker-registry": "docker-registry",
	"dockerd":         "docker.io",
	"go":              "golang (from go.dev/dl)",
	"htpasswd":        "apache2-utils",
	"podman":          "podman",
	"runc":            "runc",
	"skopeo":          "skopeo",
	"umoci":           "umoci",
}

// Public module that nobody here wrote: many commands, few dependencies.
const (
	publicModule  = "golang.org/x/tools"
	publicVersion = "v0.38.0"
)

// checkHost says everything at once that the host lacks.
func checkHost() error {
	var errs []error
	if os.Geteuid() != 0 {
		errs = append(errs, errors.New("not root: dockerd and namespaces need it"))
	}
	// Debian keeps daemons where a user's PATH does not look.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		return err
	}
	for _, tool := range slices.Sorted(maps.Keys(tools)) {
		if _, err := exec.LookPath(tool); err != nil {
			errs = append(errs, fmt.Errorf("no %s: install %s", tool, tools[tool]))
		}
	}
	return errors.Join(errs...)
}

// prepare does in dir everything that needs the host's network.
func prepare(ctx context.Context, dir string) (setup, error) {
	s := setup{
		Dir:      dir,
		Stagectl: filepath.Join(dir, "stagectl"),
		Source:   filepath.Join(dir, "src"),
		Public:   filepath.Join(dir, "public"),
		Releases: filepath.Join(dir, "releases"),
		BuildKit: filepath.Join(dir, "buildkit-bin"),
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return s, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return s, err
	}
	tmp := filepath.Join(dir, "tmp")
	if err := errors.Join(os.Mkdir(tmp, 0o700), os.Chmod(tmp, 0o777|os.ModeSticky)); err != nil {
		return s, err
	}
	if s.Go, err = goEnv(ctx, root); err != nil {
		return s, err
	}
	if err := makeStagectl(ctx, root, s.Stagectl); err != nil {
		return s, err
	}
	if err := copySource(root, s.Source); err != nil {
		return s, err
	}
	if err := fetchPublic(ctx, s.Public); err != nil {
		s.PublicErr = err.Error()
	}
	if err := fetchTutorialGo(ctx, s.Releases); err != nil {
		s.TutorialErr = err.Error()
	}
	if err := makeBuildKit(ctx, root, s.BuildKit); err != nil {
		s.BuildKitErr = err.Error()
	}
	return s, nil
}

// makeStagectl puts the command under test into file.
func makeStagectl(ctx context.Context, root, file string) error {
	given := os.Getenv("STAGECTL")
	if given == "" {
		_, err := goRun(ctx, root, "build", "-o", file, "./cmd/stagectl")
		return errors.Join(err, os.Chmod(file, 0o755))
	}
	data, err := os.ReadFile(given)
	if err != nil {
		return fmt.Errorf("STAGECTL: %w", err)
	}
	return os.WriteFile(file, data, 0o755)
}

// copySource copies the Go code of the repository at root, and nothing hidden,
// generated or of the tests. It is what a user's clone looks like.
func copySource(root, dir string) error {
	for _, name := range []string{"cmd", "builder", "server"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(root, name))); err != nil {
			return err
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return makeReadable(dir)
}

// makeReadable lets every user read what is below dir, whatever the umask was,
// and its owner write.
func makeReadable(dir string) error {
	out, err := exec.Command("chmod", "-R", "u+w,a+rX", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("chmod %s: %w: %s", dir, err, out)
	}
	return nil
}

// fetchPublic downloads the public module and what its commands need, and
// copies it to dir: a directory in the module cache is read-only.
func fetchPublic(ctx context.Context, dir string) error {
	out, err := goRun(ctx, os.TempDir(), "mod", "download", "-json", publicModule+"@"+publicVersion)
	if err != nil {
		return err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal([]byte(out), &module); err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(module.Dir)); err != nil {
		return err
	}
	if err := makeReadable(dir); err != nil {
		return err
	}
	_, err = goRun(ctx, dir, "mod", "download")
	return err
}

// goEnv is what the tests hand on of the host's Go environment.
func goEnv(ctx context.Context, dir string) (map[string]string, error) {
	out, err := goRun(ctx, dir, "env", "-json",
		"GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GOTOOLCHAIN", "GOSUMDB", "GOPRIVATE", "GONOSUMDB")
	if err != nil {
		return nil, err
	}
	vars := map[string]string{}
	return vars, json.Unmarshal([]byte(out), &vars)
}

// goRun runs the host's go in dir and returns its standard output.
func goRun(ctx context.Context, dir string, args ...string) (string, error) {
	return goRunEnv(ctx, dir, nil, args...)
}

// goRunEnv is goRun with more in the environment.
func goRunEnv(ctx context.Context, dir string, vars []string, args ...string) (string, error) {
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stderr, cmd.Env = dir, &stderr, append(os.Environ(), vars...)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}
