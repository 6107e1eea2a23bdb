//go:build unix

package builder_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/output"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
)

// corruptions are what can happen to a file of the cache. other is a file of the
// same kind.
var corruptions = []struct {
	name string
	do   func(name, other string, was []byte) error
}{
	{"first bit flipped", func(name, _ string, was []byte) error { return flipped(name, was, 0) }},
	{"a bit flipped", func(name, _ string, was []byte) error { return flipped(name, was, len(was)/2) }},
	{"truncated", func(name, _ string, was []byte) error { return os.WriteFile(name, was[:len(was)/2], 0o600) }},
	{"extended", func(name, _ string, was []byte) error { return os.WriteFile(name, append(was, was...), 0o600) }},
	{"empty", func(name, _ string, _ []byte) error { return os.WriteFile(name, nil, 0o600) }},
	{"zeros", func(name, _ string, was []byte) error { return os.WriteFile(name, make([]byte, len(was)), 0o600) }},
	{"swapped", func(name, other string, was []byte) error {
		if err := os.Rename(other, name); err != nil {
			return err
		}
		return os.WriteFile(other, was, 0o600)
	}},
	{"link", func(name, _ string, was []byte) error {
		return errors.Join(os.Rename(name, name+".elsewhere"), os.Symlink(name+".elsewhere", name))
	}},
	{"link to nowhere", func(name, _ string, _ []byte) error {
		return errors.Join(os.Remove(name), os.Symlink("nowhere", name))
	}},
	{"directory", func(name, _ string, _ []byte) error {
		return errors.Join(os.Remove(name), os.MkdirAll(filepath.Join(name, "x"), 0o700))
	}},
	{"pipe", func(name, _ string, _ []byte) error { return errors.Join(os.Remove(name), syscall.Mkfifo(name, 0o600)) }},
}

// few are enough where builds take long.
var few = []string{"a bit flipped", "truncated", "swapped", "link", "directory", "pipe"}

func flipped(name string, was []byte, at int) error {
	was = bytes.Clone(was)
	was[at] ^= 1
	return os.WriteFile(name, was, 0o600)
}

// workload is a build that fills a cache, and builds that find everything there.
type workload struct {
	name string
	// build returns what comes out with the cache in a directory.
	build func(t *testing.T, dir string, p *plan.Plan) []byte
	fill  *plan.Plan
	// again are builds of which each file of the cache is needed by one.
	again []rebuild
	// few says that builds take long.
	few bool
}

type rebuild struct {
	plan *plan.Plan
	// without are kinds of records that are not there.
	without []string
}

// TestCorruptCache damages each file of caches in each way: that is noticed, the
// file dropped or made anew, and what comes out is the same.
func TestCorruptCache(t *testing.T) {
	for _, w := range []workload{compiledWorkload(t), basedWorkload(t), dockerWorkload(t), keptWorkload(t)} {
		t.Run(w.name, func(t *testing.T) {
			full := t.TempDir()
			w.build(t, full, w.fill)
			var wants [][]byte
			for _, r := range w.again {
				wants = append(wants, w.build(t, t.TempDir(), r.plan))
			}
			count, noticed := 0, 0
			kinds := map[string]int{}
			for _, file := range cacheFiles(t, full) {
				for _, c := range corruptions {
					if w.few && !slices.Contains(few, c.name) {
						continue
					}
					count++
					for i, r := range w.again {
						if w.corrupt(t, full, file, c.do, r, wants[i]) {
							noticed++
							kinds[filepath.Dir(file)]++
							break
						}
						if i == len(w.again)-1 {
							t.Errorf("%s: %s: nobody noticed", file, c.name)
						}
					}
					if t.Failed() {
						t.Fatalf("%s: %s", file, c.name)
					}
				}
			}
			t.Logf("%d corruptions, %d noticed: %v", count, noticed, kinds)
		})
	}
}

// corrupt damages one file of a copy of a cache and builds with that. It tells
// whether the damage has been noticed.
func (w workload) corrupt(t *testing.T, full, file string, do func(string, string, []byte) error, r rebuild, want []byte) bool {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cache")
	if err := os.CopyFS(dir, os.DirFS(full)); err != nil {
		t.Fatal(err)
	}
	for _, kind := range r.without {
		if strings.HasPrefix(file, "records/"+kind) {
			return false
		}
		if err := os.RemoveAll(filepath.Join(dir, "records", kind)); err != nil {
			t.Fatal(err)
		}
	}
	at := filepath.Join(dir, file)
	was, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	other := at + ".other"
	entries, err := os.ReadDir(filepath.Dir(at))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Type().IsRegular() && e.Name() != filepath.Base(at) && !strings.HasSuffix(e.Name(), ".lock") {
			other = filepath.Join(filepath.Dir(at), e.Name())
		}
	}
	if strings.HasSuffix(other, ".other") { // the only one of its kind
		if err := os.WriteFile(other, []byte("other"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := do(at, other, was); err != nil {
		t.Fatal(err)
	}
	if got := w.build(t, dir, r.plan); !bytes.Equal(got, want) {
		t.Errorf("something else comes out")
	}
	return sound(at, was)
}

// sound tells whether a file of the cache is one again, or gone.
func sound(name string, was []byte) bool {
	info, err := os.Lstat(name)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	if !info.Mode().IsRegular() {
		return false
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return false
	}
	sum := sha256.Sum256(raw)
	line, value, _ := bytes.Cut(raw, []byte("\n"))
	of := sha256.Sum256(value)
	var about struct{ Sums map[string]string }
	switch {
	case bytes.Equal(raw, was), hex.EncodeToString(sum[:]) == filepath.Base(name):
		return true
	case strings.HasSuffix(name, ".json"):
		return json.Unmarshal(raw, &about) == nil && len(about.Sums) > 0
	}
	// A record says whose it is.
	var is, before struct{ Key string }
	_, old, _ := bytes.Cut(was, []byte("\n"))
	return hex.EncodeToString(of[:]) == string(line) &&
		json.Unmarshal(value, &is) == nil && json.Unmarshal(old, &before) == nil && is == before
}

func cacheFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(name, "lock") { // of which nobody looks inside
			names = append(names, name)
		}
		return err
	})
	if err != nil || len(names) < 2 {
		t.Fatalf("the cache has %q, %v", names, err)
	}
	return names
}

func openCache(t *testing.T, dir string) *cache.Cache {
	t.Helper()
	c, err := cache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// compiledWorkload has what the compiler keeps.
func compiledWorkload(t *testing.T) workload {
	t.Helper()
	p := realPlan(t)
	p.Images[0].Stages[1].Base = plan.Scratch
	return workload{
		name: "compiled", fill: p, few: true,
		again: []rebuild{{p, nil}, {p, []string{"binaries", "layers"}}},
		build: func(t *testing.T, dir string, p *plan.Plan) []byte {
			c := openCache(t, dir)
			compiler := &compile.Compiler{Outputs: c.Links(), Records: c}
			step := p.Images[0].Stages[0].Steps[0].Compile
			if _, err := compiler.List(t.Context(), step.Dir, amd64, step.Settings, []string{"."}); err != nil {
				t.Fatal(err)
			}
			return archiveOf(t, &builder.Builder{Cache: c, Compiler: compiler}, p)
		},
	}
}

// Without a network, what is damaged and cannot be made again is named, and what
// can is made.
func TestCorruptCacheOffline(t *testing.T) {
	w := basedWorkload(t)
	full := t.TempDir()
	want := w.build(t, full, w.fill)
	fetched := 0
	for _, file := range cacheFiles(t, full) {
		dir := filepath.Join(t.TempDir(), "cache")
		if err := os.CopyFS(dir, os.DirFS(full)); err != nil {
			t.Fatal(err)
		}
		was, err := os.ReadFile(filepath.Join(dir, file))
		if err == nil {
			err = flipped(filepath.Join(dir, file), was, len(was)/2)
		}
		if err != nil {
			t.Fatal(err)
		}
		c := openCache(t, dir)
		_, fake := newBuilder(t, w.fill.Dir)
		b := &builder.Builder{Cache: c, Compiler: fake, Bases: &base.Resolver{
			Registry: &registry.Client{Offline: true}, Cache: c, Dir: w.fill.Dir,
		}}
		var out bytes.Buffer
		_, err = b.Build(t.Context(), w.fill, &output.Archive{Writer: &out, Docker: true, Host: amd64})
		name := w.fill.Images[0].Stages[1].Base + " is not in the cache"
		if strings.HasPrefix(file, "blobs/") {
			name = "/base@sha256:" + filepath.Base(file) + " is not in the cache"
		}
		switch {
		case err == nil && !bytes.Equal(out.Bytes(), want):
			t.Errorf("%s: something else comes out", file)
		case err != nil && (!errors.Is(err, registry.ErrOffline) || !strings.Contains(err.Error(), name)):
			t.Errorf("%s: got error %q, want one with %q", file, err, name)
		case err != nil:
			fetched++
		}
	}
	if fetched != 4 { // the tag, the manifest, the config and the layer
		t.Errorf("%d files of the cache are missed", fetched)
	}
}

// basedWorkload has what comes from a registry, and what is known of that.
func basedWorkload(t *testing.T) workload {
	t.Helper()
	host := registryWithBase(t)
	src := t.TempDir()
	write(t, src, map[string]string{"f": "some text"})
	p := serverPlan(src, host+"/base:v1", copyStep(t, "f:/etc/f"))
	_, fake := newBuilder(t, src)
	return workload{
		name: "based", fill: p,
		again: []rebuild{{p, nil}, {p, []string{"layers"}}, {p, []string{"layers", "entries"}}},
		build: func(t *testing.T, dir string, p *plan.Plan) []byte {
			c := openCache(t, dir)
			return archiveOf(t, &builder.Builder{
				Cache: c, Compiler: fake,
				Bases: &base.Resolver{Registry: &registry.Client{}, Cache: c, Dir: src},
			}, p)
		},
	}
}

// dockerWorkload has what is remembered of stages.
func dockerWorkload(t *testing.T) workload {
	t.Helper()
	src := t.TempDir()
	write(t, src, map[string]string{"f": "some text", "d/g": "x"})
	first := dockerPlan(t, src, "FROM scratch AS a\nCOPY . /a/\nRUN [\"ln\", \"-s\", \"x\", \"/a/y\"]\nFROM scratch\nCOPY --from=a /a /b\nCOPY f /f\n")
	other := dockerPlan(t, src, "FROM scratch AS a\nCOPY . /a/\nRUN [\"ln\", \"-s\", \"x\", \"/a/y\"]\nFROM scratch\nCOPY --from=a /a /c\nCOPY f /f\n")
	return workload{
		name: "dockerfile", fill: first,
		again: []rebuild{{first, nil}, {other, nil}, {first, []string{"stages"}}, {first, []string{"stages", "layers"}}, {other, []string{"entries"}}},
		build: func(t *testing.T, dir string, p *plan.Plan) []byte {
			return archiveOf(t, &builder.Builder{Cache: openCache(t, dir)}, p)
		},
	}
}

// keptWorkload has what is known of the archive that was written.
func keptWorkload(t *testing.T) workload {
	t.Helper()
	src := t.TempDir()
	write(t, src, map[string]string{"f": "some text"})
	p := serverPlan(src, plan.Scratch, copyStep(t, "f:/f"))
	_, fake := newBuilder(t, src)
	file := filepath.Join(t.TempDir(), "image.tar")
	return workload{
		name: "kept", fill: p, few: true,
		again: []rebuild{{p, nil}, {p, []string{"archives"}}, {p, []string{"archives", "layers"}}},
		build: func(t *testing.T, dir string, p *plan.Plan) []byte {
			c := openCache(t, dir)
			b := &builder.Builder{Cache: c, Compiler: fake}
			build(t, b, p, &output.Archive{Path: file, Cache: c})
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			return raw
		},
	}
}
