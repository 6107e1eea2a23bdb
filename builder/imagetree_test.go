package builder

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/image/hostile"
	"github.com/stagectl/stagectl/builder/limit"
)

// What the layers of an image unpack to is kept on disk, and so is limited for
// all of them together, but for what the builder made itself.
func TestUnpackedTogether(t *testing.T) {
	for _, own := range []bool{false, true} {
		c, err := cache.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		var layers []v1.Layer
		for _, name := range []string{"a", "b"} {
			layers = append(layers, static.NewLayer([]byte(hostile.Tar(hostile.File(name, name))), types.OCIUncompressedLayer))
		}
		s := &session{Builder: Builder{Cache: c}}
		tree := s.imageTree("IMAGE", layers, t.TempDir())
		tree.own = own
		if _, err := tree.tree(); err != nil {
			t.Fatal(err)
		}
		// A tar of one small file has 2048 bytes.
		if err := tree.most.Take(limit.Free - 4000); err != nil {
			t.Fatal(err)
		}
		if got, err := readAt(tree, "/a"); got != "a" || err != nil {
			t.Errorf("/a is %q, %v", got, err)
		}
		got, err := readAt(tree, "/b")
		if own && (got != "b" || err != nil) {
			t.Errorf("/b of the builder's own layers is %q, %v", got, err)
		}
		if want := "reading the files of IMAGE: reading layer 2: it unpacks to more than 1073741824 bytes"; !own && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("/b: got %q, %v, want error %s", got, err, want)
		}
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	}
}

func readAt(t *imageTree, p string) (string, error) {
	rc, err := t.Open(p)
	if err != nil {
		return "", err
	}
	raw, err := io.ReadAll(rc)
	return string(raw), errors.Join(err, rc.Close())
}

// FuzzImageTree takes any tar for the layer of an image. The builder sees the same
// files with the same content as package image reads, before and after its cache
// knows the layer.
func FuzzImageTree(f *testing.F) {
	for _, l := range hostile.Layers("/outside") {
		f.Add([]byte(l.Tar))
	}
	c, err := cache.Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	s := &session{Builder: Builder{Cache: c}}
	temp := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		layers := []v1.Layer{
			static.NewLayer([]byte(hostile.Base()), types.OCIUncompressedLayer), static.NewLayer(content, types.OCIUncompressedLayer),
		}
		for range 2 {
			tree := s.imageTree("IMAGE", layers, temp)
			sameFiles(t, tree, layers)
			if err := tree.Close(); err != nil {
				t.Error(err)
			}
		}
		if list, err := filepath.Glob(filepath.Join(temp, "*")); err == nil {
			for _, name := range list {
				_ = os.Remove(name)
			}
		}
	})
}

// sameFiles compares the files of a tree with those of the merged layers.
func sameFiles(t *testing.T, tree *imageTree, layers []v1.Layer) {
	t.Helper()
	all, err := image.ReadLayers(layers, nil)
	if err != nil {
		if _, err := tree.Lstat("/"); err == nil {
			t.Error("the builder reads what package image refuses")
		}
		return
	}
	for _, e := range all[1] {
		if e.Size > 1<<20 {
			return // holes that would only take time
		}
	}
	merged := image.Merge(all)
	merged.Walk(func(e image.Entry) {
		info, err := tree.Lstat(e.Path)
		if err != nil || info != infoOf(e) {
			t.Fatalf("%v is %+v, %v", e, info, err)
		}
		if e.Type != tar.TypeReg {
			return
		}
		layer, index, _ := merged.Locate(e.Path)
		want, damage := contents(t, layers[layer])
		got, err := readAt(tree, e.Path)
		if (err == nil) != (damage == nil) || err == nil && got != want[index] {
			t.Errorf("%v has %d bytes, %.50q, %v", e, len(got), got, err)
		}
	})
}

// contents reads the contents of a layer's entries. Some cannot be read: those of
// files with holes that are not as their headers say.
func contents(t *testing.T, l v1.Layer) (all []string, damage error) {
	t.Helper()
	rc, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	entries := image.NewEntryReader(rc, nil)
	for {
		if _, err := entries.Next(); errors.Is(err, io.EOF) {
			return all, damage
		} else if err != nil {
			return all, errors.Join(damage, err)
		}
		raw, err := io.ReadAll(entries)
		damage = errors.Join(damage, err)
		all = append(all, string(raw))
	}
}
