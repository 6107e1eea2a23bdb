package golang

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/version"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/event"
)

// Host runs the host's go command and git for stages. Its methods may be called
// from several goroutines.
type Host struct {
	// Go is the command's name or path, "go" where empty.
	Go string
	// Env is the environment of the process that the build is a part of.
	Env []string
	// Offline keeps the go command from the network.
	Offline bool
	// Progress is told of what is fetched.
	Progress event.Func
	// Records, unless nil, remember what the go command has said.
	Records compile.Records
	// Packages, unless empty, is a directory in which the standard library of
	// releases stays that have no build cache. Any number of processes may share it.
	Packages string
	// Forget has nothing that is remembered used, but all remembered anew.
	Forget bool

	mu       sync.Mutex
	settings map[string]string
	releases []string
	roots    map[string]string
}

// settingNames are what the host's user may have set for the go command, by
// variables or by `go env -w`, and what says where it keeps things.
var settingNames = strings.Fields(`GOVERSION GOROOT GOMODCACHE GOCACHE GOFLAGS GOPROXY GOSUMDB GONOSUMDB GOPRIVATE GONOPROXY GOINSECURE GOVCS`)

// setting returns a setting of the host's go command.
func (h *Host) setting(ctx context.Context, name string) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.settings == nil {
		settings, err := h.allSettings(ctx)
		if err != nil {
			return "", fmt.Errorf("asking the go command for its settings: %w", err)
		}
		if h.Offline {
			settings["GOPROXY"], settings["GONOPROXY"] = "off", "none"
		}
		h.settings = settings
	}
	return h.settings[name], nil
}

// The kinds of records.
const (
	settingRecords = "settings" // of the go command
	releaseRecords = "releases" // that the module proxy knows
	rootRecords    = "roots"    // of releases
)

// allSettings are remembered, unless one may have a password in it.
func (h *Host) allSettings(ctx context.Context) (map[string]string, error) {
	settings := map[string]string{}
	if h.recall(settingRecords, "", &settings) {
		return settings, nil
	}
	out, err := output(h.command(ctx, append([]string{"env", "-json"}, settingNames...), "GOTOOLCHAIN=local"))
	if err == nil {
		err = json.Unmarshal(out, &settings)
	}
	if err != nil {
		return nil, err
	}
	for _, value := range settings {
		if strings.Contains(value, "@") {
			return settings, nil
		}
	}
	h.remember(settingRecords, "", settings)
	return settings, nil
}

// recall reads what the go command said when all was the same that it goes by.
func (h *Host) recall(kind, key string, value any) bool {
	if h.Records == nil || h.Forget {
		return false
	}
	sum, err := h.compiler().Fingerprint()
	return err == nil && h.Records.Record(kind, sum+" "+key, value)
}

// remember notes it. That it cannot only makes the next build slower.
func (h *Host) remember(kind, key string, value any) {
	if h.Records == nil {
		return
	}
	if sum, err := h.compiler().Fingerprint(); err == nil {
		_ = h.Records.SetRecord(kind, sum+" "+key, value)
	}
}

func (h *Host) compiler() *compile.Compiler { return &compile.Compiler{Go: h.Go, Env: h.Env} }

// command is the go command in a directory that has nothing to do with any
// project.
func (h *Host) command(ctx context.Context, args []string, env ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, h.program(), args...)
	cmd.Dir = os.TempDir()
	cmd.Env = slices.Concat(h.Env, env)
	return cmd
}

func (h *Host) program() string {
	if h.Go == "" {
		return "go"
	}
	return h.Go
}

// output is what a command prints, or an error with what it complains of.
func output(cmd *exec.Cmd) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if text := strings.TrimSpace(stderr.String()); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return nil, err
	}
	return stdout.Bytes(), nil
}

// local is the release of the host's own go command, as "1.26.0".
func (h *Host) local(ctx context.Context) (string, error) {
	v, err := h.setting(ctx, "GOVERSION")
	v, _, _ = strings.Cut(v, " ") // what is built with an experiment says so
	return strings.TrimPrefix(v, "go"), err
}

// Find returns the release that a tag of the golang image means: the one that
// it names, or the newest patch of it that the module proxy knows or, without
// any proxy, the host's own.
func (h *Host) Find(ctx context.Context, tag string) (string, error) {
	want, ok := wanted(tag)
	if !ok {
		return "", fmt.Errorf("the tag %q says no release of Go", tag)
	}
	if exact(want) {
		return want, nil
	}
	local, err := h.local(ctx)
	if err != nil {
		return "", err
	}
	known, err := h.known(ctx, want)
	if err != nil {
		if within(local, want) {
			return local, nil
		}
		return "", fmt.Errorf("finding the newest release of Go %s: %w", want, err)
	}
	newest := newestOf(known, want)
	switch {
	case newest != "":
		return newest, nil
	case within(local, want):
		return local, nil
	}
	return "", fmt.Errorf("there is no release %s of Go for %s/%s", want, runtime.GOOS, runtime.GOARCH)
}

// newestOf is the newest of some releases that a version stands for, or empty.
func newestOf(releases []string, want string) string {
	newest := ""
	for _, release := range releases {
		if within(release, want) && !strings.ContainsAny(release, "abcr") && (newest == "" || atLeast(release, newest)) {
			newest = release
		}
	}
	return newest
}

// supported is how many minor releases of Go get patches, the newest ones
// (https://go.dev/doc/devel/release#policy).
const supported = 2

// final tells whether no release will come any more that is what a version
// stands for.
func final(want string, releases []string) bool {
	_, text, _ := strings.Cut(want, ".")
	minor, err := strconv.Atoi(text)
	newest := strings.Split(newestOf(releases, ""), ".")
	if err != nil || len(newest) < 2 || newestOf(releases, want) == "" {
		return false
	}
	last, err := strconv.Atoi(newest[1])
	return err == nil && minor+supported <= last
}

// known are the releases that the module proxy has for the host's system
// (https://go.dev/ref/mod#toolchain). It is not asked for those of which it once
// knew the last.
func (h *Host) known(ctx context.Context, want string) ([]string, error) {
	if _, err := h.setting(ctx, "GOPROXY"); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.releases != nil {
		return h.releases, nil
	}
	var remembered []string
	if h.recall(releaseRecords, "", &remembered) && final(want, remembered) {
		return remembered, nil
	}
	env := []string{"GOTOOLCHAIN=local", "GO111MODULE=on", "GOFLAGS=-mod=mod", "GOWORK=off"}
	for _, name := range []string{"GOPROXY", "GONOPROXY"} {
		env = append(env, name+"="+h.settings[name])
	}
	out, err := output(h.command(ctx, []string{"list", "-m", "-versions", "golang.org/toolchain"}, env...))
	if err != nil {
		return nil, err
	}
	suffix := "." + runtime.GOOS + "-" + runtime.GOARCH
	for v := range strings.FieldsSeq(string(out)) {
		release, ok := strings.CutSuffix(v, suffix)
		if !ok {
			continue
		}
		if release, ok = strings.CutPrefix(release, "v0.0.1-go"); ok && version.IsValid("go"+release) {
			h.releases = append(h.releases, release)
		}
	}
	h.remember(releaseRecords, "", h.releases)
	return h.releases, nil
}

// toolchain is the value of GOTOOLCHAIN for a release.
func (h *Host) toolchain(ctx context.Context, release string) (string, error) {
	local, err := h.local(ctx)
	if err != nil || release == local {
		return "local", err
	}
	return "go" + release, nil
}

// root is the GOROOT of a release, which is fetched for it.
func (h *Host) root(ctx context.Context, release string) (string, error) {
	toolchain, err := h.toolchain(ctx, release)
	if err != nil {
		return "", err
	}
	if toolchain == "local" {
		return h.setting(ctx, "GOROOT")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if root, ok := h.roots[release]; ok {
		return root, nil
	}
	var remembered string
	if h.recall(rootRecords, toolchain, &remembered) && isRoot(remembered, toolchain) {
		return remembered, nil
	}
	env := []string{"GOTOOLCHAIN=" + toolchain, "GOFLAGS="}
	for _, name := range []string{"GOPROXY", "GONOPROXY", "GOMODCACHE"} {
		env = append(env, name+"="+h.settings[name])
	}
	task := h.Progress.Start(event.Resolve, "go"+release, 0)
	out, err := output(h.command(ctx, []string{"env", "GOROOT"}, env...))
	task.End(err, "through GOTOOLCHAIN")
	if err != nil {
		return "", fmt.Errorf("fetching Go %s: %w", release, err)
	}
	if h.roots == nil {
		h.roots = map[string]string{}
	}
	h.roots[release] = strings.TrimSpace(string(out))
	h.remember(rootRecords, toolchain, h.roots[release])
	return h.roots[release], nil
}

// isRoot tells whether a release is in a directory.
func isRoot(dir, toolchain string) bool {
	version, err := os.ReadFile(filepath.Join(dir, "VERSION"))
	first, _, _ := strings.Cut(string(version), "\n")
	if err != nil || strings.TrimSpace(first) != toolchain {
		return false
	}
	_, err = exec.LookPath(filepath.Join(dir, "bin", "go"))
	return err == nil
}
