package image_test

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagectl/stagectl/builder/image"
)

// TestContent reads what a tree says where Locate says.
func TestContent(t *testing.T) {
	lower := []tar.Header{
		{Name: "pax_global_header", Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}},
		file("a"), hardlink("before", "a"), dir("run"), symlink("var/run", "/run"),
	}
	twice := "a is here again"
	var lowerTar strings.Builder
	first := tarWith(files{"a": "a first"}, lower...)
	lowerTar.WriteString(first[:len(first)-1024]) // without the end
	lowerTar.WriteString(tarWith(files{"a": twice}, file("a"), hardlink("after", "a")))
	upper := tarWith(files{"var/run/pid": "123"}, file("var/run/pid"), hardlink("pid", "run/pid"))
	img, err := mutate.AppendLayers(empty.Image, plainLayer(lowerTar.String()), plainLayer(upper))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := image.ReadTree(img)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"/a": twice, "/before": "a first", "/after": twice, "/run/pid": "123", "/pid": "123",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := content(img, tree, name); got != want || err != nil {
				t.Errorf("content is %q, %v, want %q", got, err, want)
			}
		})
	}
	for _, name := range []string{"/", "/run", "/var/run", "/none"} {
		if layer, index, ok := tree.Locate(name); ok {
			t.Errorf("Locate(%s) gave layer %d, entry %d, want nothing", name, layer, index)
		}
	}
	e, _ := tree.Lstat("/pid")
	if layer, name := e.Content(); layer != 1 || name != "/var/run/pid" {
		t.Errorf("Content of /pid is %s in layer %d, want /var/run/pid in layer 1", name, layer)
	}
}

func plainLayer(content string) v1.Layer {
	return static.NewLayer([]byte(content), types.OCIUncompressedLayer)
}

func content(img v1.Image, tree *image.Tree, name string) (string, error) {
	n, index, ok := tree.Locate(name)
	if !ok {
		return "", fs.ErrNotExist
	}
	ls, err := img.Layers()
	if err != nil {
		return "", err
	}
	rc, err := ls[n].Uncompressed()
	if err != nil {
		return "", err
	}
	er := image.NewEntryReader(rc, nil)
	for range index + 1 {
		if _, err := er.Next(); err != nil {
			return "", err
		}
	}
	b, err := io.ReadAll(er)
	return string(b), errors.Join(err, rc.Close())
}

func TestLayerTree(t *testing.T) {
	entries, err := image.ReadEntries(strings.NewReader(tarWith(nil,
		dir("a"), file("a/.wh.b"), file("c/.wh..wh..opq"), file(".wh."), file("x"), hardlink("y", "x"),
		hardlink("z", "lower"), symlink("s", "a"), file("s/f"),
	)), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"- /.wh. 7", "d /a 7", "- /a/.wh.b 7", "- /a/f 7 from /s/f", "d /c 7", "- /c/.wh..wh..opq 7",
		"l /s 7 -> a", "- /x 7", "- /y 7 from /x", "h /z 7",
	}
	if diff := cmp.Diff(want, list(image.LayerTree(entries, 7))); diff != "" {
		t.Errorf("LayerTree (-want +got):\n%s", diff)
	}
}
