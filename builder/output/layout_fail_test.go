package output_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/output"
)

func TestLayoutRefused(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "file"), "old")
	mkdir(t, dir, "dir")
	writeFile(t, filepath.Join(dir, "dir", "file"), "old")
	link(t, "a", dir, "a")
	before := tree(t, dir)
	tests := []struct{ name, path, want string }{
		{"another directory", "dir", "writing DIR/dir: the directory has files in it, and is not an OCI layout"},
		{"file", "file", "writing DIR/file: not a directory"},
		{"below a file", "file/layout", "writing DIR/file/layout: not a directory"},
		{"missing directory", "no/layout", "writing DIR/no/layout: the directory is missing: DIR/no: no such file or directory"},
		{"link to itself", "a", "writing DIR/a: too many levels of symbolic links"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := &output.Layout{Dir: dir + "/" + tt.path}
			want := strings.ReplaceAll(tt.want, "DIR", dir)
			wantError(t, l.Check(), want)
			_, err := l.Write(t.Context(), single(t))
			wantError(t, err, want)
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
	wantError(t, (&output.Layout{}).Check(), "writing : the path is empty")
}

// Whatever fails, the old layout stays what it was, and a new one does not
// come into being.
func TestLayoutFails(t *testing.T) {
	l := newLayer(t, "server", 600_000)
	digest := digestOf(t, l).String()
	failures := []struct {
		name  string
		layer func(cancel func(error)) v1.Layer
		want  string
	}{
		{
			"in the middle of a layer", func(func(error)) v1.Layer { return reader(l, failingAfter(300_000)) },
			"writing DIR: reading " + digest + ": boom",
		},
		{
			"layer that can't be had", func(func(error)) v1.Layer {
				return opened{l, func(v1.Layer) (io.ReadCloser, error) { return nil, errBoom }}
			},
			"fetching layers: reading " + digest + ": boom",
		},
		{
			"cancelled in the middle", func(cancel func(error)) v1.Layer {
				return reader(l, calling(func() { cancel(errBoom) }))
			},
			"boom",
		},
	}
	old := single(t, newLayer(t, "old", 1000))
	places := []struct {
		name  string
		setup func(t *testing.T, dir string)
		check func(t *testing.T, dir string)
	}{
		{"new", func(*testing.T, string) {}, func(t *testing.T, dir string) {
			if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it is there: %v", err)
			}
		}},
		{"empty directory", func(t *testing.T, dir string) { mkdir(t, dir, "") }, func(t *testing.T, dir string) {
			if got := tree(t, dir); len(got) > 0 {
				t.Errorf("it has files in it: %q", got)
			}
		}},
		{"older layout", func(t *testing.T, dir string) { writeLayout(t, dir, old...) }, func(t *testing.T, dir string) {
			// The blobs that got there are removed by the next run.
			wantLayout(t, dir, old, slices.DeleteFunc(tree(t, dir), func(name string) bool {
				return !strings.HasPrefix(name, "blobs/sha256/") || name == "blobs/sha256/"
			})...)
			writeLayout(t, dir, old...)
			wantLayout(t, dir, old)
		}},
	}
	for _, place := range places {
		for _, failure := range failures {
			t.Run(place.name+", "+failure.name, func(t *testing.T) {
				parent := t.TempDir()
				dir := filepath.Join(parent, "layout")
				place.setup(t, dir)
				ctx, cancel := context.WithCancelCause(t.Context())
				var events recorder
				results := single(t, newLayer(t, "first", 1000), failure.layer(cancel))
				_, err := (&output.Layout{Dir: dir, Progress: events.Event}).Write(ctx, results)
				wantError(t, err, strings.ReplaceAll(failure.want, "DIR", dir))
				place.check(t, dir)
				for _, name := range tree(t, parent) {
					if strings.HasPrefix(filepath.Base(name), ".") {
						t.Errorf("%s is left over", name)
					}
				}
				for _, line := range events.summary() {
					if !strings.Contains(line, "failed") {
						t.Errorf("event %s", line)
					}
				}
			})
		}
	}
}

// The cause of the end of ctx comes back also where nothing has to be copied.
func TestLayoutCancelled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	results := single(t)
	writeLayout(t, dir, results...)
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := (&output.Layout{Dir: dir, Progress: func(event.Event) { cancel(errBoom) }}).Write(ctx, results)
	wantError(t, err, "boom")
	wantLayout(t, dir, results)
}

// A layout that someone has damaged beyond repair.
func TestLayoutUnwritable(t *testing.T) {
	tests := []struct {
		name string
		// damaged is what a directory, or a file, is put in place of.
		directory, file string
		want            string
	}{
		{"index.json is a directory", "index.json", "", "writing DIR: file exists"},
		{"oci-layout is a directory", "oci-layout", "", "writing DIR: file exists"},
		{"blobs is a file", "", "blobs", "writing DIR: not a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "layout")
			results := single(t)
			writeLayout(t, dir, results...)
			if err := os.RemoveAll(filepath.Join(dir, tt.directory+tt.file)); err != nil {
				t.Fatal(err)
			}
			if tt.file != "" {
				writeFile(t, filepath.Join(dir, tt.file), "")
			} else {
				mkdir(t, dir, tt.directory)
			}
			before := tree(t, dir)
			_, err := (&output.Layout{Dir: dir}).Write(t.Context(), results)
			wantError(t, err, strings.ReplaceAll(tt.want, "DIR", dir))
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}
