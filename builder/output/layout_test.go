package output_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/output"
)

func writeLayout(t testing.TB, dir string, results ...image.Result) {
	t.Helper()
	l := &output.Layout{Dir: dir}
	if err := l.Check(); err != nil {
		t.Errorf("check: %v", err)
	}
	written, err := l.Write(t.Context(), results)
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	seen := map[string]bool{}
	for _, r := range results {
		for _, name := range blobsOf(t, r) {
			if !seen[name] {
				seen[name] = true
				size += int64(len(readFile(t, filepath.Join(dir, name))))
			}
		}
	}
	if diff := cmp.Diff([]output.Written{{Kind: "layout", Where: dir, Size: size}}, written); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
}

// blobsOf returns the files of all that r consists of.
func blobsOf(t testing.TB, r image.Result) []string {
	t.Helper()
	var names []string
	add := func(h v1.Hash) { names = append(names, "blobs/sha256/"+h.Hex) }
	for _, p := range r.Images {
		m, err := p.Image.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range m.Layers {
			add(l.Digest)
		}
		add(m.Config.Digest)
		add(digestOf(t, p.Image))
	}
	if r.Index != nil {
		add(digestOf(t, r.Index))
	}
	return names
}

// wantLayout checks that a directory is a layout of the results and of nothing
// else, but for the extra files.
func wantLayout(t testing.TB, dir string, results []image.Result, extra ...string) {
	t.Helper()
	want := append([]string{"blobs/", "blobs/sha256/", "index.json", "oci-layout"}, extra...)
	for _, r := range results {
		want = append(want, blobsOf(t, r)...)
	}
	slices.Sort(want)
	got := tree(t, dir)
	slices.Sort(got)
	if diff := cmp.Diff(slices.Compact(want), got); diff != "" {
		t.Errorf("files of the layout (-want +got):\n%s", diff)
	}
	idx, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(idx); err != nil {
		t.Errorf("by ggcr's layout: %v", err)
	}
	var digests []string
	for _, r := range results {
		for _, tag := range r.Tags {
			_, version, _ := strings.Cut(tag, ":")
			digests = append(digests, version+" "+digestOf(t, r).String())
		}
	}
	m, err := idx.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, d := range m.Manifests {
		listed = append(listed, d.Annotations["org.opencontainers.image.ref.name"]+" "+d.Digest.String())
	}
	if diff := cmp.Diff(digests, listed); diff != "" {
		t.Errorf("index.json (-want +got):\n%s", diff)
	}
	describe(t, dir)
}

func TestLayout(t *testing.T) {
	old := []image.Result{
		newResult("old", []image.Platform{newImage(t, amd64, newLayer(t, "common", 5000), newLayer(t, "old", 1000))}, "old:v1"),
	}
	results := []image.Result{multi(t, "multi:v1", "multi:v2"), single(t)[0]}
	tests := []struct {
		name  string
		setup func(t *testing.T, dir string)
		extra []string
	}{
		{"new", nil, nil},
		{"empty directory", func(t *testing.T, dir string) { mkdir(t, dir, "") }, nil},
		{"older layout", func(t *testing.T, dir string) { writeLayout(t, dir, old...) }, nil},
		{"the same layout", func(t *testing.T, dir string) { writeLayout(t, dir, results...) }, nil},
		{"older layout with other files in it", func(t *testing.T, dir string) {
			writeLayout(t, dir, old...)
			writeFile(t, filepath.Join(dir, "README"), "")
			writeFile(t, filepath.Join(dir, "blobs", "sha256", "notes"), "")
		}, []string{"README", "blobs/sha256/notes"}},
		{"damaged layout", func(t *testing.T, dir string) {
			writeLayout(t, dir, results...)
			for _, name := range blobsOf(t, results[0]) {
				writeFile(t, filepath.Join(dir, name), strings.Repeat("x", len(readFile(t, filepath.Join(dir, name)))))
			}
			writeFile(t, filepath.Join(dir, blobsOf(t, results[1])[0]), "short")
		}, nil},
		{"killed in the middle", func(t *testing.T, dir string) {
			writeLayout(t, dir, old...)
			if err := os.Remove(filepath.Join(dir, "index.json")); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"blobs missing", func(t *testing.T, dir string) {
			writeLayout(t, dir, old...)
			if err := os.RemoveAll(filepath.Join(dir, "blobs")); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"link to nothing", func(t *testing.T, dir string) { link(t, "elsewhere", filepath.Dir(dir), "layout") }, nil},
		{"link to a layout", func(t *testing.T, dir string) {
			link(t, "elsewhere", filepath.Dir(dir), "layout")
			writeLayout(t, filepath.Join(filepath.Dir(dir), "elsewhere"), old...)
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, "layout")
			if tt.setup != nil {
				tt.setup(t, dir)
			}
			writeLayout(t, dir, results...)
			real, err := filepath.EvalSymlinks(dir)
			if err != nil {
				t.Fatal(err)
			}
			wantLayout(t, real, results, tt.extra...)
			if strings.HasPrefix(tt.name, "link") != (real != dir) {
				t.Errorf("the layout is at %s", real)
			}
			for _, name := range tree(t, parent) {
				if strings.HasPrefix(name, ".") {
					t.Errorf("%s is left over", name)
				}
			}
		})
	}
}

func TestLayoutSlash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	results := single(t)
	for range 2 {
		if _, err := (&output.Layout{Dir: dir + "/"}).Write(t.Context(), results); err != nil {
			t.Fatal(err)
		}
		wantLayout(t, dir, results)
	}
}

// What is there already is neither read from its source nor written.
func TestLayoutKeepsBlobs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	l := newLayer(t, "server", 1000)
	writeLayout(t, dir, single(t, l)...)
	blob := filepath.Join(dir, "blobs", "sha256", digestOf(t, l).Hex)
	before, err := os.Stat(blob)
	if err != nil {
		t.Fatal(err)
	}
	var events recorder
	unread := reader(l, func(io.Reader) io.Reader { return readerFunc(func([]byte) (int, error) { return 0, errBoom }) })
	results := single(t, unread, newLayer(t, "more", 1000))
	if _, err := (&output.Layout{Dir: dir, Progress: events.Event}).Write(t.Context(), results); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(blob)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("the blob is another file")
	}
	wantLayout(t, dir, results)
	var total int64
	for _, name := range blobsOf(t, results[0]) {
		total += int64(len(readFile(t, filepath.Join(dir, name))))
	}
	want := []string{fmt.Sprintf("write %s: started updated done %d/%d", dir, total, total)}
	if diff := cmp.Diff(want, events.summary()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// A link in a layout may lead anywhere. Nothing is written or removed there.
func TestLayoutFollowsNoLinks(t *testing.T) {
	old, results := single(t, newLayer(t, "old", 1000)), single(t)
	t.Run("files", func(t *testing.T) {
		dir, outside := filepath.Join(t.TempDir(), "layout"), t.TempDir()
		writeLayout(t, dir, old...)
		want := blobsOf(t, results[0])
		names := append([]string{"index.json", "oci-layout"}, want...)
		for i, name := range names {
			writeFile(t, filepath.Join(outside, fmt.Sprint(i)), "outside")
			_ = os.Remove(filepath.Join(dir, name))
			link(t, filepath.Join(outside, fmt.Sprint(i)), dir, name)
		}
		writeLayout(t, dir, results...)
		for i, name := range names {
			if got := readFile(t, filepath.Join(outside, fmt.Sprint(i))); got != "outside" {
				t.Errorf("%s was followed", name)
			}
		}
		wantLayout(t, dir, results)
	})
	t.Run("file with the right content", func(t *testing.T) {
		dir, outside := filepath.Join(t.TempDir(), "layout"), filepath.Join(t.TempDir(), "outside")
		writeLayout(t, dir, results...)
		blob := filepath.Join(dir, blobsOf(t, results[0])[0])
		if err := os.Rename(blob, outside); err != nil {
			t.Fatal(err)
		}
		link(t, outside, filepath.Dir(blob), filepath.Base(blob))
		writeLayout(t, dir, results...)
		if info, err := os.Lstat(blob); err != nil || !info.Mode().IsRegular() {
			t.Errorf("the layout depends on what is outside: %v, %v", info, err)
		}
	})
	for _, name := range []string{"blobs", "blobs/sha256"} {
		t.Run(name, func(t *testing.T) {
			dir, outside := filepath.Join(t.TempDir(), "layout"), filepath.Join(t.TempDir(), "outside")
			writeLayout(t, dir, old...)
			if err := os.Rename(filepath.Join(dir, name), outside); err != nil {
				t.Fatal(err)
			}
			link(t, outside, dir, name)
			writeLayout(t, dir, results...)
			for _, blob := range append(blobsOf(t, old[0]), blobsOf(t, results[0])...) {
				if _, err := os.Stat(filepath.Join(dir, blob)); err != nil {
					t.Errorf("a blob that may be shared is gone: %v", err)
				}
			}
		})
	}
}

// While the last blob is written, the layout is still the old one.
func TestLayoutIndexLast(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	old := single(t, newLayer(t, "old", 1000))
	writeLayout(t, dir, old...)
	before := readFile(t, filepath.Join(dir, "index.json"))
	read := false
	last := reader(newLayer(t, "last", 1000), calling(func() {
		read = true
		if got := readFile(t, filepath.Join(dir, "index.json")); got != before {
			t.Error("index.json is the new one already")
		}
		for _, name := range blobsOf(t, old[0]) {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
	}))
	writeLayout(t, dir, single(t, last)...)
	if !read {
		t.Error("the layer was not read")
	}
}

// Several processes write the same images to one place.
func TestLayoutConcurrently(t *testing.T) {
	for _, there := range []bool{false, true} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "layout")
		results := []image.Result{multi(t, "multi:v1")}
		if there {
			writeLayout(t, dir, single(t)...)
		}
		errs := make(chan error)
		const n = 10
		for range n {
			go func() {
				_, err := (&output.Layout{Dir: dir, Jobs: 2}).Write(t.Context(), results)
				errs <- err
			}()
		}
		for range n {
			if err := <-errs; err != nil {
				t.Errorf("there %t: %v", there, err)
			}
		}
		wantLayout(t, dir, results)
		for _, name := range tree(t, parent) {
			if strings.HasPrefix(name, ".") {
				t.Errorf("%s is left over", name)
			}
		}
	}
}
