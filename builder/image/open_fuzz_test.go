package image_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagectl/stagectl/builder/image"
)

// FuzzOpenArchive opens any bytes as an archive and reads all there is.
func FuzzOpenArchive(f *testing.F) {
	oci := newFiles()
	desc := oci.image(amd64, "one")
	f.Add([]byte(tarOf(oci.list(desc, oci.index(on(desc, amd64))))))
	docker := files{}
	f.Add([]byte(tarOf(docker.listSaved(docker.save("server:v1", "x", gzipped("y"))))))
	f.Add([]byte{})
	path := filepath.Join(f.TempDir(), "image.tar")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		readAll(t, path)
	})
}

// FuzzOpenLayout opens a layout whose documents say anything. Digests are
// right, so that what is behind them is reached.
func FuzzOpenLayout(f *testing.F) {
	seed := newFiles()
	m := seed.manifest(seed.image(amd64, "one"))
	layer := seed[blobPath(m.Layers[0].Digest)]
	m.Layers[0].MediaType = types.OCILayerZStd
	config := seed[blobPath(m.Config.Digest)]
	f.Add(seed.list()["index.json"], asJSON(m), config, layer, false)
	f.Add(`{"manifests":[{}]}`, `{"layers":[{}]}`, `null`, zstded("x"), true)
	f.Fuzz(func(t *testing.T, index, manifest, config, layer string, nested bool) {
		files := newFiles()
		files.blob(types.OCILayer, layer)
		files.blob(types.OCIConfigJSON, config)
		desc := files.blob(types.OCIManifestSchema1, manifest)
		if nested {
			desc = files.blob(types.OCIImageIndex, index)
		}
		readAll(t, files.list(desc, files.layered(files.blob(types.OCILayer, layer))).writeDir(t))
		files["index.json"] = index
		readAll(t, files.writeDir(t))
	})
}

// readAll uses everything that Open gives. It bounds what it decompresses.
func readAll(t *testing.T, path string) {
	file, err := image.Open(path)
	if err != nil {
		return
	}
	defer func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, o := range file.Images {
		if len(o.Images) == 0 {
			t.Error("an image without a platform")
		}
		if o.Index != nil {
			if _, err := o.Index.IndexManifest(); err != nil {
				t.Error(err)
			}
		}
		for _, p := range o.Images {
			readImage(t, p.Image)
		}
	}
}

func readImage(t *testing.T, img v1.Image) {
	layers, err := img.Layers()
	if err != nil {
		t.Errorf("Layers of an image that was opened: %v", err)
	}
	for _, l := range layers {
		for _, read := range []func() (io.ReadCloser, error){l.Compressed, l.Uncompressed} {
			if rc, err := read(); err == nil {
				_, _ = io.CopyN(io.Discard, rc, 1<<20)
				_ = rc.Close()
			}
		}
	}
}
