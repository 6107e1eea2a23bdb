//go:build amd64 || arm64

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// crash is a command that is stopped at any moment. It works in dir, which has
// src, what it is told to write in out, the cache, and tmp for temporary files.
type crash struct {
	name string
	args []string
	// old prepares a run before the change of src.
	old bool
	// output returns what a whole output comes to, or an error where it is not
	// whole, and "" where there is none.
	output func(t *testing.T, dir string) (string, error)
}

func crashes(t *testing.T, host string) []crash {
	t.Helper()
	docker := []string{"build", "-f", "Dockerfile"}
	flags := []string{"build", "--base", "scratch", "./server"}
	archive := []string{"-o", "../out/image.tar"}
	files := []string{"--iidfile", "../out/iid", "--metadata-file", "../out/metadata"}
	oci := []string{"-o", "type=oci,dest=../out/layout,tar=false"}
	join := func(parts ...[]string) (all []string) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return append(all, "--cache-dir", "../cache")
	}
	return []crash{
		{"archive", join(docker, archive, files), false, wholeArchive},
		{"archive over another", join(docker, archive, files), true, wholeArchive},
		{"layout", join(docker, oci), false, wholeLayout},
		{"layout over another", join(docker, oci), true, wholeLayout},
		{"compiled", join(flags, archive), true, wholeArchive},
		{"push", join(docker, []string{"-t", host + "/image:v1", "--push"}), true, wholePush(host)},
		{"prune", join([]string{"cache", "prune"}), true, nil},
	}
}

func wholeArchive(_ *testing.T, dir string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "out", "image.tar"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return sumOf(raw), err
}

func wholeLayout(_ *testing.T, dir string) (string, error) {
	idx, err := layout.ImageIndexFromPath(filepath.Join(dir, "out", "layout"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	h, err := idx.Digest()
	return h.String(), errors.Join(err, validate.Index(idx))
}

func wholePush(host string) func(*testing.T, string) (string, error) {
	return func(t *testing.T, _ string) (string, error) {
		ref, err := name.ParseReference(host + "/image:v1")
		if err != nil {
			t.Fatal(err)
		}
		img, err := remote.Image(ref)
		if err != nil {
			return "", err
		}
		h, err := img.Digest()
		return h.String(), errors.Join(err, validate.Image(img))
	}
}

// lab is where crashes happen.
type lab struct {
	dir string
	env []string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{dir: t.TempDir()}
	l.env = append(os.Environ(), "GOFLAGS=", "TMPDIR="+filepath.Join(l.dir, "tmp"))
	for _, sub := range []string{"src/server", "src/files"} {
		if err := os.MkdirAll(filepath.Join(l.dir, sub), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	writeFiles(t, l.dir, map[string]string{
		"src/go.mod":     "module example.com/m\n\ngo 1.21\n",
		"src/Dockerfile": "FROM scratch AS a\nCOPY files /a/\nRUN [\"ln\", \"-s\", \"x\", \"/a/y\"]\nFROM scratch\nCOPY --from=a /a /b\nCOPY files/f /f\n",
	})
	l.change(t, "old")
	return l
}

func (l *lab) change(t *testing.T, to string) {
	t.Helper()
	writeFiles(t, l.dir, map[string]string{
		"src/files/f":        strings.Repeat(to, 10_000),
		"src/files/g":        "the same",
		"src/server/main.go": "package main\n\nfunc main() { println(`" + to + "`) }\n",
	})
}

// reset has everything but the sources as it is in a directory beside them.
func (l *lab) reset(t *testing.T, from string) {
	t.Helper()
	for _, sub := range []string{"out", "cache", "tmp"} {
		to := filepath.Join(l.dir, sub)
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(to, 0o750); err != nil {
			t.Fatal(err)
		}
		if from == "" {
			continue
		}
		if err := os.CopyFS(to, os.DirFS(filepath.Join(l.dir, from, sub))); err != nil {
			t.Fatal(err)
		}
	}
}

// keep makes such a directory.
func (l *lab) keep(t *testing.T, as string) {
	t.Helper()
	for _, sub := range []string{"out", "cache", "tmp"} {
		if err := os.CopyFS(filepath.Join(l.dir, as, sub), os.DirFS(filepath.Join(l.dir, sub))); err != nil {
			t.Fatal(err)
		}
	}
}

func (l *lab) run(t *testing.T, args []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "stagectl", args...)
	cmd.Dir, cmd.Env = filepath.Join(l.dir, "src"), l.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("stagectl %q: %v: %s", args, err, out)
	}
}

func (l *lab) stop(t *testing.T, args []string, at point, sig syscall.Signal) *tracer {
	t.Helper()
	tr := &tracer{t: t, args: append([]string{"stagectl"}, args...), dir: filepath.Join(l.dir, "src"), env: l.env, at: at, sig: sig}
	tr.run()
	return tr
}

// alone waits for the end of what was started in the lab: a go command, which
// survives the process that is killed.
func (l *lab) alone(t *testing.T) {
	t.Helper()
	for {
		dirs, err := filepath.Glob("/proc/[0-9]*/cwd")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(dirs, func(link string) bool {
			dir, err := os.Readlink(link)
			return err == nil && strings.HasPrefix(dir, l.dir)
		}) {
			return
		}
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func testRegistry(t *testing.T) (host string) {
	t.Helper()
	backend := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The backend takes a manifest that breaks off for a whole one.
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(raw))
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// A process that is killed leaves the old output or the new one, and a cache
// that the next one makes the same of.
func TestKilled(t *testing.T) {
	for _, c := range crashes(t, testRegistry(t)) {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			build := c.args
			if c.output == nil {
				build = crashes(t, "")[0].args
				c.output = wholeArchive
			}
			l.reset(t, "")
			l.run(t, build)
			before, err := c.output(t, l.dir)
			if err != nil || before == "" {
				t.Fatalf("got output %q, %v", before, err)
			}
			if !c.old {
				l.reset(t, "")
				before = ""
			}
			l.keep(t, "before")
			l.change(t, "new")
			whole := l.stop(t, c.args, point{}, 0)
			if !whole.status.Exited() || whole.status.ExitStatus() != 0 || len(whole.moments) < 10 {
				t.Fatalf("exit status %d after %d moments: %s", whole.status.ExitStatus(), len(whole.moments), whole.stderr)
			}
			l.run(t, build)
			after, err := c.output(t, l.dir)
			if err != nil || after == before {
				t.Fatalf("the output is %q as before, %v", after, err)
			}
			killed := 0
			for _, at := range points(t, whole.moments) {
				l.change(t, "old")
				l.reset(t, "before")
				if c.name == "push" {
					l.run(t, build) // the old tag again
				}
				l.change(t, "new")
				if l.stop(t, c.args, at, syscall.SIGKILL).status.Signaled() {
					killed++
				}
				l.alone(t)
				got, err := c.output(t, l.dir)
				if err != nil || got != before && got != after {
					t.Errorf("at %v of %d: the output is %q, %v, want %q or %q", at, len(whole.moments), got, err, before, after)
				}
				l.wantWhole(t)
				l.run(t, build)
				if got, err := c.output(t, l.dir); err != nil || got != after {
					t.Errorf("after %v of %d: the next build's output is %q, %v, want %q", at, len(whole.moments), got, err, after)
				}
			}
			t.Logf("killed at %d of %d moments", killed, len(whole.moments))
			l.run(t, []string{"cache", "prune", "--older-than", "24h", "--cache-dir", "../cache"})
			wantFiles(t, filepath.Join(l.dir, "cache", "tmp"))
		})
	}
}

// wantWhole checks every file of the cache and of what else was written.
func (l *lab) wantWhole(t *testing.T) {
	t.Helper()
	for _, part := range []string{"blobs", "records", "links"} {
		err := filepath.WalkDir(filepath.Join(l.dir, "cache", part), func(at string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			raw, err := os.ReadFile(at)
			if err != nil {
				return err
			}
			sum, value, _ := bytes.Cut(raw, []byte("\n"))
			switch {
			case part == "blobs" && sumOf(raw) != d.Name(),
				part == "records" && string(sum) != sumOf(value),
				strings.HasSuffix(at, ".json") && !json.Valid(raw):
				t.Errorf("%s is not whole, with %d bytes", at, len(raw))
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if raw, err := os.ReadFile(filepath.Join(l.dir, "out", "iid")); err == nil {
		if _, err := v1.NewHash(string(raw)); err != nil {
			t.Error("the image ID: ", err)
		}
	}
	if raw, err := os.ReadFile(filepath.Join(l.dir, "out", "metadata")); err == nil && !json.Valid(raw) {
		t.Errorf("the metadata are %q", raw)
	}
}

// Ctrl-C and SIGTERM leave the old output or the new one, no temporary file and
// no process, whenever they come.
func TestStopped(t *testing.T) {
	all := crashes(t, testRegistry(t))
	file := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "what is added")
	}))
	t.Cleanup(file.Close)
	add := crash{"add", slices.Clone(all[0].args), false, wholeArchive}
	add.args[2] = "Dockerfile.add"
	for _, c := range append(all, add) {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			writeFiles(t, l.dir, map[string]string{"src/Dockerfile.add": "FROM scratch\nADD " + file.URL + "/x /\nCOPY files /\n"})
			l.reset(t, "")
			if c.old {
				build := c.args
				if c.output == nil {
					build = all[0].args
				}
				l.run(t, build)
			}
			l.keep(t, "before")
			l.change(t, "new")
			// More than is written at once.
			writeFiles(t, l.dir, map[string]string{"src/files/large": noise(3 << 20)})
			whole := l.stop(t, c.args, point{}, 0)
			outputs := l.outputs(t)
			late := 0
			for i, at := range points(t, whole.moments) {
				l.reset(t, "before")
				sig := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}[i%2]
				tr := l.stop(t, c.args, at, sig)
				switch {
				case tr.status.ExitStatus() == 0:
					late++
				case tr.status.ExitStatus() != 1 || !strings.Contains(tr.stderr, "stagectl: interrupted"):
					t.Errorf("%s at %v of %d: exit status %d: %s", sig, at, len(whole.moments), tr.status.ExitStatus(), tr.stderr)
				}
				for _, name := range l.outputs(t) {
					if !slices.Contains(outputs, name) {
						t.Errorf("%s at %v of %d: %s is left", sig, at, len(whole.moments), name)
					}
				}
				l.alone(t)
				if c.output != nil {
					if _, err := c.output(t, l.dir); err != nil {
						t.Errorf("%s at %v of %d: %v", sig, at, len(whole.moments), err)
					}
				}
				l.wantWhole(t)
			}
			t.Logf("stopped at %d moments, %d of them too late to make a difference", len(points(t, whole.moments)), late)
		})
	}
}

// outputs lists what is neither a blob nor a record, nor a directory that is
// made for many.
func (l *lab) outputs(t *testing.T) (names []string) {
	t.Helper()
	for _, sub := range []string{"out", "tmp", "cache/tmp", "cache/links"} {
		top := filepath.Join(l.dir, sub)
		err := filepath.WalkDir(top, func(at string, _ fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if at != top && !strings.Contains(at, "/blobs/") {
				names = append(names, strings.TrimPrefix(at, l.dir))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}
