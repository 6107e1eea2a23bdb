package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// platform is what is built for unless a row says otherwise.
const platform = "linux/" + runtime.GOARCH

// tools are the programs that take turns, and what they share.
type tools struct {
	dir          string
	stagectl, ko string
	noKo         string // why ko does not take part
	env          []string
	host         string // of the registry
	close        func()
}

// serve starts the registry, with a base image for ko.
func (t *tools) serve(ctx context.Context) error {
	blobs := filepath.Join(t.dir, "registry")
	for _, dir := range []string{blobs, t.out("stagectl")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	s := httptest.NewServer(registry.New(
		registry.Logger(log.New(io.Discard, "", 0)), registry.WithBlobHandler(registry.NewDiskBlobHandler(blobs))))
	t.close = s.Close
	t.host = s.Listener.Addr().String()
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH})
	if err != nil {
		return err
	}
	ref, err := name.ParseReference(t.host + "/base")
	if err != nil {
		return err
	}
	if err := remote.Write(ref, img, remote.WithContext(ctx)); err != nil {
		s.Close()
		return fmt.Errorf("filling the registry: %w", err)
	}
	return nil
}

// out is a directory or file of one tool's own.
func (t *tools) out(names ...string) string {
	return filepath.Join(append([]string{t.dir, "out"}, names...)...)
}

// cacheDir is stagectl's cache.
func (t *tools) cacheDir() string { return filepath.Join(t.dir, "cache") }

// floor is what nothing that compiles can be faster than.
func (t *tools) floor(w *workload) contender {
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w",
		"-o", t.out("floor", w.Name) + string(filepath.Separator)}
	return contender{Name: floorName, Run: func(ctx context.Context) (float64, error) {
		cmd := t.command(ctx, w, "go", append(args, w.Patterns...)...)
		cmd.Env = append(cmd.Env, "GOOS=linux")
		return seconds(cmd)
	}}
}

// archive is stagectl with an archive as its output.
func (t *tools) archive(w *workload, args ...string) contender {
	args = append([]string{"-o", t.out("stagectl", w.Name+".tar")}, args...)
	return t.build(archiveName, w, args)
}

// push is stagectl with the registry as its output.
func (t *tools) push(w *workload) contender {
	return t.build(pushName, w, []string{"--push", "-t", t.host + "/stagectl/" + w.Name + "/{name}:bench"})
}

func (t *tools) build(name string, w *workload, args []string) contender {
	return contender{Name: name, Run: func(ctx context.Context) (float64, error) {
		return seconds(t.buildCommand(ctx, w, args))
	}}
}

// buildCommand is `stagectl build` with args.
func (t *tools) buildCommand(ctx context.Context, w *workload, args []string) *exec.Cmd {
	all := []string{"build", "-q", "--cache-dir", t.cacheDir()}
	all = append(append(all, args...), w.Patterns...)
	return t.command(ctx, w, t.stagectl, all...)
}

// koPush is ko, which takes no patterns; with cached, it has its KOCACHE.
func (t *tools) koPush(w *workload, cached bool) contender {
	args := []string{"build", "--base-import-paths", "--sbom=none", "--platform", platform}
	for _, dir := range w.Mains {
		args = append(args, "./"+dir)
	}
	env := []string{"KO_DOCKER_REPO=" + t.host + "/ko", "KO_DEFAULTBASEIMAGE=" + t.host + "/base"}
	c := contender{Name: koName, Missing: t.noKo}
	if cached {
		c.Name = koCacheName
		env[0] += "-cached"
		env = append(env, "KOCACHE="+t.out("ko"))
	}
	c.Run = func(ctx context.Context) (float64, error) {
		cmd := t.command(ctx, w, t.ko, args...)
		cmd.Env = append(cmd.Env, env...)
		return seconds(cmd)
	}
	return c
}

func (t *tools) command(ctx context.Context, w *workload, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = w.Dir
	cmd.Env = t.env[:len(t.env):len(t.env)]
	return cmd
}

// seconds runs cmd and says how long that took.
func seconds(cmd *exec.Cmd) (float64, error) {
	start := time.Now()
	_, err := output(cmd)
	return time.Since(start).Seconds(), err
}

// output runs cmd and returns its standard output. An error has the end of
// what it said.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", commandError(cmd, err, stderr.String())
	}
	return strings.TrimSpace(stdout.String()), nil
}

// commandError is err with the program's name and its last line.
func commandError(cmd *exec.Cmd, err error, stderr string) error {
	said := strings.TrimSpace(stderr)
	return fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, said[strings.LastIndex(said, "\n")+1:])
}
