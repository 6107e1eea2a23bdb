//go:build linux || darwin

package output_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/output"
)

// A file that is what would be written is left alone, and anything else replaced.
func TestArchiveUnchanged(t *testing.T) {
	results := several(t)
	want := string(archive(t, output.Archive{Docker: true}, results...))
	tests := []struct {
		name   string
		change func(file string, a *output.Archive)
		kept   bool
	}{
		{"nothing", func(string, *output.Archive) {}, true},
		{"no clock", func(_ string, a *output.Archive) { a.Now = nil }, true},
		{"a moment later", func(_ string, a *output.Archive) { later(a, time.Second) }, true},
		{"by another path", func(file string, a *output.Archive) {
			link := file + ".link"
			if err := os.Symlink(file, link); err != nil {
				t.Fatal(err)
			}
			a.Path = link
		}, true},
		{"another content", func(file string, _ *output.Archive) { writeFile(t, file, "x") }, false},
		{"a bit, with the size and the time restored", func(file string, _ *output.Archive) {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			flip(t, file)
			if err := os.Chtimes(file, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"another file in its place", func(file string, _ *output.Archive) {
			writeFile(t, file+".new", readFile(t, file))
			flip(t, file+".new")
			if err := os.Rename(file+".new", file); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"longer", func(file string, _ *output.Archive) { writeFile(t, file, readFile(t, file)+"x") }, false},
		{"gone", func(file string, _ *output.Archive) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"other tags", func(string, *output.Archive) { results[0].Tags[0] = "multi:v3" }, false},
		{"another format", func(_ string, a *output.Archive) { a.Docker = false }, false},
		{"another host", func(_ string, a *output.Archive) { a.Host = arm64 }, false},
		{"no memory", func(_ string, a *output.Archive) { a.Cache = nil }, false},
	}
	for _, looked := range []string{"written", "compared", "believed"} {
		for _, tt := range tests {
			t.Run(looked+"/"+tt.name, func(t *testing.T) {
				results = several(t)
				a, file := remembering(t)
				write(t, a, results, false)
				if looked != "written" {
					later(a, time.Hour)
					write(t, a, results, true)
				}
				if looked == "believed" {
					// Reading it would show that there is nothing to compare with.
					write(t, a, unreadable(t, results), true)
				}
				tt.change(file, a)
				write(t, a, results, tt.kept)
				if got := readFile(t, file); (got == want) != (tt.name != "other tags" && tt.name != "another format" && tt.name != "another host") {
					t.Errorf("the file has %d bytes, wanted %d", len(got), len(want))
				}
			})
		}
	}
}

// remembering is an archive with a cache and a clock.
func remembering(t *testing.T) (*output.Archive, string) {
	t.Helper()
	c, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	return &output.Archive{Path: file, Docker: true, Cache: c, Now: time.Now}, file
}

// later moves the clock.
func later(a *output.Archive, d time.Duration) {
	at := time.Now().Add(d)
	a.Now = func() time.Time { return at }
}

func write(t *testing.T, a *output.Archive, results []image.Result, unchanged bool) {
	t.Helper()
	var events recorder
	a.Progress = events.Event
	written, err := a.Write(t.Context(), results)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	if w := written[0]; w.Unchanged != unchanged || w.Where != a.Path || w.Size != info.Size() {
		t.Errorf("written %+v, unchanged should be %t, the file has %d bytes", w, unchanged, info.Size())
	}
	if got := events.summary(); len(got) != 1 {
		t.Errorf("events %q", got)
	}
}

// unreadable are the same images, whose layers fail.
func unreadable(t *testing.T, results []image.Result) []image.Result {
	t.Helper()
	all := make([]image.Result, len(results))
	for i, r := range results {
		all[i] = r
		all[i].Images = nil
		for _, p := range r.Images {
			p.Image = failing{p.Image}
			all[i].Images = append(all[i].Images, p)
		}
		if r.Index != nil {
			all[i].Index = image.NewIndex(all[i].Images, nil)
		}
	}
	return all
}

// failing is an image without the content of its layers.
type failing struct{ v1.Image }

func (f failing) Layers() ([]v1.Layer, error) {
	layers, err := f.Image.Layers()
	for i, l := range layers {
		layers[i] = reader(l, failingAfter(0))
	}
	return layers, err
}

func flip(t *testing.T, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, 2000); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, 2000); err != nil {
		t.Fatal(err)
	}
}
