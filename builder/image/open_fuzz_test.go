package image_test

import (
	"archive/tar"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

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

// FuzzOpenSaved opens what `docker save` wrote before version 25, with any
// documents and links between the entries.
func FuzzOpenSaved(f *testing.F) {
	one := tarOf(files{"one": "1"})
	seed := files{}
	s := seed.save("server:v1", one)
	config := strings.ReplaceAll(seed[s.Config], "linux", "LINUX")
	f.Add(`[{"Config":"config","RepoTags":["a:b"],"Layers":["layer"]}]`, config, one, "layer", `{}`)
	f.Add(`[{"Config":"config","Layers":["link"]},{"Config":"config","RepoTags":null,"Layers":["./link/"]}]`, config, gzipped(one), "../layer", `null`)
	f.Add(`[{"Config":"link","Layers":["../../etc/passwd"]}]`, `{"rootfs":{"diff_ids":["sha256:../../x"]}}`, "", "/etc/passwd", `{"x":{"y":"z"}}`)
	f.Add(`[null,{}]`, `null`, zstded("x"), "link", ``)
	f.Fuzz(func(t *testing.T, manifest, config, layer, link, repositories string) {
		link, _, _ = strings.Cut(link, "\x00")
		content := files{"manifest.json": manifest, "config": config, "layer": layer, "repositories": repositories}
		var headers []tar.Header
		for _, name := range slices.Sorted(maps.Keys(content)) {
			headers = append(headers, tar.Header{Name: name, Typeflag: tar.TypeReg})
		}
		headers = append(headers, tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: link})
		readAll(t, writeFile(t, tarWith(content, headers...)))
	})
}

// FuzzAssemble builds on an image with any configuration. What comes out is the
// same each time, and to build on it changes it no further.
func FuzzAssemble(f *testing.F) {
	f.Add(`{"os":"linux","architecture":"amd64","config":{"Env":["A=b"],"Healthcheck":{"Test":["CMD","x"],"StartInterval":1000}},"rootfs":{"type":"layers"}}`)
	f.Add(`{"history":[{"empty_layer":true},{},{"created":"2020-01-01T00:00:00Z"}],"config":{"OnBuild":["RUN x"],"Labels":{"a":""},"Volumes":{"/x":{}}}}`)
	f.Add(`{"config":{"Healthcheck":{"StartInterval":-1}},"os.version":"1","variant":"v8","container":"x","created":"0001-01-01T00:00:00Z"}`)
	f.Add(`{"Config":{"healthcheck":null},"rootfs":null}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, config string) {
		files := newFiles()
		files.list(files.blob(types.OCIManifestSchema1, asJSON(v1.Manifest{
			SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: files.blob(types.OCIConfigJSON, config), Layers: []v1.Descriptor{},
		})))
		file, err := image.Open(files.writeTar(t))
		if err != nil {
			return
		}
		defer file.Close()
		spec := image.Spec{Platform: amd64, Epoch: time.Unix(0, 0)}
		first := assembled(t, file.Images[0].Images[0].Image, spec)
		if first == nil {
			return
		}
		second := assembled(t, first, spec)
		if second == nil {
			t.Fatal("what was assembled cannot be built on")
		}
		if err := validate.Image(second); err != nil {
			t.Error(err)
		}
		one, err := first.RawConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		two, err := second.RawConfigFile()
		if err != nil || string(one) != string(two) {
			t.Errorf("the configuration is\n%s, and built on that\n%s (%v)", one, two, err)
		}
	})
}

// assembled returns an image twice made, or nil where the base is refused.
func assembled(t *testing.T, base v1.Image, spec image.Spec) v1.Image {
	t.Helper()
	img, err := image.Assemble(base, spec)
	if err != nil {
		return nil
	}
	again, err := image.Assemble(base, spec)
	if err != nil {
		t.Fatal(err)
	}
	one, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if two, err := again.Digest(); err != nil || one != two {
		t.Errorf("once %s, once %s, %v", one, two, err)
	}
	return img
}
