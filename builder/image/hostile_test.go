package image_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/image/hostile"
	"github.com/stagectl/stagectl/builder/limit"
)

// outside returns a directory with the file that hostile layers want, and lets
// the test work in it. At the end, nothing may have changed there.
func outside(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	t.Cleanup(func() {
		if got, err := os.ReadFile(victim); err != nil || string(got) != "untouched" {
			t.Errorf("the file outside is %q, %v", got, err)
		}
		if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
			t.Errorf("outside there are %v, %v", list, err)
		}
	})
	return dir
}

// layeredOn is an image of Base with a layer on it, compressed or not.
func layeredOn(f files, layer string, diffID v1.Hash) v1.Descriptor {
	base := f.blob(types.OCILayer, gzipped(hostile.Base()))
	top := f.blob(types.OCILayer, layer)
	config := f.blob(types.OCIConfigJSON, asJSON(v1.ConfigFile{
		OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{digestOf(hostile.Base()), diffID}},
	}))
	return f.blob(types.OCIManifestSchema1, asJSON(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: config, Layers: []v1.Descriptor{base, top},
	}))
}

func TestHostileLayers(t *testing.T) {
	for _, tt := range hostile.Layers(outside(t)) {
		for kind, pack := range map[string]func(string) string{"gzip": gzipped, "zstd": zstded, "plain": strings.Clone} {
			t.Run(tt.Name+"/"+kind, func(t *testing.T) {
				f := newFiles()
				img := open(t, f.list(layeredOn(f, pack(tt.Tar), digestOf(tt.Tar))).writeTar(t)).Images[0].Images[0].Image
				wantTree(t, img, tt)
			})
		}
	}
}

func wantTree(t *testing.T, img v1.Image, tt hostile.Layer) {
	t.Helper()
	tree, err := image.ReadTree(img)
	if tt.Refused != "" {
		layers, _ := img.Layers()
		top, _ := layers[1].Digest()
		if err == nil || !strings.Contains(err.Error(), tt.Refused) || !strings.HasPrefix(err.Error(), "reading layer 2, "+top.String()+": ") {
			t.Errorf("got error %v, want one with %q that names layer 2", err, tt.Refused)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	tree.Walk(func(e image.Entry) { got = append(got, e.String()) })
	if diff := cmp.Diff(tt.Files, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	checkTree(t, tree)
}

func TestHostileBombs(t *testing.T) {
	for _, tt := range hostile.Bombs() {
		t.Run(tt.Name, func(t *testing.T) {
			t.Parallel()
			f := newFiles()
			file := open(t, f.list(layeredOn(f, tt.Blob, digestOf("whatever"))).writeTar(t))
			wantTree(t, file.Images[0].Images[0].Image, hostile.Layer{Refused: tt.Refused})
		})
	}
}

// What this program made itself of the user's files is not limited.
func TestReadOwnLayer(t *testing.T) {
	f := newFiles()
	desc := layeredOn(f, hostile.ZstdBomb(), digestOf("whatever"))
	layers, err := open(t, f.list(desc).writeTar(t)).Images[0].Images[0].Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := image.ReadOwnLayer(layers[1]); err != nil || len(entries) != 1 || entries[0].Size <= limit.Free {
		t.Errorf("got %v, %v", entries, err)
	}
}

// Steps through links are counted: each may be as long as a path, and lead
// through others.
func TestLongLinks(t *testing.T) {
	link := "d" + strings.Repeat("/../d", 500)
	entries := []image.Entry{{Path: "/d", Type: tar.TypeDir}, {Path: "/l0", Type: tar.TypeSymlink, Link: link}}
	for i := range 20 {
		entries = append(entries, image.Entry{Path: fmt.Sprintf("/l%d", i+1), Type: tar.TypeSymlink, Link: fmt.Sprintf("l%d/../%s", i, link)})
	}
	tree := image.Merge([][]image.Entry{entries})
	if p, err := tree.Resolve("/l5/x"); p != "/d/x" || err != nil {
		t.Errorf("through 6 links: %s, %v", p, err)
	}
	if p, err := tree.Resolve("/l20/x"); !errors.Is(err, image.ErrLoop) {
		t.Errorf("through 21 links of 1000 elements: %s, %v, want %v", p, err, image.ErrLoop)
	}
}

// listedLayer is one of an image that has many.
type listedLayer struct {
	v1.Layer
	entries []image.Entry
}

func (listedLayer) Digest() (v1.Hash, error) { return digestOf("x"), nil }

func TestReadLayersTogether(t *testing.T) {
	quarter := make([]image.Entry, limit.Entries/4)
	read := func(l v1.Layer) ([]image.Entry, error) { return l.(listedLayer).entries, nil }
	all := []v1.Layer{listedLayer{}}
	for range 4 {
		all = append(all, listedLayer{entries: quarter})
	}
	if got, err := image.ReadLayers(all, read); err != nil || len(got) != 5 {
		t.Errorf("%d layers, %v", len(got), err)
	}
	want := "reading layer 6, " + digestOf("x").String() + ": the layers so far have more than 4194304 entries"
	if _, err := image.ReadLayers(append(all, listedLayer{entries: quarter[:1]}), read); err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	if _, err := image.ReadLayers(slices.Repeat(all[:1], limit.Layers+1), read); err == nil || err.Error() != "there are 513 layers, the limit is 512" {
		t.Errorf("got error %v", err)
	}
}
