package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/imagetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"stagectl": main})
}

// TestScript runs the scripts that say how the command line behaves. They have
// these commands beside testscript's own and stagectl:
//
//	registry VAR [STATUS]        starts a registry and puts its host into VAR; with STATUS it answers so to everything
//	alpine REF|oci:DIR [PLATFORM...]   makes a small base image, pushed or as a layout
//	requests VAR METHOD [PATTERN] prints the paths of the registry's requests since the last call
//	tree IMAGE [PLATFORM]        prints the files of an archive or layout
//	only DIR FILE...             checks that the directory has these files and no others
//	! build CODE FLAG...         checks that stagectl build ends with an exit code, and leaves and prints nothing
//	same IMAGE IMAGE             checks that two archives have the same files and configuration
//
// $BIN is a PATH with nothing but stagectl.
func TestScript(t *testing.T) {
	goenv := hostGoEnv(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("..", "..", "testdata", "script"),
		RequireExplicitExec: false,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			for _, kv := range goenv {
				key, value, _ := strings.Cut(kv, "=")
				env.Setenv(key, value)
			}
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("HOME", filepath.Join(env.WorkDir, ".home"))
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, ".cache"))
			// A PATH with nothing but stagectl.
			bin, err := exec.LookPath("stagectl")
			if err != nil {
				return err
			}
			env.Setenv("BIN", filepath.Dir(bin))
			env.Setenv("DOCKER_CONFIG", filepath.Join(env.WorkDir, ".docker"))
			return os.MkdirAll(filepath.Join(env.WorkDir, ".home"), 0o750)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"registry": cmdRegistry, "alpine": cmdAlpine, "requests": cmdRequests, "tree": cmdTree, "only": cmdOnly, "same": cmdSame, "build": cmdBuild,
		},
	})
}

// hostGoEnv lets the scripts share the build cache of the machine, and keeps
// them from the network.
func hostGoEnv(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOCACHE", "GOMODCACHE", "GOPATH", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	env := []string{"GOPROXY=off", "GOFLAGS=", "GOTOOLCHAIN=local", "GOENV=off", "NO_COLOR=1", "LC_ALL=C.UTF-8"}
	for i, key := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOROOT"} {
		env = append(env, key+"="+lines[i])
	}
	return env
}

// requestLog is a registry that notes what it is asked.
type requestLog struct {
	registry http.Handler
	status   int

	mu       sync.Mutex
	requests []string
}

func (l *requestLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.requests = append(l.requests, r.Method+" "+r.URL.String())
	l.mu.Unlock()
	if l.status != 0 {
		w.WriteHeader(l.status)
		return
	}
	l.registry.ServeHTTP(w, r)
}

// take returns the requests so far and forgets them.
func (l *requestLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	requests := l.requests
	l.requests = nil
	return requests
}

func cmdRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: registry VAR [STATUS]")
	}
	l := &requestLog{registry: ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))}
	if len(args) > 1 {
		status, err := strconv.Atoi(args[1])
		ts.Check(err)
		l.status = status
	}
	server := httptest.NewServer(l)
	host := strings.TrimPrefix(server.URL, "http://")
	ts.Setenv(args[0], host)
	logs.Store(host, l)
	ts.Defer(func() {
		server.Close()
		logs.Delete(host)
	})
}

// logs of the registries of all scripts, which run at the same time, by host.
var logs sync.Map

func logOf(host string) *requestLog {
	l, _ := logs.Load(host)
	known, _ := l.(*requestLog)
	return known
}

func cmdRequests(ts *testscript.TestScript, _ bool, args []string) {
	l := logOf(ts.Getenv(args[0]))
	if l == nil {
		ts.Fatalf("no registry %s", args[0])
	}
	lines := slices.DeleteFunc(l.take(), func(line string) bool {
		return !strings.HasPrefix(line, args[1]) || len(args) > 2 && !strings.Contains(line, args[2])
	})
	slices.Sort(lines)
	_, err := fmt.Fprintln(ts.Stdout(), strings.Join(lines, "\n"))
	ts.Check(err)
}

// cmdAlpine makes an index, or an image where one platform or none is named.
func cmdAlpine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: alpine REF|oci:DIR [PLATFORM...]")
	}
	platforms := args[1:]
	if len(platforms) == 0 {
		platforms = []string{"linux/amd64", "linux/arm64", "linux/arm/v6"}
	}
	var adds []mutate.IndexAddendum
	var last v1.Image
	for _, s := range platforms {
		p, err := v1.ParsePlatform(s)
		ts.Check(err)
		last, err = alpine(*p)
		ts.Check(err)
		adds = append(adds, mutate.IndexAddendum{Add: last, Descriptor: v1.Descriptor{Platform: p}})
	}
	idx := mutate.IndexMediaType(mutate.AppendManifests(empty.Index, adds...), types.DockerManifestList)
	if dir, ok := strings.CutPrefix(args[0], "oci:"); ok {
		p, err := layout.Write(ts.MkAbs(dir), empty.Index)
		ts.Check(err)
		if len(platforms) == 1 {
			ts.Check(p.AppendImage(last))
		} else {
			ts.Check(p.AppendIndex(idx))
		}
		return
	}
	ref, err := name.ParseReference(args[0])
	ts.Check(err)
	if len(platforms) == 1 {
		ts.Check(remote.Write(ref, last))
	} else {
		ts.Check(remote.WriteIndex(ref, idx))
	}
	if l := logOf(ref.Context().RegistryStr()); l != nil {
		l.take()
	}
}

// alpine is a base with a shell's config and a few of alpine's paths.
func alpine(p v1.Platform) (v1.Image, error) {
	var content bytes.Buffer
	tw := tar.NewWriter(&content)
	for _, h := range []tar.Header{
		{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "etc/alpine-release", Typeflag: tar.TypeReg, Mode: 0o644, Size: 7},
		{Name: "run/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "var/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "var/run", Typeflag: tar.TypeSymlink, Linkname: "/run"},
	} {
		if err := tw.WriteHeader(&h); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(tw, "3.20.0\n"[:h.Size]); err != nil {
			return nil, err
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content.Bytes())), nil
	})
	if err != nil {
		return nil, err
	}
	img, err := mutate.Append(empty.Image, mutate.Addendum{Layer: l, History: v1.History{CreatedBy: "ADD alpine"}})
	if err != nil {
		return nil, err
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cf.OS, cf.Architecture, cf.Variant = p.OS, p.Architecture, p.Variant
	cf.Config = v1.Config{Env: []string{"PATH=/usr/bin:/bin"}, Cmd: []string{"/bin/sh"}}
	return mutate.ConfigFile(img, cf)
}

func cmdTree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: tree IMAGE [PLATFORM]")
	}
	f, err := image.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	for _, opened := range f.Images {
		for _, p := range opened.Images {
			if len(args) > 1 && p.Platform.String() != args[1] {
				continue
			}
			files, err := imagetest.NewFS(p.Image)
			ts.Check(err)
			_, err = fmt.Fprintln(ts.Stdout(), strings.Join(files.List(), "\n"))
			ts.Check(err)
		}
	}
}

func cmdOnly(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: only DIR FILE...")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := slices.Sorted(slices.Values(args[1:]))
	if !slices.Equal(names, want) {
		ts.Fatalf("%s has %q, want %q", args[0], names, want)
	}
}
