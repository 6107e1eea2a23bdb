//go:build linux

package e2e

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
)

const (
	// tutorialGo is the release of Go that golang:1.6-alpine has.
	tutorialGo = "go1.6.4"
	// toolchainModule has the releases of Go (https://go.dev/ref/mod#toolchain).
	toolchainModule = "golang.org/toolchain"
)

// fetchTutorialGo puts the tutorial's release of Go into the module cache, and
// the list of all releases into a module proxy in dir, for the sandbox has none.
func fetchTutorialGo(ctx context.Context, dir string) error {
	if _, err := goRunEnv(ctx, os.TempDir(), []string{"GOTOOLCHAIN=" + tutorialGo}, "version"); err != nil {
		return fmt.Errorf("the tutorial needs %s, which the module proxy does not give: %w", tutorialGo, err)
	}
	out, err := goRunEnv(ctx, os.TempDir(), []string{"GO111MODULE=on", "GOFLAGS=-mod=mod", "GOWORK=off"},
		"list", "-m", "-versions", toolchainModule)
	if err != nil {
		return fmt.Errorf("the tutorial needs the list of Go's releases, which the module proxy does not give: %w", err)
	}
	at := filepath.Join(dir, filepath.FromSlash(toolchainModule), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	_, list, _ := strings.Cut(strings.TrimSpace(out), " ")
	versions := strings.Fields(list)
	errs := []error{os.WriteFile(filepath.Join(at, "list"), []byte(strings.Join(versions, "\n")), 0o644)}
	for _, v := range versions {
		errs = append(errs,
			os.WriteFile(filepath.Join(at, v+".mod"), []byte("module "+toolchainModule+"\n"), 0o644),
			os.WriteFile(filepath.Join(at, v+".info"), fmt.Appendf(nil, `{"Version":%q}`, v), 0o644))
	}
	return errors.Join(errs...)
}

// TestTutorial proves that the classic tutorial's Dockerfile of two stages makes
// what it promises, with a golang image that is nowhere and with one of which
// only the configuration is read.
func TestTutorial(t *testing.T) {
	if env.TutorialErr != "" {
		t.Fatal(env.TutorialErr)
	}
	home := t.TempDir()
	o := opts{Dir: t.TempDir(), Env: []string{"XDG_CACHE_HOME=" + home, "GOPROXY=file://" + env.Releases}}
	if err := os.CopyFS(o.Dir, os.DirFS("tutorial")); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"build", "-f", "Dockerfile.multi", "-t", "golang-app", "."}, useMirror()...)

	r := stagectl(t, o, args...)
	equal(t, "exit code", r.Code, 0)
	equal(t, "standard output", r.Stdout, "image.tar\n")
	contains(t, "standard error", r.Stderr, "golang:1.6-alpine: not to be had; by its tag it is Go 1.6.4")
	archive := filepath.Join(o.Dir, "image.tar")
	first := fileDigest(t, archive)
	checkTutorial(t, archive)

	t.Run("again", func(t *testing.T) {
		r := stagectl(t, o, args...)
		equal(t, "exit code", r.Code, 0)
		if strings.Contains(r.Stderr, "run Dockerfile.multi") {
			t.Error("what has not changed was run again")
		}
		equal(t, "archive", fileDigest(t, archive), first)
	})
	t.Run("image of golang", func(t *testing.T) {
		pushGolangConfig(t, "1.6-alpine", strings.TrimPrefix(tutorialGo, "go"))
		o := o
		o.Env = []string{"GOPROXY=off"}
		var r result
		reqs := services.Mirror.during(t, func() { r = stagectl(t, o, args...) })
		equal(t, "exit code", r.Code, 0)
		if strings.Contains(r.Stderr, "not to be had") {
			t.Error("the image was not found")
		}
		equal(t, "archive", fileDigest(t, archive), first)
		equal(t, "blobs of golang that were read, its configuration alone", len(reqs.match("GET", golangRepo+"/blobs/")), 1)
	})
}

// checkTutorial loads the archive, runs the image as the tutorial does, and
// looks at the program.
func checkTutorial(t testing.TB, archive string) {
	t.Helper()
	equal(t, "loaded", dockerLoad(t, archive), []string{"golang-app:latest"})
	image := inspect(t, "docker", "golang-app")
	equal(t, "command", image.Config.Cmd, []string{"/app"})
	equal(t, "ports", image.Config.ExposedPorts, map[string]struct{}{"80/tcp": {}})
	id := start(t, "docker", "-p", "127.0.0.1:0:80", "golang-app")
	equal(t, "answer", fetch(t, "http://"+docker(t, "port", id, "80/tcp")+"/"), "Hello World from "+tutorialGo+"\n")
	file := filepath.Join(t.TempDir(), "app")
	docker(t, "cp", id+":/app", file)
	equal(t, "release that linked the program", buildVersion(t, file), tutorialGo)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{env.Dir, env.Go["GOMODCACHE"]} {
		if bytes.Contains(data, []byte(part)) {
			t.Errorf("the program has %s of this host in it", part)
		}
	}
}

// buildVersion is the release of Go that a program notes in its memory, as the
// linkers of all releases have made it do.
func buildVersion(t testing.TB, file string) string {
	t.Helper()
	program, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	symbols, err := program.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if s.Name == "runtime.buildVersion" {
			header := readMemory(t, program, s.Value, 16)
			text := program.ByteOrder.Uint64(header)
			return string(readMemory(t, program, text, program.ByteOrder.Uint64(header[8:])))
		}
	}
	t.Fatalf("%s has no runtime.buildVersion", file)
	return ""
}

// readMemory reads what a program has at an address when it starts.
func readMemory(t testing.TB, program *elf.File, addr, size uint64) []byte {
	t.Helper()
	for _, s := range program.Sections {
		if s.Type == elf.SHT_PROGBITS && s.Addr <= addr && addr+size <= s.Addr+s.Size {
			data := make([]byte, size)
			if _, err := s.ReadAt(data, int64(addr-s.Addr)); err != nil {
				t.Fatal(err)
			}
			return data
		}
	}
	t.Fatalf("nothing is at %#x", addr)
	return nil
}

// golangRepo is the repository of the golang images, as Docker Hub has it.
const golangRepo = "library/golang"

// pushGolangConfig pushes a golang image to the mirror that only tells which
// release it has: its layer is no archive, and cannot be read.
func pushGolangConfig(t testing.TB, tag, release string) {
	t.Helper()
	layer := static.NewLayer([]byte("not a layer"), dockerTypes.layer)
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, dockerTypes.manifest), dockerTypes.config)
	img, err := mutate.AppendLayers(img, layer)
	if err != nil {
		t.Fatal(err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	p, err := v1.ParsePlatform(hostPlatform)
	if err != nil {
		t.Fatal(err)
	}
	cf.OS, cf.Architecture = p.OS, p.Architecture
	cf.Config = v1.Config{
		Env: []string{
			"PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"GOLANG_VERSION=" + release, "GOPATH=/go",
		},
		WorkingDir: "/go",
	}
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(services.Mirror.Host+"/"+golangRepo+":"+tag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}
